"""The internet of a test: the providers that are there, and nobody else. No socket is opened.

It takes the place of what httpx2 and httpx send requests by. So it does not matter which client a
program makes, or how: what is asked of whom is noted, and the bounds that it sets are kept.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

from lessons.harness.provider import Provider, Reply

PATIENCE_HOURS = 6  # of a clock that is turned on: who still waits then waits for ever
PART = 16 * 1024  # bytes at a time of a long answer


class Internet:
    """Who is there, and what was asked of whom."""

    def __init__(self, *providers: Provider) -> None:
        self.providers = providers
        self.asked: list[str] = []  # addresses, without what is behind a question mark
        self.hours = 0  # that somebody waited for one answer
        self.bytes = 0  # that somebody read of one answer
        self.insecure: list[str] = []  # hosts whose certificate was not asked for

    async def send(self, module: Any, request: Any) -> Any:
        """Answer a request of httpx2 or httpx, whose module is given."""
        url = str(request.url)
        self.asked.append(url.partition("?")[0])
        self.hours, self.bytes = 0, 0
        host = request.url.netloc.decode()
        provider = next((each for each in self.providers if host in each.hosts), None)
        if provider is None:
            raise module.ConnectError(f"There is no {host}.", request=request)
        reply = provider.reply(request.method, url, request.headers, await request.aread())
        if reply.never:
            await self._wait(module, request)
        stream = _Parts(self, reply, module)
        return module.Response(
            reply.status, headers=dict(reply.headers), stream=stream.of(module), request=request
        )

    async def _wait(self, module: Any, request: Any) -> None:
        """Let nothing come until somebody gives up."""
        limits = request.extensions.get("timeout") or {}
        if limits.get("read") is not None:
            raise module.ReadTimeout("Nothing came.", request=request)
        for _ in range(PATIENCE_HOURS):
            await self.an_hour()
        raise module.ReadError("Nothing came.", request=request)

    async def an_hour(self) -> None:
        """Let an hour go by on the clock of the event loop."""
        self.hours += 1
        loop = asyncio.get_running_loop()
        now = loop.time
        loop.time = lambda: now() + 3600  # type: ignore[method-assign]
        try:
            for _ in range(3):
                await asyncio.sleep(0)
        finally:
            loop.time = now  # type: ignore[method-assign]


class _Parts:
    """The body of an answer, part by part."""

    def __init__(self, internet: Internet, reply: Reply, module: Any) -> None:
        self._internet, self._reply = internet, reply

    def of(self, module: Any) -> Any:
        """Return the body as httpx2 or httpx want it."""
        parts = self.parts

        class Stream(module.AsyncByteStream):  # type: ignore[misc,name-defined]
            async def __aiter__(self) -> AsyncIterator[bytes]:
                async for part in parts():
                    yield part

        return Stream()

    async def parts(self) -> AsyncIterator[bytes]:
        """Yield the body; one that drips takes an hour for each part."""
        body, size = self._reply.body, 1 if self._reply.drips else PART
        for start in range(0, len(body), size):
            if self._reply.drips:
                if self._internet.hours >= PATIENCE_HOURS:
                    return
                await self._internet.an_hour()
            self._internet.bytes += len(body[start : start + size])
            yield body[start : start + size]


@contextmanager
def internet_of(*providers: Provider) -> Iterator[Internet]:
    """Let these providers be all that can be reached in the block."""
    import httpx2
    import pytest

    there = Internet(*providers)
    with pytest.MonkeyPatch.context() as patch:
        for module in _modules(httpx2):

            async def send(_: Any, request: Any, module: Any = module) -> Any:
                return await there.send(module, request)

            patch.setattr(module.AsyncHTTPTransport, "handle_async_request", send)
        yield there


def _modules(httpx2: Any) -> list[Any]:
    """Return httpx2, and httpx if somebody has imported it."""
    import sys

    return [httpx2, *([sys.modules["httpx"]] if "httpx" in sys.modules else [])]
