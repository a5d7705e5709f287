"""Every request is held to its bounds before any code of the app runs."""

import asyncio
import json
import logging
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated

import httpx
import pytest
import uvicorn
from fastapi import APIRouter, FastAPI, Form, Request
from fastapi.testclient import TestClient
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from solutions.support import bounds
from solutions.support.apps import create_app
from solutions.support.bounds import Bounds, Connection, current_connection
from solutions.support.settings import get_settings

LIMIT = 2000
PATIENCE = 60  # seconds, until a test counts as hanging, beside a busy program too

GONE: Message = {"type": "http.disconnect"}
FORM = "application/x-www-form-urlencoded"


@pytest.fixture(autouse=True)
def _limit(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("ENVIRONMENT", "development")
    monkeypatch.setenv("JWT_SECRET", "x" * 31 + "y")
    monkeypatch.setenv("MAX_BODY_BYTES", str(LIMIT))
    get_settings.cache_clear()
    yield
    get_settings.cache_clear()


class Inner:
    """An app that remembers what it is given, and answers 200 without a look at the body."""

    def __init__(self) -> None:
        self.scopes: list[Scope] = []
        self.messages: list[Message] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        self.messages += [await receive(), await receive()]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"inner"})


class Server:
    """What a server hands an app: the messages in turn, and a record of what it gets back."""

    def __init__(self, *messages: Message) -> None:
        self.messages = list(messages)
        self.sent: list[Message] = []

    async def receive(self) -> Message:
        assert self.messages, "The app asked for more than there is"
        return self.messages.pop(0)

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    @property
    def status(self) -> int:
        assert [each["type"] for each in self.sent] == [
            "http.response.start",
            "http.response.body",
        ]
        status = self.sent[0]["status"]
        assert isinstance(status, int)
        return status


def body(*pieces: bytes) -> list[Message]:
    """The messages for a body that arrives in pieces, and the client's leaving."""
    last = len(pieces) - 1
    return [
        *(
            {"type": "http.request", "body": piece, "more_body": number < last}
            for number, piece in enumerate(pieces)
        ),
        GONE,
    ]


def request(*headers: tuple[bytes, bytes]) -> Scope:
    return {"type": "http", "method": "POST", "path": "/", "headers": list(headers)}


def ask(app: ASGIApp, scope: Scope, server: Server) -> None:
    async def within_patience() -> None:
        async with asyncio.timeout(PATIENCE):
            await app(scope, server.receive, server.send)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(within_patience())


def refusal(server: Server) -> tuple[int, str]:
    """The status and detail of an answer, which is complete and that of `Bounds`."""
    status = server.status
    start, end = server.sent
    headers = dict(start["headers"])
    assert headers == {
        b"content-type": b"application/json",
        b"content-length": str(len(end["body"])).encode(),
        b"cache-control": b"no-store",
    }
    assert not end.get("more_body", False)
    (name, detail), *others = json.loads(end["body"]).items()
    assert (name, others) == ("detail", [])
    return status, detail


def outcome(scope: Scope, messages: Sequence[Message]) -> tuple[Inner, Server]:
    inner, server = Inner(), Server(*messages)
    ask(Bounds(inner), scope, server)
    return inner, server


# The body


@pytest.mark.parametrize(
    "pieces",
    [[b""], [b"a"], [b"a" * LIMIT], [b"a" * (LIMIT - 1), b"b"], [b"", b"a", b"", b"b", b""]],
    ids=["none", "one", "the most", "the most, in pieces", "with empty pieces"],
)
def test_the_app_gets_the_body_as_one_message_and_then_what_the_server_says(
    pieces: list[bytes],
) -> None:
    inner, server = outcome(request(), body(*pieces))
    whole = {"type": "http.request", "body": b"".join(pieces), "more_body": False}
    assert inner.messages == [whole, GONE]
    assert server.status == 200
    assert server.sent[1]["body"] == b"inner"


def test_a_message_need_not_name_its_parts() -> None:
    inner, _ = outcome(request(), [{"type": "http.request"}, GONE])
    assert inner.messages[0] == {"type": "http.request", "body": b"", "more_body": False}


def test_a_content_length_over_the_limit_is_refused_without_reading() -> None:
    fits = request((b"content-length", str(LIMIT).encode()))
    assert outcome(fits, body(b"a" * LIMIT))[1].status == 200
    inner, server = outcome(request((b"content-length", str(LIMIT + 1).encode())), [])
    assert refusal(server) == (413, f"A body has at most {LIMIT} bytes here.")
    assert inner.scopes == []


@pytest.mark.parametrize("length", [None, b"5"], ids=["no length", "a false length"])
def test_what_arrives_is_counted_whatever_was_said(length: bytes | None) -> None:
    scope = request(*[(b"content-length", length)] if length else [])
    endless = [{"type": "http.request", "body": b"a" * 1000, "more_body": True}] * 9
    inner, server = outcome(scope, endless)
    assert refusal(server)[0] == 413
    assert inner.scopes == []
    assert len(server.messages) == 6, "It read on behind the limit"


def test_a_last_piece_over_the_limit_is_refused() -> None:
    for pieces in ([b"a" * (LIMIT + 1)], [b"a" * LIMIT, b"a"]):
        inner, server = outcome(request(), body(*pieces))
        assert refusal(server)[0] == 413
        assert inner.scopes == []


@pytest.mark.parametrize(
    "length", [b"", b"abc", b"-1", b"1.5", b"1_0", b"\xff", b"\xb2", b"9" * 5000]
)
def test_a_content_length_that_is_none_does_not_crash(length: bytes) -> None:
    _, server = outcome(request((b"content-length", length)), body(b"a"))
    assert server.status == 200


def test_a_body_that_drips_comes_to_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "BODY_SECONDS", 0.1)

    class Dripping(Server):
        async def receive(self) -> Message:
            await asyncio.sleep(0.01)
            return {"type": "http.request", "body": b"a", "more_body": True}

    inner, server = Inner(), Dripping()
    ask(Bounds(inner), request(), server)
    assert refusal(server) == (408, "The body did not arrive within 0.1 seconds.")
    assert inner.scopes == []


def test_a_body_that_never_comes_ends_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "BODY_SECONDS", 0.05)

    class Silent(Server):
        async def receive(self) -> Message:
            return await asyncio.Future()

    server = Silent()
    ask(Bounds(Inner()), request(), server)
    assert refusal(server)[0] == 408


def test_the_time_is_for_the_body_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "BODY_SECONDS", 0.01)

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(0.05)
        await inner(scope, receive, send)

    inner, server = Inner(), Server(*body(b"a"))
    ask(Bounds(slow), request(), server)
    assert server.status == 200


def test_a_client_that_leaves_before_its_body_is_complete_gets_nothing_done() -> None:
    piece: Message = {"type": "http.request", "body": b"a", "more_body": True}
    for messages in ([GONE], [piece, GONE], [piece, piece, GONE]):
        inner, server = outcome(request(), messages)
        assert inner.scopes == []
        assert server.sent == []


def test_whatever_the_app_raises_comes_out() -> None:
    async def breaks(scope: Scope, receive: Receive, send: Send) -> None:
        raise TimeoutError("the app's own")

    with pytest.raises(TimeoutError, match="the app's own"):
        ask(Bounds(breaks), request(), Server(*body(b"a")))


# The Content-Type


@pytest.mark.parametrize(
    "value",
    [
        "",
        FORM,
        "application/json",
        "APPLICATION/JSON; CHARSET=UTF-8",
        FORM + ";charset=utf-8",
        FORM + '; charset="UTF-8"',
        FORM + "; charset=utf-8; a=b",
        FORM + " ; a=b ;\tcharset=Utf-8 ",
    ],
)
def test_utf_8_is_taken_in_all_its_spellings(value: str) -> None:
    inner, server = outcome(request((b"content-type", value.encode())), body(b"a"))
    assert server.status == 200
    assert inner.scopes[0]["headers"] == [(b"content-type", value.encode())]


@pytest.mark.parametrize(
    "value",
    [
        "multipart/form-data; boundary=x",
        "multipart/form-data; boundary=x; charset=punycode",
        "MULTIPART/Form-Data; boundary=x",
        "\tmultipart/mixed; boundary=x",
        f"{FORM}, multipart/form-data; boundary=x",
        f"{FORM}; charset=punycode",
        f"{FORM}; charset=latin-1",
        f"{FORM}; CharSet = idna",
        f'{FORM}; charset="utf-16"',
        f'{FORM}; charset="utf-8',
        f"{FORM}; charset='utf-8'",
        f"{FORM}; charset=utf-8x",
        f"{FORM}; charset=utf-8 x",
        f"{FORM}; charset=",
        f"{FORM}; charset",
        f"{FORM}; charset=utf-8; charset=utf-8",
        f"{FORM}; charset=utf-8; charset=punycode",
        f"{FORM}; charset*=utf-8''punycode",
        f"{FORM}; charset*0=puny; charset*1=code",
        f'{FORM}; a="; charset=utf-8"; charset=punycode',
        FORM + ';a="' + ";" * 60_000,
    ],
)
def test_other_content_types_are_refused_before_the_app(value: str) -> None:
    for messages in (body(b"a"), body(b"")):
        inner, server = outcome(request((b"content-type", value.encode())), messages)
        assert refusal(server)[0] == 415
        assert inner.scopes == []


def test_two_content_types_are_refused() -> None:
    one = (b"content-type", FORM.encode())
    assert outcome(request(one), body(b"a"))[1].status == 200
    inner, server = outcome(request(one, (b"accept", b"*/*"), one), body(b"a"))
    assert refusal(server)[0] == 415
    assert inner.scopes == []


# Credentials


@pytest.mark.parametrize("name", [b"authorization", b"x-api-key"])
def test_a_credential_sent_twice_is_one_bad_credential(name: bytes) -> None:
    other = next(iter(bounds.CREDENTIALS - {name}))
    headers = [(b"accept", b"a"), (name, b"good"), (b"accept", b"b"), (name, b"bad"), (name, b"")]
    headers.append((other, b"other"))
    scope = request(*headers)
    inner, server = outcome(scope, body(b""))
    assert server.status == 200
    seen = inner.scopes[0]["headers"]
    assert [value for each, value in seen if each == name] == [b"good, bad, "]
    assert [value for each, value in seen if each == other] == [b"other"]
    assert [value for each, value in seen if each == b"accept"] == [b"a", b"b"]
    assert scope["headers"] == headers, "That list is the server's"


def test_single_headers_stay_as_they_are() -> None:
    headers = [(b"authorization", b"Bearer x"), (b"cookie", b"a"), (b"cookie", b"b")]
    headers.append((b"x-api-key", b"k"))
    inner, _ = outcome(request(*headers), body(b""))
    assert inner.scopes[0]["headers"] == headers


# The connection


def test_work_inside_finds_the_connection_and_nobody_else_does() -> None:
    seen: list[Connection | None] = []

    async def inside(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(current_connection.get())
        await asyncio.create_task(deeper())
        seen.append(await asyncio.to_thread(current_connection.get))
        await inner(scope, receive, send)

    async def deeper() -> None:
        seen.append(current_connection.get())

    async def twice() -> None:
        for _ in range(2):
            server = Server(*body(b"a"))
            await Bounds(inside)(request(), server.receive, server.send)
            assert current_connection.get() is None

    inner = Inner()
    asyncio.run(twice())
    assert all(isinstance(each, Connection) for each in seen)
    assert [len(set(seen[:3])), len(set(seen[3:])), len(set(seen))] == [1, 1, 2]


def test_asking_whether_the_client_leaves_takes_nothing_from_the_app() -> None:
    async def asks_first(scope: Scope, receive: Receive, send: Send) -> None:
        connection = current_connection.get()
        assert connection is not None
        assert await connection.leaves()
        assert await connection.leaves()  # a server may say it only once
        await inner(scope, receive, send)

    inner = Inner()
    ask(Bounds(asks_first), request(), Server(*body(b"abc")))
    assert inner.messages == [{"type": "http.request", "body": b"abc", "more_body": False}, GONE]


def test_nobody_awaits_an_answer_that_has_begun() -> None:
    states: list[bool] = []

    async def answers(scope: Scope, receive: Receive, send: Send) -> None:
        connection = current_connection.get()
        assert connection is not None
        states.append(connection.awaits_answer)
        states.append(await asyncio.to_thread(asyncio.run, elsewhere(connection)))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        states.append(connection.awaits_answer)
        await send({"type": "http.response.body", "body": b""})
        states.append(connection.awaits_answer)

    async def elsewhere(connection: Connection) -> bool:
        return connection.awaits_answer

    ask(Bounds(answers), request(), Server(*body(b"")))
    assert states == [True, False, False, False]


@pytest.mark.parametrize("kind", ["lifespan", "websocket"])
def test_other_scopes_pass_untouched(kind: str) -> None:
    given: list[object] = []

    async def inner(*arguments: object) -> None:
        given.extend(arguments)
        assert current_connection.get() is None

    double = [(b"content-type", b"multipart/x"), (b"authorization", b"a")] * 2
    scope, server = {"type": kind, "headers": double}, Server()
    receive, send = server.receive, server.send
    asyncio.run(Bounds(inner)(scope, receive, send))
    assert len(given) == 3
    assert all(a is b for a, b in zip(given, (scope, receive, send), strict=True))


def test_one_inside_the_other_works() -> None:
    inner, server = Inner(), Server(*body(b"a", b"b"))
    ask(Bounds(Bounds(inner)), request(), server)
    assert inner.messages == [{"type": "http.request", "body": b"ab", "more_body": False}, GONE]


# FastAPI's routes, and a real server


def demo_app() -> tuple[FastAPI, list[str]]:
    """An app with all kinds of routes, and a list of the routes that ran."""
    router, ran = APIRouter(), []

    @router.post("/logout")
    async def logout() -> str:
        ran.append("logout")
        return "done"

    @router.post("/form")
    async def form(name: Annotated[str, Form()]) -> str:
        ran.append("form")
        return name

    @router.post("/json")
    async def read_json(request: Request) -> int:
        ran.append("json")
        return len(await request.body())

    @router.get("/who")
    async def who(request: Request) -> list[str]:
        return request.headers.getlist("authorization")

    return create_app("Demo", router), ran


def test_every_app_of_the_factory_has_these_bounds() -> None:
    app, ran = demo_app()
    client = TestClient(app)
    assert client.post("/logout").status_code == 200
    assert client.post("/form", data={"name": "ä"}).json() == "ä"
    assert ran == ["logout", "form"]
    for path in ("/logout", "/form", "/json", "/nowhere"):
        assert client.post(path, content=b"a" * (LIMIT + 1)).status_code == 413
        assert client.post(path, files={"name": b"a"}).status_code == 415
    assert ran == ["logout", "form"], "It ran before it was refused"
    twice = [("Authorization", "Bearer a"), ("Authorization", "Bearer b")]
    assert client.get("/who", headers=twice).json() == ["Bearer a, Bearer b"]


@contextmanager
def serving(app: ASGIApp) -> Iterator[int]:
    """Run an app under uvicorn in a thread of its own, and yield its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(PATIENCE)
            assert not thread.is_alive()


def head(path: str, *lines: str) -> bytes:
    return "\r\n".join((f"POST {path} HTTP/1.1", "Host: x", *lines, "", "")).encode()


def read_head(stream: socket.socket) -> bytes:
    """Read up to the blank line, and nothing behind it."""
    read = b""
    while not read.endswith(b"\r\n\r\n"):
        byte = stream.recv(1)
        assert byte, f"The server closed the connection after {read!r}"
        read += byte
    return read


def read_answer(stream: socket.socket) -> tuple[int, bytes]:
    """Read one answer with a Content-Length from a connection that may stay open."""
    start, *lines = read_head(stream).decode().split("\r\n")[:-2]
    headers = dict(line.lower().split(": ", 1) for line in lines)
    text = b""
    while len(text) < int(headers["content-length"]):
        text += stream.recv(1)
    return int(start.split()[1]), text


@contextmanager
def connected(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as stream:
        yield stream


def chunked(size: int, pieces: int) -> Callable[[], AsyncIterator[bytes]]:
    async def content() -> AsyncIterator[bytes]:
        for _ in range(pieces):
            yield b"a" * size

    return content


def test_on_a_server_whole_bodies_arrive_and_larger_ones_are_refused() -> None:
    app, ran = demo_app()

    async def talk(port: int) -> list[int]:
        address = f"http://127.0.0.1:{port}"
        async with httpx.AsyncClient(base_url=address, timeout=PATIENCE, trust_env=False) as client:
            answers = [
                await client.post("/json", content=b"a" * LIMIT),
                await client.post("/json", content=chunked(LIMIT // 4, 4)()),
                await client.post("/logout", content=b"a" * (LIMIT + 1)),
                await client.post("/logout", content=chunked(LIMIT // 4, 5)()),
                await client.post("/logout", content=b"a" * 3_000_000),
                await client.post("/logout", content=chunked(100_000, 30)()),
            ]
            return [each.status_code for each in answers]

    with serving(app) as port:
        assert asyncio.run(talk(port)) == [200, 200, 413, 413, 413, 413]
    assert ran == ["json", "json"]


def test_on_a_server_a_refused_connection_can_be_used_again() -> None:
    app, ran = demo_app()
    with serving(app) as port, connected(port) as stream:
        size = 300_000
        stream.sendall(head("/logout", f"Content-Length: {size}") + b"a" * size)
        assert read_answer(stream)[0] == 413
        stream.sendall(head("/logout", "Content-Length: 0"))
        assert read_answer(stream) == (200, b'"done"')
    assert ran == ["logout"]


def test_on_a_server_nobody_is_asked_to_go_on_with_a_body_that_is_too_large() -> None:
    app, ran = demo_app()
    with serving(app) as port:
        for size, status in ((3, 100), (LIMIT + 1, 413)):
            with connected(port) as stream:
                stream.sendall(head("/json", f"Content-Length: {size}", "Expect: 100-continue"))
                assert read_head(stream).startswith(f"HTTP/1.1 {status} ".encode())
                if status == 100:
                    stream.sendall(b"abc")
                    assert read_answer(stream) == (200, b"3")
    assert ran == ["json"]


@pytest.mark.parametrize(
    "start",
    [
        head("/logout", "Content-Length: 9") + b"a",
        head("/logout", "Content-Length: 9"),
        head("/logout", "Transfer-Encoding: chunked") + b"1\r\na\r\n",
    ],
    ids=["one byte", "no byte", "one chunk"],
)
def test_on_a_server_a_dripping_body_is_answered_408(
    monkeypatch: pytest.MonkeyPatch, start: bytes
) -> None:
    monkeypatch.setattr(bounds, "BODY_SECONDS", 0.1)
    app, ran = demo_app()
    with serving(app) as port, connected(port) as stream:
        stream.sendall(start)
        status, text = read_answer(stream)
    assert (status, json.loads(text)) == (
        408,
        {"detail": "The body did not arrive within 0.1 seconds."},
    )
    assert ran == []


def test_on_a_server_a_client_that_leaves_early_has_nothing_done(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app, ran = demo_app()
    ended = threading.Event()

    async def watched(scope: Scope, receive: Receive, send: Send) -> None:
        await app(scope, receive, send)
        ended.set()

    with serving(watched) as port:
        with connected(port) as stream:
            stream.sendall(head("/logout", "Content-Length: 9") + b"abc")
        assert ended.wait(PATIENCE)
    assert ran == []
    assert [each for each in caplog.records if each.levelno >= logging.WARNING] == []


@pytest.mark.parametrize("length", ["abc", "-1", "1, 2", "9" * 5000])
def test_on_a_server_a_bad_content_length_is_a_client_error(length: str) -> None:
    app, ran = demo_app()
    with serving(app) as port, connected(port) as stream:
        stream.sendall(head("/logout", f"Content-Length: {length}") + b"abc")
        assert stream.recv(10) == b"HTTP/1.1 4"
    assert ran == []


def test_the_settings_are_read_at_each_request(monkeypatch: pytest.MonkeyPatch) -> None:
    client = TestClient(demo_app()[0])
    assert client.post("/json", content=b"a" * 1500).status_code == 200
    monkeypatch.setenv("MAX_BODY_BYTES", "1024")
    get_settings.cache_clear()
    assert client.post("/json", content=b"a" * 1500).status_code == 413
