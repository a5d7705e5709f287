"""What every request is held to before any of the app's code runs.

FastAPI parses a body before it asks who sent it, so whoever reaches the port may spend the
server's memory and time (CWE-770, CWE-400).
"""

import asyncio
import re
from collections.abc import Iterable
from contextvars import ContextVar
from urllib.parse import unquote_to_bytes

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .settings import get_settings

BODY_SECONDS = 10  # for the whole body: a client that sends a byte a second must come to an end
MAX_CONTENT_TYPE_BYTES = 256  # parsing 64 KB of semicolons takes 60 ms
CREDENTIALS = frozenset({b"authorization", b"x-api-key"})
WATCHED = CREDENTIALS | {b"content-length", b"content-type"}
UTF_8 = re.compile(rb';[ \t]*charset=("?)utf-8\1[ \t]*(;|\Z)')

Headers = list[tuple[bytes, bytes]]


class Refused(Exception):
    """This request goes no further. `status` is the answer's, `detail` is for the client."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


class Connection:
    """A request whose body has arrived, and the client who waits for the answer."""

    def __init__(self, body: bytes, receive: Receive, send: Send) -> None:
        self._body: bytes | None = body
        self._receive = receive
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._gone = False
        self._answered = False

    async def receive(self) -> Message:
        """Return the whole body as one message, once; after that what the server says."""
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        return await self._next()

    async def send(self, message: Message) -> None:
        """Hand the server a part of the answer."""
        self._answered = self._answered or message["type"] == "http.response.start"
        await self._send(message)

    @property
    def awaits_answer(self) -> bool:
        """Whether the client still waits, and this event loop is the one that may ask `leaves`.

        Once an answer has begun, servers call everybody gone, and work in the background goes on.
        """
        return not self._answered and self._loop is asyncio.get_running_loop()

    async def leaves(self) -> bool:
        """Wait for the server's next message, and return whether it says that the client is gone.

        It leaves the body to `receive`: after a body, servers have nothing else to say.
        """
        await self._next()
        return self._gone

    async def _next(self) -> Message:
        if self._gone:  # some servers say it once, and two may ask
            return {"type": "http.disconnect"}
        message = await self._receive()
        self._gone = message["type"] == "http.disconnect"
        return message


# For work deep inside, which need not be done when nobody waits for it. None outside of requests.
current_connection: ContextVar[Connection | None] = ContextVar("current_connection", default=None)


class Bounds:
    """An ASGI wrapper that reads a request's body, within limits, before the app sees the request.

    At most MAX_BODY_BYTES (413), within BODY_SECONDS (408), no `multipart`, and no charset but
    UTF-8 (415; 400 for a form that is not in it). A credential sent twice reaches the app as one,
    and a wrong one. A service that takes uploads needs a wrapper of its own for those routes.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse the request, or call the app with all of it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit = get_settings().max_body_bytes
        try:
            headers = _check_headers(scope["headers"], limit)
            body = await _read_body(receive, limit)
            if body and _is_form(scope["headers"]):
                _check_form(body)
        except Refused as refusal:
            await _answer(refusal)(scope, receive, send)
            return
        if body is None:
            return
        if headers is not None:
            scope = {**scope, "headers": headers}  # the server goes on using its own
        connection = Connection(body, receive, send)
        before = current_connection.set(connection)
        try:
            await self.app(scope, connection.receive, connection.send)
        finally:
            current_connection.reset(before)


def _check_headers(headers: Iterable[tuple[bytes, bytes]], limit: int) -> Headers | None:
    """Return the headers to use instead, or None when they may stay. Raises Refused."""
    seen: set[bytes] = set()
    repeated = False
    for name, value in headers:
        if name not in WATCHED:
            continue
        if name == b"content-length":
            _check_length(value, limit)
        elif name == b"content-type":
            _check_type(value, name in seen)
        else:
            repeated = repeated or name in seen
        seen.add(name)
    return _joined(headers) if repeated else None


def _check_length(value: bytes, limit: int) -> None:
    try:
        length = int(value)
    except ValueError:  # that is the server's business, and the bytes are counted anyway
        return
    if length > limit:
        raise _too_large(limit)


def _check_type(value: bytes, seen: bool) -> None:
    # Starlette's multipart parser believes any charset: punycode stands for 0.1 s at 60 KB and
    # 12 s at 1 MB, since its work grows with the square (CWE-407). Searched, not parsed: what
    # looks odd is refused, so no later parser can read it in another way.
    value = value.lower()
    if seen or len(value) > MAX_CONTENT_TYPE_BYTES or b"multipart/" in value:
        raise Refused(415, "This Content-Type is not taken here.")
    if (named := value.count(b"charset")) and (named > 1 or not UTF_8.search(value)):
        raise Refused(415, "The only charset taken here is UTF-8.")


def _is_form(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    form = b"application/x-www-form-urlencoded"
    return any(name == b"content-type" and form in value.lower() for name, value in headers)


def _check_form(body: bytes) -> None:
    # A parser puts one and the same sign for every byte that is no UTF-8. Then two passwords
    # become one.
    try:
        unquote_to_bytes(body).decode()
    except UnicodeDecodeError:
        raise Refused(400, "A form is in UTF-8 here.") from None


def _joined(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    # One credential of two would be checked, and which one depends on who looks. RFC 9110
    # section 5.3 lets a recipient join the lines: then both are one credential, and a wrong one.
    joined: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in CREDENTIALS:
            joined[name] = joined[name] + b", " + value if name in joined else value
    return [each for each in headers if each[0] not in CREDENTIALS] + list(joined.items())


async def _read_body(receive: Receive, limit: int) -> bytes | None:
    """Return the whole body, or None when the client left before its end. Raises Refused."""
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    return None
                body += message.get("body", b"")
                if len(body) > limit:
                    raise _too_large(limit)
                if not message.get("more_body", False):
                    return bytes(body)
    except TimeoutError:
        raise Refused(408, f"The body did not arrive within {BODY_SECONDS} seconds.") from None


def _too_large(limit: int) -> Refused:
    return Refused(413, f"A body has at most {limit} bytes here.")


def _answer(refusal: Refused) -> JSONResponse:
    # The token endpoint promises that nobody keeps its answers (RFC 6749 section 5.1). Without
    # `Connection: close`: a server that closes on unread data resets, and the answer is lost.
    content = {"detail": refusal.detail}
    return JSONResponse(content, refusal.status, headers={"Cache-Control": "no-store"})
