"""The way a lesson's request reaches an app, and the answer the test."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from fastapi import FastAPI, Request, Response
from fastapi.dependencies import utils
from fastapi.security import OAuth2PasswordRequestForm
from starlette.concurrency import run_in_threadpool

from lessons.harness.login_form import spare_the_login_form_a_thread
from lessons.harness.wire import CALLER, Wire

app = FastAPI()


@app.post("/echo")
async def echo(request: Request) -> dict[str, Any]:
    return {
        "body": (await request.body()).decode(),
        "caller": list(request.client or ()),
        "headers": sorted(request.headers.items()),
        "query": request.url.query,
    }


@app.get("/cookie")
def give_a_cookie(request: Request, response: Response) -> dict[str, str]:
    response.set_cookie("visit", "1")
    return request.cookies


@app.head("/cookie")
def name_the_length() -> Response:
    return Response("not sent with HEAD")


def send(wire: Wire, method: str, url: str, **sent: Any) -> Any:
    return asyncio.run(wire.request(method, url, **sent))


def test_a_request_arrives_as_it_was_sent() -> None:
    headers = [("x-twice", "a"), ("x-twice", "b"), ("User-Agent", "mallory")]
    answer = send(Wire(app), "POST", "/echo?a=1", data={"b": "2 +"}, headers=headers)
    got = answer.json()
    assert got["body"] == "b=2+%2B"
    assert got["query"] == "a=1"
    assert tuple(got["caller"]) == CALLER
    assert [value for name, value in got["headers"] if name == "x-twice"] == ["a", "b"]
    assert [value for name, value in got["headers"] if name == "user-agent"] == ["mallory"]
    assert ["accept-encoding", "gzip, deflate"] in got["headers"]


@pytest.mark.parametrize(
    "sent",
    [
        {},
        {"data": {"b": "2 +"}},
        {"json": {"b": ["\u00e9", 2, None]}},
        {"json": []},
        {"json": None},
    ],
    ids=str,
)
def test_the_short_way_sends_what_the_long_way_does(sent: dict[str, Any]) -> None:
    short, headers = Wire(app), {"X-Own": "a", "Cookie": "visit=1"}
    short.keeps_cookies = False
    for more in ({}, {"headers": headers}):
        ways = [send(wire, "POST", "/echo", **sent, **more).json() for wire in (short, Wire(app))]
        assert ways[0] == ways[1]


def test_a_caller_can_have_another_address() -> None:
    answer = send(Wire(app), "POST", "/echo", client=("192.0.2.1", 5))
    assert answer.json()["caller"] == ["192.0.2.1", 5]


def test_a_client_keeps_its_cookies_and_no_others() -> None:
    wire = Wire(app)
    assert send(wire, "GET", "/cookie").json() == {}
    assert send(wire, "GET", "/cookie").json() == {"visit": "1"}
    assert send(Wire(app), "GET", "/cookie").json() == {}


def test_an_answer_to_head_has_no_body() -> None:
    answer = send(Wire(app), "HEAD", "/cookie")
    assert answer.headers["content-length"] == "18"
    assert answer.content == b""


def test_the_client_stays_until_it_has_its_answer() -> None:
    heard = []

    async def impatient(scope: Any, receive: Any, reply: Any) -> None:
        await receive()
        leaves = asyncio.ensure_future(receive())
        await asyncio.sleep(0)
        heard.append(leaves.done())
        await reply({"type": "http.response.start", "status": 200})
        await reply({"type": "http.response.body", "body": b"x"})
        heard.append((await leaves)["type"])

    assert send(Wire(impatient), "GET", "/").text == "x"
    assert heard == [False, "http.disconnect"]


START = {"type": "http.response.start", "status": 200}
PART = {"type": "http.response.body", "body": b"x", "more_body": True}
END = {"type": "http.response.body", "body": b"x"}


@pytest.mark.parametrize(
    ("messages", "sentence"),
    [
        ([], "no beginning or no end"),
        ([START], "no beginning or no end"),
        ([START, PART], "no beginning or no end"),
        ([END], "no beginning or no end"),
        ([START, END, END], "twice"),
    ],
)
def test_half_an_answer_is_none(messages: list[dict[str, Any]], sentence: str) -> None:
    async def half(scope: Any, receive: Any, reply: Callable[[Any], Awaitable[None]]) -> None:
        for message in messages:
            await reply(message)

    with pytest.raises(AssertionError, match=sentence):
        send(Wire(half), "GET", "/")


def test_a_login_form_takes_turns_and_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(utils, "run_in_threadpool", run_in_threadpool)
    spare_the_login_form_a_thread()
    threads: dict[str, bool] = {}
    turns = []

    class Form(OAuth2PasswordRequestForm):
        def __init__(self) -> None:
            threads["a subclass"] = threading.current_thread() is threading.main_thread()

    def other() -> None:
        threads["another"] = threading.current_thread() is threading.main_thread()

    async def three() -> Any:
        fields = {"username": "erin", "password": "secret"}
        made = utils.run_in_threadpool(OAuth2PasswordRequestForm, **fields)
        beside = asyncio.create_task(_note_turns(turns))
        form = await made
        beside.cancel()
        await utils.run_in_threadpool(Form)
        await utils.run_in_threadpool(other)
        return form

    form = asyncio.run(three())
    assert (form.username, form.password, form.scopes) == ("erin", "secret", [])
    assert len(turns) >= 2, "Nobody else had a turn."
    assert threads == {"a subclass": False, "another": False}


async def _note_turns(turns: list[None]) -> None:
    while True:
        turns.append(None)
        await asyncio.sleep(0)
