"""A bare ASGI app inside of a wrapper, and what passes between the two and the server."""

import asyncio
from collections.abc import Callable, Iterable
from contextvars import Context
from dataclasses import dataclass, field
from typing import Any

Scope = Any
Message = dict[str, Any]
START = "http.response.start"
CALLER = ("203.0.113.7", 50_123)
OWN = [(b"vary", b"accept"), (b"set-cookie", b"a=1"), (b"cache-control", b"no-store")]
OWN += [(b"set-cookie", b"b=2"), (b"link", b"</next>"), (b"link", b"</last>")]  # all stay
OWN += [(b"content-disposition", b'attachment; filename="caf\xe9"')]  # as Starlette writes it
OWN += [(b"content-security-policy-report-only", b"img-src 'self'"), (b"x-request-id-of", b"a")]
OWN += [(b"old-x-request-id", b"b"), (b"referrer", b"c"), (b"x-content-type", b"d")]  # not ours


def scope_of(**own: Any) -> Scope:
    """Return the scope of a request for `/`, with some of its entries changed."""
    scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET"}
    scope |= {"path": "/", "raw_path": b"/", "query_string": b"", "root_path": ""}
    scope |= {"scheme": "https", "client": CALLER, "server": ("workbook.test", 443)}
    return scope | {"headers": [(b"host", b"workbook.test")]} | own


def answer_of(status: int = 200, *parts: bytes) -> list[Message]:
    """Return the messages of which an answer consists."""
    start = {"type": START, "status": status, "headers": list(OWN)}
    bodies = [{"type": "http.response.body", "body": part, "more_body": True} for part in parts]
    return [start, *bodies, {"type": "http.response.body", "body": b"", "more_body": False}]


def answer_of_all_kinds() -> list[Message]:
    """Return messages of each type that a server may know, of none, and with keys of tomorrow."""
    own = {"headers": list(OWN)}
    return [
        {"type": "http.response.debug", "info": {"template": "a.html", "context": {}}},
        {"type": "http.response.early_hint", "links": [b"</a.css>; rel=preload"]},
        {"type": "http.response.push", "path": "/a.css"} | own,
        {"type": START, "status": 200, "trailers": True, "odd": (1, None)} | own,
        {"type": "http.response.body", "body": b"one", "more_body": True, "odd": 1},
        {"type": "http.response.zerocopysend", "file": 4711, "count": 9, "more_body": True},
        {"type": "http.response.pathsend", "path": "/srv/a"},
        {"type": "http.response.trailers", "more_trailers": False} | own,
        {"type": "http.odd"} | own,
        {"type": "odd", "status": 200, "body": b""},
    ]


def asked_of_all_kinds() -> list[Message]:
    """Return what an app may hear: a body in parts, the end, and what nobody knows."""
    return [
        {"type": "http.request", "body": b"one", "more_body": True},
        {"type": "http.request", "body": b"", "more_body": True, "odd": 1},
        {"type": "http.request"},
        {"type": "http.odd", "headers": list(OWN)},
        {"type": "http.disconnect", "code": 1006},
    ]


@dataclass
class Turn:
    """A request on its way through, and what was seen of it."""

    scope: Scope
    answer: list[Message] = field(default_factory=answer_of)
    may_go_on: asyncio.Event | None = None  # what its visitor waits for before the body
    asked: list[Message] = field(default_factory=list)  # what the app hears; else a short body
    meanwhile: list["Turn"] = field(default_factory=list)  # begun in the middle of this one
    inside: list["Turn"] = field(default_factory=list)  # what the app asks itself, in its own task
    changes: dict[str, Any] = field(default_factory=dict)  # of the scope, before the app answers
    by_another: bool = False  # whether a task answers that knows nothing of this request
    request_id: str = ""  # as the app found it
    id_at_the_end: str = ""  # as it was when all was sent, where the app asked nothing itself
    ours: dict[str, str] = field(default_factory=dict)  # the headers that the answer should get
    sent: list[Message] = field(default_factory=list)
    kept_back: int = 0  # messages that had not gone on when the app went on
    is_same: bool = False  # whether the app got the scope as it was, and answers to what it asked

    def headers(self) -> list[tuple[str, str]]:
        """Return the headers of the answer, their names in small letters."""
        return _headers_in(self.sent)

    def own(self) -> list[tuple[str, str]]:
        """Return the headers that the app gave it."""
        return _headers_in(self.answer)


def _headers_in(messages: list[Message]) -> list[tuple[str, str]]:
    (start,) = (each for each in messages if each["type"] == START)
    return [(name.decode().lower(), value.decode("latin-1")) for name, value in start["headers"]]


class Bare:
    """An app that says what a turn tells it to, with a wrapper around."""

    def __init__(
        self, wrap: Callable[[Any], Any], id_of: Callable[[], str], headers_of: Callable[..., Any]
    ) -> None:
        self._id_of, self._headers_of = id_of, headers_of
        self.app = wrap(self._answer)
        self._turns: dict[int, Turn] = {}

    async def take(self, turn: Turn) -> Turn:
        """Send a request through, and return its turn when it is over."""
        number = len(self._turns)
        self._turns[number] = turn
        scope = turn.scope | {"state": {"turn": number}, "headers": list(turn.scope["headers"])}
        body = {"type": "http.request", "body": str(number).encode(), "more_body": False}
        turn.asked = turn.asked or [body]
        rest = iter(turn.asked)

        async def receive() -> Message:
            if turn.may_go_on:
                await turn.may_go_on.wait()
            return dict(next(rest, {"type": "http.disconnect"}))

        async def send(message: Message) -> None:
            turn.sent.append(message)
            await self._begin_next(turn)

        await self.app(scope, receive, send)
        return turn

    async def take_all(self, turns: Iterable[Turn]) -> None:
        """Begin turns one after the other, each as a task of its own; then let all go on."""
        tasks = []
        for turn in turns:
            tasks.append(asyncio.create_task(self.take(turn)))
            for _ in range(5):
                await asyncio.sleep(0)
        for turn in turns:
            if turn.may_go_on:
                turn.may_go_on.set()
                for _ in range(5):
                    await asyncio.sleep(0)
        await asyncio.gather(*tasks)

    async def _begin_next(self, turn: Turn) -> None:
        """Send another request through from here, as a server does that begins the next one."""
        if turn.meanwhile:
            await asyncio.create_task(self.take(turn.meanwhile.pop(0)))

    async def _answer(self, scope: Scope, receive: Any, send: Any) -> None:
        turn = self._turns[scope["state"]["turn"]]
        heard = [await receive() for _ in turn.asked]
        given = {name: scope[name] for name in scope if name != "state"}
        turn.is_same = given == turn.scope and heard == turn.asked
        if scope["type"] == "http":
            turn.request_id, turn.ours = self._id_of(), dict(self._headers_of(scope))
        await self._begin_next(turn)
        for inner in turn.inside:
            await self.take(inner)
        scope.update(turn.changes)
        if turn.by_another:
            await asyncio.create_task(self._say(turn, send), context=Context())
        else:
            await self._say(turn, send)
        if scope["type"] == "http" and not turn.inside:
            turn.id_at_the_end = self._id_of()

    async def _say(self, turn: Turn, send: Any) -> None:
        for number, message in enumerate(turn.answer, 1):
            own = {"headers": list(message["headers"])} if "headers" in message else {}
            await send(message | own)
            turn.kept_back += len(turn.sent) < number
