"""How this service asks others: within bounds, whatever they answer (CWE-400).

A provider may be slow, endless, or somebody else today. So an answer has a size and a time in all,
no redirect is followed, and no proxy comes from the environment.
"""

import asyncio
import ssl
from functools import lru_cache

import httpx2

SECONDS = 5  # for the whole answer: one that drips a byte a second must come to an end
MAX_ANSWER_BYTES = 256 * 1024  # key sets and metadata have a few KB


class Bounded(httpx2.AsyncBaseTransport):
    """A transport whose answers are complete, and small, when they arrive."""

    def __init__(self, seconds: float = 0, max_bytes: int = 0) -> None:
        self._seconds, self._max_bytes = seconds or SECONDS, max_bytes or MAX_ANSWER_BYTES

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request. Raises httpx2.TransportError for an answer that is late or too long."""
        request.headers["Accept-Encoding"] = "identity"  # a small answer may unpack to a huge one
        try:
            async with asyncio.timeout(self._seconds), _new_transport() as transport:
                answer = await transport.handle_async_request(request)
                body = await _read(answer, self._max_bytes)
        except TimeoutError:
            raise httpx2.ReadTimeout("no answer in time", request=request) from None
        if answer.headers.get("content-encoding", "identity") != "identity":
            raise httpx2.DecodingError("packed, and nobody asked for that", request=request)
        return httpx2.Response(
            answer.status_code, headers=answer.headers, content=body, request=request
        )


def _new_transport() -> httpx2.AsyncHTTPTransport:
    return httpx2.AsyncHTTPTransport(verify=_ssl_context(), trust_env=False)


@lru_cache
def _ssl_context() -> ssl.SSLContext:
    """Read the system's certificates once: it takes 20 ms, and the event loop waits."""
    return ssl.create_default_context()


async def _read(answer: httpx2.Response, max_bytes: int) -> bytes:
    body = bytearray()
    assert isinstance(answer.stream, httpx2.AsyncByteStream)
    try:
        async for part in answer.stream:
            body += part
            if len(body) > max_bytes:
                raise httpx2.ReadError("the answer is too long")
    finally:
        await answer.aclose()
    return bytes(body)
