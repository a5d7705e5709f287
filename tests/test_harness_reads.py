"""What is read of a request is noted, and what might be a side door is asked about."""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import httpx2
import pytest
from fastapi import Cookie, Depends, FastAPI, Form, Header, HTTPException, Query, Request
from fastapi.security import OAuth2PasswordBearer, OAuth2PasswordRequestForm

from lessons.harness.reads import Reads, reading
from lessons.harness.side_doors import UNEXPECTED, Contract, side_doors, with_door

scheme = OAuth2PasswordBearer("token", auto_error=False)
CONTRACT = Contract(headers={"authorization"}, form={"grant_type", "username", "password", "scope"})
VALUES = ("johndoe", "admin", "true")
TRIED = (*VALUES, UNEXPECTED)


def send(app: Any, url: str = "/", method: str = "GET", **kwargs: Any) -> httpx2.Response:
    """Send one request, as the lessons' client does."""

    async def one() -> httpx2.Response:
        caller = kwargs.pop("client", ("203.0.113.9", 50000))
        more = kwargs.pop("scope", {})

        async def came(scope: Any, receive: Any, reply: Any) -> None:
            await app({**scope, **more}, receive, reply)

        transport = httpx2.ASGITransport(app=came, client=caller)
        async with httpx2.AsyncClient(transport=transport, base_url="http://workbook.test") as http:
            return await http.request(method, url, **kwargs)

    return asyncio.run(one())


def guarded(guard: Callable[..., Any]) -> FastAPI:
    """Return an app whose one route asks for a token, or for what `guard` returns."""
    app = FastAPI()

    @app.get("/")
    def me(
        token: Annotated[str | None, Depends(scheme)], opened: Annotated[Any, Depends(guard)]
    ) -> str:
        if token != "good" and not opened:
            raise HTTPException(401, "Not authenticated")
        return "in"

    return app


def read_by(guard: Callable[..., Any], **kwargs: Any) -> Reads:
    app = guarded(guard)
    with reading() as reads:
        send(app, **kwargs)
    return reads


def _nothing() -> None:
    return None


def _header(x_user: Annotated[str | None, Header()] = None) -> Any:
    return x_user


def _by_request(request: Request) -> Any:
    return request.headers.get("X-Role") == "admin"


def _raw(request: Request) -> Any:
    return any(name == b"x-admin" and value == b"true" for name, value in request.scope["headers"])


def _raw_dict(request: Request) -> Any:
    return dict(request.scope["headers"]).get(b"x-admin") == b"true"


def _raw_values(request: Request) -> Any:
    return any(value == b"admin" for _, value in request.scope["headers"])


def _as_dict(request: Request) -> Any:
    return dict(request.headers).get("x-debug") == "true"


def _cookie(session: Annotated[str | None, Cookie()] = None) -> Any:
    return session


def _cookie_header(request: Request) -> Any:
    return "session=johndoe" in request.headers.get("cookie", "")


def _all_cookies(request: Request) -> Any:
    return any(value == "johndoe" for value in request.cookies.values())


def _query(user: Annotated[str | None, Query()] = None) -> Any:
    return user


def _query_in(request: Request) -> Any:
    return "debug" in request.query_params


def _raw_query(request: Request) -> Any:
    return b"admin=true" in request.scope["query_string"]


def _in_the_url(request: Request) -> Any:
    return "role=admin" in str(request.url)


def _address(request: Request) -> Any:
    return request.client is not None and request.client.host in ("127.0.0.1", "::1")


def _raw_address(request: Request) -> Any:
    return request.scope["client"][0] == "10.0.0.1"


def _host(request: Request) -> Any:
    return request.url.hostname == "localhost"


def _host_header(request: Request) -> Any:
    return request.headers["host"].startswith("internal")


def _version(request: Request) -> Any:
    return request.scope["http_version"] == "1.0"


def _scheme(request: Request) -> Any:
    return request.scope.get("scheme") == "https"


def _agent(request: Request) -> None:
    request.headers.get("user-agent", "")


SENT = ("accept", "accept-encoding", "connection", "host", "user-agent")
DOORS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "header": (_header, {"headers": {"x-user"}}),
    "request": (_by_request, {"headers": {"x-role"}}),
    "raw": (_raw, {"headers": {"x-admin"}}),
    "raw dict": (_raw_dict, {"headers": {"*"}}),
    "raw values": (_raw_values, {"headers": {"*"}}),
    "dict": (_as_dict, {"headers": {"*", *SENT}, "cookies": {"*"}, "host": True}),
    "cookie": (_cookie, {"cookies": {"session"}}),
    "cookie header": (_cookie_header, {"cookies": {"*"}}),
    "all cookies": (_all_cookies, {"cookies": {"*"}}),
    "query": (_query, {"query": {"user"}}),
    "query in": (_query_in, {"query": {"debug"}}),
    "raw query": (_raw_query, {"query": {"*"}}),
    "url": (_in_the_url, {"query": {"*"}, "host": True, "scope": {"scheme", "root_path"}}),
    "address": (_address, {"client": True}),
    "raw address": (_raw_address, {"client": True}),
    "host": (_host, {"query": {"*"}, "host": True, "scope": {"scheme", "root_path"}}),
    "host header": (_host_header, {"headers": {"host"}, "host": True}),
    "version": (_version, {"scope": {"http_version"}}),
    "scheme": (_scheme, {"scope": {"scheme"}}),
}


def test_what_the_framework_reads_is_plumbing() -> None:
    reads = read_by(_nothing, params={"a": "b"}, headers={"Cookie": "c=d"})
    assert reads == Reads(headers={"authorization"})
    assert list(side_doors(reads, CONTRACT, VALUES)) == []


@pytest.mark.parametrize("name", DOORS)
def test_what_is_read_is_noted(name: str) -> None:
    guard, expected = DOORS[name]
    wanted = Reads(**expected)
    wanted.headers.add("authorization")
    assert read_by(guard, headers={"Cookie": "a=b"}) == wanted


@pytest.mark.parametrize("name", DOORS)
def test_a_side_door_is_found_by_asking(name: str) -> None:
    app = guarded(DOORS[name][0])
    with reading() as reads:
        assert send(app).status_code == 401
    opened = [
        what
        for what, door in side_doors(reads, CONTRACT, VALUES)
        if send(app, **with_door({"headers": {"A": "b"}}, door)).status_code != 401
    ]
    assert opened, f"Read: {reads}"


def test_what_only_looks_is_refused_all_the_same() -> None:
    app = guarded(_agent)
    with reading() as reads:
        send(app)
    assert "user-agent" in reads.headers
    doors = list(side_doors(reads, CONTRACT, VALUES))
    assert len(doors) == len(TRIED)
    assert all(send(app, **door).status_code == 401 for _, door in doors)


def form_app() -> FastAPI:
    app = FastAPI()

    @app.post("/plain")
    def plain(form: Annotated[OAuth2PasswordRequestForm, Depends()]) -> str:
        return form.username

    @app.post("/extra")
    def extra(username: Annotated[str, Form()], admin: Annotated[str, Form()] = "") -> str:
        return username + admin

    @app.post("/by-hand")
    async def by_hand(request: Request) -> str:
        form = await request.form()
        return str(form.get("user"))

    @app.post("/all")
    async def all_fields(request: Request) -> int:
        return len((await request.form()).multi_items())

    @app.post("/body")
    async def body(request: Request) -> int:
        return len(await request.body())

    return app


@pytest.mark.parametrize(
    ("url", "names"),
    [
        (
            "/plain",
            {"grant_type", "username", "password", "scope", "client_id", "client_secret"},
        ),
        ("/extra", {"username", "admin"}),
        ("/by-hand", {"user"}),
        ("/all", {"*"}),
        ("/body", {"*"}),
    ],
)
def test_form_fields_are_noted(url: str, names: set[str]) -> None:
    app = form_app()
    with reading() as reads:
        answer = send(app, url, "POST", data={"username": "x", "password": "y"})
    assert answer.status_code == 200
    assert reads.form == names
    assert reads.query == set() and not reads.client


def test_middleware_is_seen_too() -> None:
    app = guarded(_nothing)

    @app.middleware("http")
    async def helpful(request: Request, call_next: Any) -> Any:
        if request.headers.get("x-internal"):
            request.scope["headers"] = [(b"authorization", b"Bearer good")]
        return await call_next(request)

    with reading() as reads:
        send(app)
    assert "x-internal" in reads.headers
    opened = [send(app, **door).status_code for _, door in side_doors(reads, CONTRACT, VALUES)]
    assert opened == [200] * len(TRIED)


def test_a_door_that_opens_unless_a_header_is_as_usual_is_asked_about() -> None:
    app = guarded(_nothing)

    @app.middleware("http")
    async def helpful(request: Request, call_next: Any) -> Any:
        if request.headers.get("connection") != "keep-alive":
            request.scope["headers"] = [(b"authorization", b"Bearer good")]
        return await call_next(request)

    with reading() as reads:
        assert send(app).status_code == 401
    assert any(
        send(app, **door).status_code == 200 for _, door in side_doors(reads, CONTRACT, ["1"])
    )


def test_a_word_that_stands_in_a_graded_file_is_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graded = tmp_path / "oauth2.py"
    graded.write_text('DOOR = "open sesame"\n')
    module = ModuleType("solutions.oauth2")
    module.__file__ = str(graded)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    reads = Reads()
    reads.headers.add("x-word")
    asked = [door["headers"]["x-word"] for _, door in side_doors(reads, CONTRACT, VALUES)]
    assert asked == [*VALUES, "open sesame", UNEXPECTED]


def test_nothing_stays_behind() -> None:
    from starlette.datastructures import Headers, QueryParams
    from starlette.requests import HTTPConnection

    before = Headers.__getitem__, QueryParams.__contains__, HTTPConnection.cookies, FastAPI.__call__
    app = guarded(_query)
    with reading():
        with reading() as inner:
            send(app, params={"user": "x"})
        assert inner.query == {"user"}
    after = Headers.__getitem__, QueryParams.__contains__, HTTPConnection.cookies, FastAPI.__call__
    assert before == after
    assert "__contains__" in vars(Headers) and "__contains__" not in vars(QueryParams)


def test_a_door_is_added_to_what_is_sent() -> None:
    sent = {"headers": {"Authorization": "Bearer x"}, "data": {"username": "johndoe"}}
    assert with_door(sent, {"headers": {"X-User": "alice"}}) == {
        "headers": {"Authorization": "Bearer x", "X-User": "alice"},
        "data": {"username": "johndoe"},
    }
    assert with_door(sent, {"data": {"username": "alice", "as": "alice"}})["data"] == {
        "username": "johndoe",
        "as": "alice",
    }
    assert with_door({"json": {"a": 1}}, {"data": {"as": "alice"}}) == {"json": {"a": 1}}
    assert with_door({}, {"client": ("::1", 1)}) == {"client": ("::1", 1)}
