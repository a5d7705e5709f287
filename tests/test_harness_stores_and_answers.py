"""The tools for failing stores, whole answers and crowds, tried on right and wrong toy apps."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Annotated, Any

import anyio
import httpx2
import pytest
from fastapi import BackgroundTasks, Depends, FastAPI, Header, HTTPException, Response

from lessons.harness.answers import differs, surplus_headers, whole
from lessons.harness.catalogue import find_lessons
from lessons.harness.client import Client
from lessons.harness.crowd import each_gets_theirs
from lessons.harness.failing import (
    ANSWER,
    Failing,
    Meeting,
    Slow,
    StoreDown,
    Watched,
    late,
    methods,
    noting_answers,
)
from lessons.harness.loop import Loop
from lessons.harness.transcript import Transcript

inside: ContextVar[bool] = ContextVar("inside", default=False)


class Store:
    """A store as those of the workbook: its methods call each other, the transaction is kept."""

    def __init__(self) -> None:
        self.rows = {"alice": 1}

    async def get(self, name: str) -> int | None:
        return self.rows.get(name)

    async def change(self, name: str, value: int) -> bool:
        if await self.get(name) is None:
            return False
        self.rows[name] = value
        return True

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        before, token = dict(self.rows), inside.set(True)
        try:
            yield
        except BaseException:
            self.rows = before
            raise
        finally:
            inside.reset(token)

    def __len__(self) -> int:
        return len(self.rows)

    async def _private(self) -> None: ...


# --- stores ---------------------------------------------------------------------------------


def test_methods_are_found_also_behind_a_proxy() -> None:
    assert methods(Store()) == ["change", "get", "transaction"]
    assert methods(Slow(Watched(Store()))) == ["change", "get", "transaction"]


def test_a_method_fails_once_before_its_work() -> None:
    async def run() -> None:
        store = Store()
        failing = Failing(store, "change")
        assert await failing.get("alice") == 1
        assert failing.failed == 0
        with pytest.raises(StoreDown):
            await failing.change("alice", 2)
        assert store.rows == {"alice": 1} and failing.failed == 1
        assert await failing.change("alice", value=3)
        assert store.rows == failing.rows == {"alice": 3}

    asyncio.run(run())


def test_a_method_fails_after_its_work() -> None:
    async def run() -> None:
        store = Store()
        failing = Failing(store, "change", error=TimeoutError("late"), times=2, after=True)
        for value in (2, 3):
            with pytest.raises(TimeoutError, match="late"):
                await failing.change("alice", value)
            assert store.rows == {"alice": value}
        assert await failing.change("alice", 4)

    asyncio.run(run())


@pytest.mark.parametrize("after", [False, True])
def test_a_transaction_can_fail_too(after: bool) -> None:
    async def run() -> None:
        store = Store()
        failing = Failing(store, "transaction", after=after)
        with pytest.raises(StoreDown):
            async with failing.transaction():
                await failing.change("alice", 2)
        assert store.rows == {"alice": 2 if after else 1}

    asyncio.run(run())


def test_a_transaction_stays_in_its_task_and_undoes() -> None:
    async def run() -> None:
        store = Store()
        proxy = Slow(Watched(Failing(store, "nothing")))
        with contextlib.suppress(KeyError):
            async with proxy.transaction():
                assert inside.get()
                await proxy.change("alice", 2)
                assert inside.get() and store.rows == {"alice": 2}
                raise KeyError
        assert not inside.get() and store.rows == {"alice": 1}

    asyncio.run(run())


def test_a_slow_store_shows_what_is_not_one_step() -> None:
    async def add(store: Any) -> None:
        await store.change("alice", await store.get("alice") + 1)

    async def run(store: Any) -> int:
        await asyncio.gather(*(add(store) for _ in range(5)))
        return int(await store.get("alice"))

    assert asyncio.run(run(Store())) == 6, "The plain one hides it."
    assert asyncio.run(run(Slow(Store()))) == 2


def test_a_crowd_meets_at_a_store_also_when_it_comes_one_by_one() -> None:
    shared: list[int] = [0]

    async def run(number: int, store: Any) -> int:
        await asyncio.sleep(number / 100)
        shared[0] = number
        await store.get("alice")
        return shared[0]

    async def crowd() -> list[int]:
        store = Meeting(Store(), 3)
        return await asyncio.gather(*(run(number, store) for number in range(3)))

    assert asyncio.run(crowd()) == [2, 2, 2]


def test_a_meeting_does_not_wait_for_ever() -> None:
    assert asyncio.run(Meeting(Store(), 2).get("alice")) == 1


def test_calls_are_noted() -> None:
    async def run() -> None:
        watched = Watched(Store())
        async with watched.transaction():
            await watched.change("alice", value=2)
        with pytest.raises(TypeError):
            await watched.get()
        assert [each.name for each in watched.calls] == ["transaction", "change", "get"]
        assert watched.calls[1].args == ("alice",) and watched.calls[1].kwargs == {"value": 2}
        assert all(each.done for each in watched.calls)

    asyncio.run(run())


def revoking_app(store: Any, kind: str) -> FastAPI:
    app = FastAPI()

    @app.delete("/", status_code=204)
    async def revoke(background: BackgroundTasks) -> None:
        if kind == "right":
            await store.change("alice", 0)
        elif kind == "background":
            background.add_task(store.change, "alice", 0)
        else:
            app.state.task = asyncio.create_task(store.change("alice", 0))
            for _ in range(2 if kind == "task under way" else 0):
                await asyncio.sleep(0)

    return app


@pytest.mark.parametrize(
    ("kind", "after"), [("right", 0), ("background", 1), ("task", 1), ("task under way", 1)]
)
def test_a_204_comes_after_the_deed(kind: str, after: Any, client_of: Any) -> None:
    watched = Watched(Slow(Store()))
    client = client_of(revoking_app(watched if "way" in kind else Slow(watched), kind))
    with noting_answers(watched.calls):
        assert client.request("DELETE", "/").status_code == 204
        client.run(asyncio.sleep(0.01))
    assert late(watched.calls) == (["change"] if after else [])
    assert ANSWER in [each.name for each in watched.calls]


# --- answers --------------------------------------------------------------------------------


def answer(status: int = 401, body: str = "no", **headers: str) -> httpx2.Response:
    named = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return httpx2.Response(status, headers=named, text=body)


def test_equal_answers_are_equal() -> None:
    one = answer(www_authenticate="Bearer", DATE="yesterday")
    other = answer(date="today", WWW_Authenticate="Bearer")
    assert whole(one) == whole(other)
    assert differs(one, other) is None


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (answer(403), "the status is 403, not 401."),
        (answer(body="never"), "the body is never, not no."),
        (answer(body="x" * 200), "the body is "),
        (answer(x_reason="stale"), "the header x-reason is not the same."),
        (answer(www_authenticate="Basic"), "the header www-authenticate is not the same."),
    ],
)
def test_what_differs_is_said(other: httpx2.Response, said: str) -> None:
    sentence = differs(answer(), other)
    assert sentence and sentence.startswith(said) and len(sentence) < 120 and sentence.isascii()


def test_a_header_that_comes_twice_differs() -> None:
    twice = httpx2.Response(401, headers=[("a", "b"), ("a", "b")], text="no")
    assert differs(httpx2.Response(401, headers=[("a", "b")], text="no"), twice)


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({"set_cookie": "a=b"}, "The answer sets a cookie."),
        ({"clear_site_data": '"*"'}, "The answer clears"),
        ({"location": "https://mallory.example"}, "The answer sends the caller elsewhere."),
        ({"X_Reason": "expired"}, "The answer has a header 'x-reason', and no need of it."),
        ({"Cache_Control": "Public"}, "cache-control: 'Public' lets others keep"),
        ({"cache_control": "private, max-age=60"}, "cache-control: "),
        ({"cache_control": "no-store, s-maxage = 5"}, "cache-control: "),
        ({"expires": "Wed, 21 Oct 2099 07:28:00 GMT"}, "expires: "),
    ],
)
def test_headers_without_a_reason_are_named(headers: dict[str, str], said: str) -> None:
    sentences = surplus_headers(answer(**headers))
    assert len(sentences) == 1 and sentences[0].startswith(said), sentences


def test_usual_headers_pass() -> None:
    usual = answer(
        www_authenticate="Bearer",
        cache_control="no-store, max-age=0",
        pragma="no-cache",
        expires="0",
        retry_after="5",
        x_content_type_options="nosniff",
        content_type="application/json",
    )
    assert surplus_headers(usual) == []
    assert surplus_headers(answer(location="/account"), allowed=["Location"]) == []
    assert surplus_headers(answer(cache_control="public, max-age=600"), personal=False) == []


# --- crowds ---------------------------------------------------------------------------------


@pytest.fixture
def client_of() -> Iterator[Any]:
    """Make the lessons' client for an app of a test."""
    loop, clients = Loop(), []

    class Graded:
        files: frozenset[Any] = frozenset()
        lesson = find_lessons()[0]

        def line_of(self, error: BaseException) -> None: ...

    def make(app: FastAPI) -> Client:
        clients.append(Client(app, Transcript(), loop, Graded()))  # type: ignore[arg-type]
        return clients[-1]

    yield make
    for client in clients:
        client.close()
    loop.close()


def greeting_app(kind: str) -> FastAPI:
    app = FastAPI()
    kept: dict[str, str] = {}

    async def who(x_name: Annotated[str, Header()], response: Response) -> str:
        if kind == "on the app":
            app.state.name = x_name
            await asyncio.sleep(0)
            return str(app.state.name)
        if kind == "in a default":
            return kept.setdefault("name", x_name)
        await asyncio.sleep(0)
        return x_name

    def who_in_a_thread(x_name: Annotated[str, Header()]) -> str:
        import time

        kept["name"], end = x_name, time.monotonic() + 0.2
        while kept["name"] == x_name and time.monotonic() < end:
            time.sleep(0.001)  # until another one comes, or nobody does
        return kept["name"]

    guard = who_in_a_thread if kind == "in a thread" else who

    @app.get("/me")
    @app.get("/you")
    async def me(name: Annotated[str, Depends(guard)]) -> dict[str, str]:
        if name == "mallory":
            raise HTTPException(403)
        return {"name": name}

    return app


def requests(*people: str, url: str = "/me") -> dict[str, tuple[str, str, Any]]:
    return {who: ("GET", url, {"headers": {"X-Name": who}}) for who in people}


def name_in(answer: Any) -> Any:
    return answer.json()["name"]


def test_each_gets_theirs_from_right_code(client_of: Any) -> None:
    client = client_of(greeting_app("right"))
    each_gets_theirs(client, requests("alice", "bob", "carol"), name_in)
    mixed = requests("alice", "bob") | requests("carol", url="/you")
    each_gets_theirs(client, mixed, name_in)
    known = {who: who for who in mixed}
    each_gets_theirs(client, mixed, name_in, theirs=known, in_threads=False)


@pytest.mark.parametrize("kind", ["on the app", "in a thread"])
def test_somebody_gets_what_is_anothers_from_wrong_code(kind: str, client_of: Any) -> None:
    client = client_of(greeting_app(kind))
    people = requests("alice", "johndoe", "carol")
    with pytest.raises(AssertionError, match=r"^Among 9 at once, \w+ got what is \w+'s\.$"):
        each_gets_theirs(client, people, name_in)


def test_what_sticks_shows_alone(client_of: Any) -> None:
    client = client_of(greeting_app("in a default"))
    with pytest.raises(AssertionError, match="Alone, some get the same"):
        each_gets_theirs(client, requests("alice", "bob"), name_in)


def test_late_meets_whoever_has_a_time_limit() -> None:
    from lessons.harness.failing import Late

    class Store:
        async def get(self, name: str) -> str:
            return name

    async def ask(limit: float | None) -> str:
        async with asyncio.timeout(limit):
            return str(await Late(Store()).get("alice"))

    async def ask_by_anyio(limit: float | None) -> str:
        with anyio.fail_after(limit):
            return str(await Late(Store()).get("alice"))

    async def nap_after(limit: float) -> None:
        with contextlib.suppress(TimeoutError):
            await ask(limit)
        async with asyncio.timeout(60):
            await asyncio.sleep(0.001)

    for asks in (ask, ask_by_anyio):
        assert asyncio.run(asks(None)) == "alice"
        for limit in (0.5, 10, 600):
            with pytest.raises(TimeoutError):
                asyncio.run(asks(limit))
    asyncio.run(nap_after(10))
