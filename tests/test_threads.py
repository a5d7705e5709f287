"""Hashes run few at once, in a bounded queue, and not for clients who have gone."""

import asyncio
import logging
import os
import sys
import threading
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import Any, TypeVar

import httpx
import pytest
from fastapi import BackgroundTasks, FastAPI, HTTPException, Request
from starlette.types import ASGIApp, Message

from solutions.support import threads
from solutions.support.bounds import Bounds, Connection, current_connection
from solutions.support.settings import get_settings
from solutions.support.threads import WAITING_PER_THREAD, run_hashing
from tests.test_bounds import GONE, PATIENCE, Server, connected, head, serving

T = TypeVar("T")

THREADS = 2
PLACES = THREADS * (1 + WAITING_PER_THREAD)


@pytest.fixture(autouse=True)
def _pool(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A pool of two threads, on any machine. At the end of each test it must be empty."""
    monkeypatch.setenv("ENVIRONMENT", "development")
    monkeypatch.setenv("JWT_SECRET", "x" * 31 + "y")
    get_settings.cache_clear()
    pool = ThreadPoolExecutor(THREADS, initializer=threads._give_way)
    monkeypatch.setattr(threads, "hashing_slots", pool)
    monkeypatch.setattr(threads, "THREADS", THREADS)
    monkeypatch.setattr(threads, "_unfinished", set())
    yield
    pool.shutdown()
    assert unfinished() == 0
    get_settings.cache_clear()


class Hash:
    """Slow work that ends when the test says so, and counts who had it done."""

    def __init__(self) -> None:
        self.done: Counter[str] = Counter()
        self.may_end = threading.Event()

    def __call__(self, name: str) -> str:
        self.done[name] += 1
        assert self.may_end.wait(PATIENCE)
        return name


@pytest.fixture
def slow_hash() -> Iterator[Hash]:
    work = Hash()
    yield work
    work.may_end.set()  # a test that failed must not keep the threads


def unfinished() -> int:
    return len(threads._unfinished)


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    async def within_patience() -> T:
        async with asyncio.timeout(PATIENCE):
            return await coroutine

    return asyncio.run(within_patience())


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110  # threads change it, and they have no events
        await asyncio.sleep(0.001)


async def occupy(work: Hash) -> list[asyncio.Task[str]]:
    """Keep every thread busy."""
    tasks = [asyncio.create_task(run_hashing(work, "busy")) for _ in range(THREADS)]
    await until(lambda: work.done["busy"] == THREADS)
    return tasks


def assert_refused(error: HTTPException) -> None:
    assert error.status_code == 503
    assert error.detail == "Too many logins at once. Try again soon."
    assert int((error.headers or {})["Retry-After"]) > 0


# The call


def test_it_returns_what_the_function_returns_from_a_thread() -> None:
    def work(a: int, b: str) -> tuple[int, str, int]:
        return a, b, threading.get_ident()

    a, b, thread = run(run_hashing(work, 1, "x"))
    assert (a, b) == (1, "x")
    assert thread != threading.get_ident()


@pytest.mark.parametrize("kind", [NotImplementedError, ValueError, OSError, HTTPException])
def test_what_the_function_raises_comes_out_unchanged(kind: type[Exception]) -> None:
    raised = kind(418)

    def work() -> None:
        raise raised

    with pytest.raises(kind) as caught:
        run(run_hashing(work))
    assert caught.value is raised


def test_a_stop_iteration_does_not_hang() -> None:
    with pytest.raises(RuntimeError, match="StopIteration"):
        run(run_hashing(next, iter(())))


def test_the_function_sees_the_context_of_its_caller() -> None:
    who = ContextVar("who", default="nobody")

    async def caller(name: str) -> str:
        who.set(name)
        return await run_hashing(who.get)

    async def both() -> list[str]:
        return list(await asyncio.gather(caller("alice"), caller("bob")))

    assert run(both()) == ["alice", "bob"]
    assert run(run_hashing(who.get)) == "nobody"


# The threads


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has priorities for threads")
def test_the_threads_give_way_to_all_others() -> None:
    def priority() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    before = priority()
    assert threads.hashing_slots.submit(priority).result(PATIENCE) == 19
    assert run(run_hashing(priority)) == 19
    assert priority() == before
    other = ThreadPoolExecutor(1)
    assert other.submit(priority).result(PATIENCE) == before
    other.shutdown()


def test_a_system_that_refuses_priorities_hashes_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "setpriority", refuse, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    assert run(run_hashing(str.upper, "a")) == "A"


def test_other_systems_are_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr(os, "setpriority", lambda *given: asked.append(given), raising=False)
    monkeypatch.setattr(sys, "platform", "darwin")
    threads._give_way()
    assert asked == []


def test_there_is_a_pool_for_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    cores = os.cpu_count() or 2
    assert (cores, cores) == (threads.THREADS, threads.hashing_slots._max_workers)
    names = run(run_hashing(threading.current_thread)).name
    assert names.startswith("hashing")


# The queue


def test_a_full_queue_refuses_before_any_work(slow_hash: Hash) -> None:
    async def crowd() -> None:
        busy = await occupy(slow_hash)
        waiting = [
            asyncio.create_task(run_hashing(slow_hash, "waiting"))
            for _ in range(THREADS * WAITING_PER_THREAD)
        ]
        await until(lambda: unfinished() == PLACES)
        for name in ("alice", "nobody"):
            with pytest.raises(HTTPException) as refused:
                await run_hashing(slow_hash, name)
            assert_refused(refused.value)
        slow_hash.may_end.set()
        await asyncio.gather(*busy, *waiting)
        assert await run_hashing(slow_hash, "later") == "later"

    run(crowd())
    assert slow_hash.done == {"busy": THREADS, "waiting": PLACES - THREADS, "later": 1}


def test_an_error_frees_its_place_too() -> None:
    async def errors() -> None:
        for _ in range(PLACES + 1):
            with pytest.raises(ValueError, match="no number"):
                await run_hashing(fail)

    def fail() -> None:
        raise ValueError("no number")

    run(errors())


def test_the_bound_is_one_for_all_loops_and_threads(slow_hash: Hash) -> None:
    outcomes: list[str | HTTPException] = []
    start = threading.Barrier(4)

    async def one() -> None:
        try:
            outcomes.append(await run_hashing(slow_hash, "x"))
        except HTTPException as error:
            outcomes.append(error)

    async def crowd() -> None:
        await asyncio.gather(*(one() for _ in range(PLACES)))

    def loop() -> None:
        start.wait(PATIENCE)
        asyncio.run(crowd())

    loops = [threading.Thread(target=loop) for _ in range(4)]
    for each in loops:
        each.start()
    run(until(lambda: len(outcomes) == 3 * PLACES))  # nothing ends before all have come
    assert unfinished() == PLACES
    for outcome in outcomes:
        assert isinstance(outcome, HTTPException)
        assert_refused(outcome)
    slow_hash.may_end.set()
    for each in loops:
        each.join(PATIENCE)
    assert outcomes[3 * PLACES :] == ["x"] * PLACES
    assert slow_hash.done["x"] == PLACES


def test_a_cancelled_task_leaves_the_queue_at_once(slow_hash: Hash) -> None:
    async def cancel_one() -> None:
        busy = await occupy(slow_hash)
        waiting = asyncio.create_task(run_hashing(slow_hash, "cancelled"))
        await until(lambda: unfinished() == THREADS + 1)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert unfinished() == THREADS
        slow_hash.may_end.set()
        await asyncio.gather(*busy)
        await run_hashing(slow_hash, "later")

    run(cancel_one())
    assert slow_hash.done == {"busy": THREADS, "later": 1}


def test_a_cancelled_task_keeps_its_thread_until_the_work_is_done(
    slow_hash: Hash, caplog: pytest.LogCaptureFixture
) -> None:
    async def cancel_all() -> None:
        for each in await occupy(slow_hash):
            each.cancel()
            with pytest.raises(asyncio.CancelledError):
                await each
        assert unfinished() == THREADS

    run(cancel_all())  # the loop is closed before the work ends
    slow_hash.may_end.set()
    run(until(lambda: unfinished() == 0))
    assert caplog.records == []


# Clients who go


class Leaver(Server):
    """A server whose client leaves when the test says so."""

    def __init__(self, body: bytes = b"") -> None:
        super().__init__({"type": "http.request", "body": body, "more_body": False})
        self.left = asyncio.Event()
        self.asked = 0
        self.told = 0

    async def receive(self) -> Message:
        if self.messages:
            return await super().receive()
        self.asked += 1
        await self.left.wait()
        self.told += 1
        return GONE


def login_app(work: Callable[[str], object]) -> tuple[ASGIApp, list[bytes]]:
    """An app that hashes before it reads the body. It notes the bodies of those it let in."""
    app = FastAPI()
    let_in: list[bytes] = []

    @app.post("/login")
    async def login(request: Request, name: str = "client") -> str:
        await run_hashing(work, name)
        let_in.append(await request.body())
        return "welcome"

    return Bounds(app), let_in


def post(app: ASGIApp, server: Server) -> asyncio.Task[None]:
    async def call() -> None:
        await app(
            {
                "type": "http",
                "http_version": "1.1",
                "method": "POST",
                "scheme": "http",
                "path": "/login",
                "query_string": b"",
                "headers": [],
            },
            server.receive,
            server.send,
        )

    return asyncio.create_task(call())


def test_work_that_waits_is_dropped_when_its_client_leaves(
    slow_hash: Hash, caplog: pytest.LogCaptureFixture
) -> None:
    app, let_in = login_app(slow_hash)

    async def leave() -> None:
        busy = await occupy(slow_hash)
        leaver, stayer = Leaver(), Leaver(b"abc")
        requests = [post(app, leaver), post(app, stayer)]
        await until(lambda: leaver.asked == stayer.asked == 1)
        assert unfinished() == THREADS + 2
        leaver.left.set()
        await requests[0]
        assert unfinished() == THREADS + 1
        assert leaver.status == 503  # a server drops it
        slow_hash.may_end.set()
        await asyncio.gather(*busy, requests[1])
        assert stayer.status == 200
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(leave())
    assert slow_hash.done == {"busy": THREADS, "client": 1}
    assert let_in == [b"abc"], "The body belongs to the app"
    assert caplog.records == []


def test_work_that_runs_goes_on_when_its_client_leaves(slow_hash: Hash) -> None:
    own_hash = Hash()
    app, let_in = login_app(own_hash)

    async def leave() -> None:
        busy = await occupy(slow_hash)
        leaver = Leaver(b"abc")
        request = post(app, leaver)
        await until(lambda: leaver.asked == 1)
        slow_hash.may_end.set()
        await until(lambda: own_hash.done["client"] == 1)
        leaver.left.set()
        await until(lambda: leaver.told == 1)
        own_hash.may_end.set()
        await asyncio.gather(*busy, request)
        assert leaver.status == 200

    run(leave())
    assert let_in == [b"abc"]


def test_work_that_need_not_wait_asks_nothing_of_the_server(slow_hash: Hash) -> None:
    own_hash = Hash()
    own_hash.may_end.set()
    app, _ = login_app(own_hash)

    async def ask() -> None:
        busy = [asyncio.create_task(run_hashing(slow_hash, "busy")) for _ in range(THREADS - 1)]
        await until(lambda: slow_hash.done["busy"] == THREADS - 1)
        server = Leaver()
        await post(app, server)
        assert (server.status, server.asked) == (200, 0)
        slow_hash.may_end.set()
        await asyncio.gather(*busy)

    run(ask())


@pytest.mark.parametrize("end", ["answer", "client leaves", "cancelled"])
def test_no_task_is_left_to_watch_the_client(slow_hash: Hash, end: str) -> None:
    left: list[set[asyncio.Task[Any]]] = []

    async def login(client: Leaver) -> None:
        current_connection.set(Connection(b"", client.receive, client.send))
        try:
            await run_hashing(slow_hash, "client")
        finally:
            left.append(asyncio.all_tasks())

    async def ask() -> None:
        busy = await occupy(slow_hash)
        client = Leaver()
        await client.receive()  # the body
        waiting = asyncio.create_task(login(client))
        await until(lambda: client.asked == 1)
        if end == "answer":
            slow_hash.may_end.set()
        elif end == "client leaves":
            client.left.set()
        else:
            waiting.cancel()
        await asyncio.wait({waiting})
        assert left[0] <= {asyncio.current_task(), waiting, *busy}
        slow_hash.may_end.set()
        await asyncio.gather(*busy, waiting, return_exceptions=True)

    run(ask())


def test_a_request_that_is_cancelled_leaves_no_task_behind(slow_hash: Hash) -> None:
    app, let_in = login_app(slow_hash)

    async def cancel() -> None:
        busy = await occupy(slow_hash)
        server = Leaver()
        request = post(app, server)
        await until(lambda: server.asked == 1)
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        assert unfinished() == THREADS
        assert asyncio.all_tasks() == {asyncio.current_task(), *busy}
        slow_hash.may_end.set()
        await asyncio.gather(*busy)

    run(cancel())
    assert slow_hash.done == {"busy": THREADS}
    assert let_in == []


def test_a_server_that_cannot_be_asked_is_an_error_that_shows(slow_hash: Hash) -> None:
    class Broken(Leaver):
        async def receive(self) -> Message:
            if self.messages:
                return await super().receive()
            raise RuntimeError("no such channel")

    app, let_in = login_app(slow_hash)

    async def ask() -> None:
        busy = await occupy(slow_hash)
        with pytest.raises(RuntimeError, match="no such channel"):
            await post(app, Broken())
        assert unfinished() == THREADS
        slow_hash.may_end.set()
        await asyncio.gather(*busy)

    run(ask())
    assert let_in == []


def test_a_server_that_says_something_else_is_taken_for_a_client_that_stays(
    slow_hash: Hash,
) -> None:
    class Chatty(Leaver):
        async def receive(self) -> Message:
            self.asked += 1
            return {"type": "http.request", "body": b"", "more_body": False}

    app, let_in = login_app(slow_hash)

    async def ask() -> None:
        busy = await occupy(slow_hash)
        server = Chatty()
        request = post(app, server)
        await until(lambda: server.asked == 2)
        slow_hash.may_end.set()
        await asyncio.gather(*busy, request)
        assert server.status == 200

    run(ask())
    assert let_in == [b""]


def test_a_loop_of_its_own_does_not_ask_the_servers_loop(slow_hash: Hash) -> None:
    app = FastAPI()

    @app.post("/login")
    def login() -> str:
        return asyncio.run(run_hashing(slow_hash, "client"))

    async def ask() -> None:
        busy = await occupy(slow_hash)
        server = Leaver()
        request = post(Bounds(app), server)
        await until(lambda: unfinished() == THREADS + 1)
        server.left.set()
        slow_hash.may_end.set()
        await asyncio.gather(*busy, request)
        assert (server.status, server.asked) == (200, 0)

    run(ask())
    assert slow_hash.done["client"] == 1


def test_work_after_the_answer_is_not_dropped(slow_hash: Hash) -> None:
    app = FastAPI()

    @app.post("/login")
    async def login(tasks: BackgroundTasks) -> str:
        tasks.add_task(run_hashing, slow_hash, "later")
        return "welcome"

    async def ask() -> None:
        busy = await occupy(slow_hash)
        server = Leaver()
        server.left.set()  # as servers do after an answer
        request = post(Bounds(app), server)
        await until(lambda: unfinished() == THREADS + 1)
        slow_hash.may_end.set()
        await asyncio.gather(*busy, request)

    run(ask())
    assert slow_hash.done["later"] == 1


# A real server


def test_on_a_server_a_hundred_logins_are_let_in_or_refused_at_once(slow_hash: Hash) -> None:
    app, let_in = login_app(slow_hash)

    async def crowd(port: int) -> list[httpx.Response]:
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE, limits=limits, trust_env=False
        ) as client:
            requests = [
                asyncio.create_task(client.post("/login", params={"name": f"user{number}"}))
                for number in range(100)
            ]
            await until(lambda: sum(each.done() for each in requests) == 100 - PLACES)
            assert unfinished() == PLACES
            slow_hash.may_end.set()
            return await asyncio.gather(*requests)

    with serving(app) as port:
        answers = run(crowd(port))
    assert Counter(each.status_code for each in answers) == {200: PLACES, 503: 100 - PLACES}
    refused = [each for each in answers if each.status_code == 503]
    assert len({(each.text, each.headers["retry-after"]) for each in refused}) == 1
    assert refused[0].json() == {"detail": "Too many logins at once. Try again soon."}
    assert slow_hash.done.total() == PLACES == len(let_in)


def test_on_a_server_clients_who_hang_up_while_they_wait_cost_no_hash(
    slow_hash: Hash, caplog: pytest.LogCaptureFixture
) -> None:
    app, let_in = login_app(slow_hash)
    line = head("/login?name=leaver", "Content-Length: 3") + b"abc"

    async def hang_up(port: int) -> None:
        busy = await occupy(slow_hash)
        for _ in range(3):
            with connected(port) as one, connected(port) as other:
                one.sendall(line)
                other.sendall(line)
                await until(lambda: unfinished() == THREADS + 2)
            await until(lambda: unfinished() == THREADS)
        slow_hash.may_end.set()
        await asyncio.gather(*busy)
        assert await run_hashing(slow_hash, "later") == "later"

    with serving(app) as port:
        run(hang_up(port))
    assert slow_hash.done == {"busy": THREADS, "later": 1}
    assert let_in == []
    assert [each for each in caplog.records if each.levelno >= logging.WARNING] == []
