"""What holds of the stores in a database: races of two workers, faults, sweeps, clocks."""

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine

from solutions.database import stores_on
from solutions.stores.api_keys import ApiKey
from solutions.stores.chosen import Stores
from solutions.stores.flows import MAX_FLOWS_OF_A_SESSION, Flow, Purpose
from solutions.stores.identities import Identity
from solutions.stores.refresh_tokens import Family, RefreshToken
from solutions.stores.sessions import Session
from solutions.stores.sql.database import PATIENCE, Conflict, Database, StoreDown, WrongStatement
from solutions.stores.sql.locks import alone_on
from solutions.stores.sql.opening import open_database
from solutions.stores.sql.rows import GRACE, SWEEP, SWEPT_AT_ONCE, to_number
from solutions.stores.users import UserInDB
from tests.contract import Kind, at_once

WORKERS = 8
SLOW = {  # a moment
    "sqlite": "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 1000000)"
    " SELECT count(*) FROM n",
    "postgresql": "SELECT pg_sleep(1)",
}
Act = Callable[[Stores], Coroutine[Any, Any, Any]]


def run(call: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run an asynchronous test to its end."""
    asyncio.run(call())


@asynccontextmanager
async def stores_at(url: str, connections: int = 2) -> AsyncIterator[Stores]:
    async with open_database(url, connections) as database:
        yield stores_on(database)


def database_of(stores: Stores) -> Database:
    return stores.users.database  # type: ignore[attr-defined, no-any-return]


def in_workers(url: str, *acts: Act) -> list[Any]:
    """Let workers act at once, each with an event loop and a pool of its own."""

    def worker(act: Act) -> Callable[[], Coroutine[Any, Any, Any]]:
        async def work() -> Any:
            async with stores_at(url) as stores:
                await database_of(stores).run("SELECT 1")  # connected, so that all are equally fast
                return await act(stores)

        return work

    return at_once(*map(worker, acts))


def prepare(url: str, act: Act) -> None:
    async def work() -> None:
        async with stores_at(url) as stores:
            await act(stores)

    asyncio.run(work())


def ask(url: str, act: Act) -> Any:
    """Return what one more worker sees."""

    async def work() -> Any:
        async with stores_at(url) as stores:
            return await act(stores)

    return asyncio.run(work())


def person(name: str, **more: Any) -> UserInDB:
    return UserInDB(username=name, **{"hashed_password": "a hash", **more})


def family(name: str = "phone", days: float = 7) -> Family:
    return Family(name, "erin", "stamp", ("me",), datetime.now(UTC) + timedelta(days=days))


def session(name: str, owner: str = "erin", hours: float = 1) -> Session:
    now = datetime.now(UTC)
    ends = now + timedelta(hours=hours)
    return Session(f"d {name}", name, "token", owner, "stamp", "Firefox", now, now, ends)


def key(name: str, days: float = 7) -> ApiKey:
    now = datetime.now(UTC)
    return ApiKey(f"d {name}", name, "faw_", name, "erin", "s", (), now, now + timedelta(days=days))


def flow(state: str, browser: str = "firefox", minutes: float = 10) -> Flow:
    ends = datetime.now(UTC) + timedelta(minutes=minutes)
    return Flow(browser, state, "oidc", "nonce", "verifier", Purpose(), ends)


def identity(subject: str, issuer: str = "https://one.example", account: str = "e") -> Identity:
    return Identity(issuer, subject, "erin", account, "", datetime.now(UTC))


# --- two workers, one winner ------------------------------------------------------------------


def test_of_many_workers_one_gets_each_thing(database_url: str) -> None:
    async def fill(stores: Stores) -> None:
        await stores.users.add(person("erin"))
        await stores.refresh_tokens.add(RefreshToken("d", family()))
        await stores.keys.add(key("one"))
        await stores.sessions.add(session("one"))
        await stores.flows.add(flow("one"))

    prepare(database_url, fill)
    races: dict[str, Act] = {
        "consume": lambda stores: stores.refresh_tokens.consume("d"),
        "revoke a key": lambda stores: stores.keys.revoke("erin", "one"),
        "end a session": lambda stores: stores.sessions.end_owned("erin", "one"),
        "take a flow": lambda stores: stores.flows.take("firefox", "one"),
        "register": lambda stores: stores.users.add(person("frank")),
        "rehash": lambda stores: stores.users.replace_hash("erin", "a hash", "another"),
        "remove": lambda stores: stores.users.remove("erin"),
    }
    for what, act in races.items():
        got = in_workers(database_url, *[act] * WORKERS)
        assert not [each for each in got if isinstance(each, Exception)], (what, got)
        assert sum(map(bool, got)) == 1, (what, got)


def test_of_many_claims_one_is_kept(database_url: str) -> None:
    def claiming(number: int) -> Act:
        return lambda stores: stores.identities.claim(identity("1", account=f"account {number}"))

    kept = in_workers(database_url, *map(claiming, range(WORKERS)))
    assert len({each.account_id for each in kept}) == 1
    assert ask(database_url, lambda stores: stores.identities.find(kept[0].issuer, "1")) == kept[0]


def test_two_who_unlink_leave_one_way_in(database_url: str) -> None:
    one, two = "https://one.example", "https://two.example"
    for number in range(5):
        account = f"account {number}"

        async def fill(stores: Stores, account: str = account, number: int = number) -> None:
            await stores.identities.claim(identity(f"a{number}", one, account))
            await stores.identities.claim(identity(f"b{number}", two, account))

        def releasing(issuer: str, account: str = account) -> Act:
            return lambda stores: stores.identities.release(account, issuer, may_be_last=False)

        prepare(database_url, fill)
        got = in_workers(database_url, releasing(one), releasing(two))
        assert sorted(got) == ["gone", "last"]
        assert len(ask(database_url, lambda s, a=account: s.identities.owned_by(a))) == 1


def test_who_claims_and_who_releases_do_not_meet(database_url: str) -> None:
    old = identity("1", account="old")
    prepare(database_url, lambda stores: stores.identities.claim(old))

    async def claim(stores: Stores) -> str:
        kept = await stores.identities.claim(identity("1", account="new"), instead_of=old)
        return kept.account_id

    async def release(stores: Stores) -> str:
        return await stores.identities.release("old", old.issuer, may_be_last=True)

    claimed, released = in_workers(database_url, claim, release)
    assert claimed == "new" and released in ("gone", "none")
    found = ask(database_url, lambda stores: stores.identities.find(old.issuer, "1"))
    assert found.account_id == "new"


def test_one_superadmin_stays(database_url: str) -> None:
    """Both look, see two, and each takes the other one away (CWE-367)."""

    def demoting(name: str) -> Act:
        async def act(stores: Stores) -> None:
            async with stores.users.transaction():
                people = await stores.users.everyone()
                await asyncio.sleep(0.05)  # time in which the other one looks
                if sum(each.role == "superadmin" for each in people) > 1:
                    await stores.users.change(name, role="user")

        return act

    async def fill(stores: Stores) -> None:
        for name in ("carol", "dave"):
            await stores.users.add(person(name))
            await stores.users.change(name, role="superadmin")

    for _ in range(5):
        prepare(database_url, fill)
        in_workers(database_url, demoting("carol"), demoting("dave"))
        people = ask(database_url, lambda stores: stores.users.everyone())
        assert [each.role for each in people].count("superadmin") == 1


def test_what_one_worker_ends_is_dead_in_the_other_at_once(database_url: str) -> None:
    async def test() -> None:
        async with stores_at(database_url) as here, stores_at(database_url) as there:
            await here.users.add(person("erin"))
            await here.refresh_tokens.add(RefreshToken("first", family()))
            await here.refresh_tokens.add(RefreshToken("second", family()))
            await here.sessions.add(session("one"))
            await here.keys.add(key("one"))
            assert await there.refresh_tokens.consume("first")
            assert await there.sessions.touch("d one") and await there.keys.find("d one")
            await here.refresh_tokens.revoke(family())
            await here.sessions.end("d one")
            await here.keys.revoke("erin", "one")
            await here.users.change("erin", disabled=True)
            assert await there.refresh_tokens.consume("second") is None
            assert await there.sessions.touch("d one") is None
            assert await there.keys.find("d one") is None
            erin = await there.users.get("erin")
            assert erin and erin.disabled

    run(test)


def test_a_family_is_revoked_before_it_has_a_token(database_url: str) -> None:
    async def test() -> None:
        async with stores_at(database_url) as stores:
            for _ in range(2):
                await stores.refresh_tokens.revoke(family())
            await stores.refresh_tokens.add(RefreshToken("late", family()))
            found = await stores.refresh_tokens.find("late")
            assert found and found.spent
            assert await stores.refresh_tokens.consume("late") is None

    run(test)


def test_a_token_and_the_end_of_its_family_at_once(database_url: str) -> None:
    """Whoever comes first: no token lives in a family that is revoked."""
    for number in range(5):
        mine = family(f"family {number}")

        async def add(stores: Stores, mine: Family = mine) -> None:
            await stores.refresh_tokens.add(RefreshToken(f"d {mine.id}", mine))

        in_workers(database_url, add, lambda stores, mine=mine: stores.refresh_tokens.revoke(mine))
        dead = ask(database_url, lambda s, mine=mine: s.refresh_tokens.consume(f"d {mine.id}"))
        assert dead is None


def test_keys_and_sessions_that_come_at_once_have_an_order(database_url: str) -> None:
    async def fill(stores: Stores, worker: int) -> None:
        for number in range(10):
            await stores.keys.add(key(f"{worker} {number}"))
            await stores.sessions.add(session(f"{worker} {number}"))

    ended = in_workers(database_url, *(lambda s, w=w: fill(s, w) for w in range(4)))
    assert ended == [None] * 4
    for owned in ("keys", "sessions"):
        names = [
            each.id for each in ask(database_url, lambda s, o=owned: getattr(s, o).owned_by("erin"))
        ]
        assert len(names) == 40
        for worker in range(4):
            mine = [name for name in names if name.startswith(f"{worker} ")]
            assert mine == [f"{worker} {number}" for number in range(10)]


# --- names fold in the code, and nowhere else -------------------------------------------------


def test_a_name_has_one_row_also_for_plain_sql(new_rows: Kind) -> None:
    """Two rows, one in capitals, would be two people for the code (CWE-178)."""
    stores = new_rows()
    database = new_rows.database
    assert database
    asyncio.run(stores.users.add(person("Erin")))  # type: ignore[arg-type]
    insert = (
        "INSERT INTO users (username, role, scopes, security_stamp, hashed_password)"
        " VALUES (:username, 'user', '[]', '', '')"
    )
    for name in ("erin", "ERIN", "eRin", "Frank"):
        with pytest.raises(Conflict):
            database.now(insert, username=name)
    with pytest.raises(Conflict):
        database.now("UPDATE users SET username = 'ERIN'")
    assert [each.username for each in asyncio.run(stores.users.everyone())] == ["erin"]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE users SET disabled = 2",
        "UPDATE users SET security_stamp = NULL",
        "UPDATE users SET hashed_password = NULL",
        "UPDATE users SET role = NULL",
        "INSERT INTO revoked_families (family) VALUES ('x')",
    ],
)
def test_the_tables_refuse_what_no_code_writes(new_rows: Kind, statement: str) -> None:
    stores, database = new_rows(), new_rows.database
    assert database
    asyncio.run(stores.users.add(person("erin")))  # type: ignore[arg-type]
    with pytest.raises(Conflict):
        database.now(statement)


# --- transactions -----------------------------------------------------------------------------


class Fault(Exception):
    """Something goes wrong in the middle."""


@pytest.mark.parametrize("error", [Fault, asyncio.CancelledError, KeyboardInterrupt])
def test_a_fault_after_the_first_write_undoes_it(
    database_url: str, error: type[BaseException]
) -> None:
    async def test() -> None:
        async with stores_at(database_url, connections=1) as stores:
            database = database_of(stores)
            with pytest.raises(error):  # noqa: PT012
                async with database.transaction():
                    await stores.users.add(person("erin"))
                    async with database.transaction(*alone_on("users", database.dialect)):
                        await stores.keys.add(key("one"))
                    raise error
            assert await stores.users.everyone() == [], "The next one sees half of it."
            assert await stores.keys.owned_by("erin") == []
            async with database.transaction():
                await stores.users.add(person("erin"))
                async with database.transaction():
                    await stores.keys.add(key("one"))
        async with stores_at(database_url) as other:
            assert await other.users.get("erin") and await other.keys.owned_by("erin")

    with suppress(KeyboardInterrupt):
        run(test)


def test_a_statement_that_fails_leaves_no_transaction_open(database_url: str) -> None:
    async def test() -> None:
        async with stores_at(database_url, connections=1) as stores:
            database = database_of(stores)
            for wrong in ("SELEC 1", "SELECT * FROM nothing", "SELECT nothing FROM users"):
                with pytest.raises(WrongStatement):
                    await database.run(wrong)
                with pytest.raises(WrongStatement):  # noqa: PT012
                    async with database.transaction():
                        await stores.users.add(person("erin"))
                        await database.run(wrong)
            assert await stores.users.everyone() == []
            await stores.users.add(person("erin"))
        async with stores_at(database_url) as other:
            assert await other.users.get("erin")

    run(test)


def test_others_see_nothing_of_a_transaction_before_its_end(database_url: str) -> None:
    async def test() -> None:
        async with stores_at(database_url) as here, stores_at(database_url) as there:
            async with here.users.transaction():
                await here.users.add(person("erin"))
                assert await here.users.get("erin")
                assert await there.users.get("erin") is None, "A reader sees what is not done."
            assert await there.users.get("erin")

    run(test)


def test_a_task_that_outlives_a_transaction_is_no_part_of_it(database_url: str) -> None:
    async def test() -> None:
        async with stores_at(database_url, connections=2) as stores:
            go_on = asyncio.Event()

            async def late() -> None:
                await go_on.wait()
                await stores.users.add(person("late"))

            with pytest.raises(Fault):  # noqa: PT012
                async with stores.users.transaction():
                    task = asyncio.create_task(late())
                    await stores.users.add(person("erin"))
                    await asyncio.sleep(0)
                    raise Fault
            go_on.set()
            await task
            assert [each.username for each in await stores.users.everyone()] == ["late"]

    run(test)


# --- cancelled in the middle ------------------------------------------------------------------


async def cancel_often(task: "asyncio.Task[Any]") -> None:
    """Cancel a task again and again until it ends, as anyio's scopes do."""
    while not task.done():
        task.cancel()
        await asyncio.sleep(0)


def test_a_statement_that_is_cancelled_gives_its_connection_back(database_url: str) -> None:
    async def test() -> None:
        async with stores_at(database_url, connections=1) as stores:
            database = database_of(stores)
            for how in ("once", "often"):
                task = asyncio.create_task(database.run(SLOW[database.dialect]))
                await asyncio.sleep(0.1)
                if how == "once":
                    task.cancel()
                else:
                    await cancel_often(task)
                with pytest.raises(asyncio.CancelledError):
                    await task
                assert await stores.users.everyone() == []
            await stores.users.add(person("erin"))
        async with stores_at(database_url) as other:
            assert await other.users.get("erin")

    run(test)


def test_a_transaction_that_is_cancelled_leaves_nothing(database_url: str) -> None:
    async def test() -> None:
        async with stores_at(database_url, connections=1) as stores:
            database = database_of(stores)
            for slow in (SLOW[database.dialect], ""):
                for how in ("once", "often"):

                    async def half(slow: str = slow) -> None:
                        async with stores.users.transaction():
                            await stores.users.add(person("erin"))
                            if slow:
                                await database.run(slow)
                            await asyncio.sleep(1)

                    task = asyncio.create_task(half())
                    await asyncio.sleep(0.1)
                    if how == "once":
                        task.cancel()
                    else:
                        await cancel_often(task)
                    with pytest.raises(asyncio.CancelledError):
                        await task
                    assert await stores.users.everyone() == [], "Half of it is done."
                    async with stores.users.transaction():
                        assert await stores.users.get("erin") is None

    run(test)


def test_no_connection_is_lost_whenever_one_is_cancelled(database_url: str) -> None:
    drawn = random.Random(12)

    async def test() -> None:
        async with stores_at(database_url, connections=2) as stores:
            await stores.users.add(person("erin"))

            async def work(number: int) -> None:
                async with stores.users.transaction():
                    await stores.users.change("erin", full_name=f"{number}", role="half")
                    await stores.users.change("erin", role="user")

            for number in range(60):
                tasks = [asyncio.create_task(work(number)) for _ in range(3)]
                await asyncio.sleep(drawn.random() * 0.01)
                for task in tasks:
                    if number % 2:
                        task.cancel()
                    else:
                        await cancel_often(task)
                await asyncio.gather(*tasks, return_exceptions=True)
            found = await asyncio.gather(*(stores.users.get("erin") for _ in range(40)))
            assert all(each and each.role == "user" for each in found)
            await asyncio.gather(*(work(number) for number in range(4)))

    run(test)


# --- a pool that is too small -----------------------------------------------------------------


def test_forty_share_one_connection(database_url: str) -> None:
    async def test() -> None:
        async with stores_at(database_url, connections=1) as stores:
            await stores.users.add(person("erin"))
            found = await asyncio.gather(*(stores.users.get("erin") for _ in range(40)))
            assert all(found)

    run(test)


def test_who_waits_too_long_for_a_connection_is_told(database_url: str) -> None:
    async def test() -> None:
        async with stores_at(database_url, connections=1) as stores:

            async def others() -> None:
                begun = time.monotonic()
                ended = await asyncio.gather(
                    *(stores.users.get("erin") for _ in range(40)), return_exceptions=True
                )
                assert all(isinstance(each, StoreDown) for each in ended), ended
                assert PATIENCE / 2 < time.monotonic() - begun < 10 * PATIENCE  # all at once

            async with database_of(stores).transaction():
                waiting = asyncio.create_task(others(), context=asyncio_context())
                for _ in range(20):
                    await asyncio.sleep(0.1)
                    await stores.users.get("erin")  # no server hangs up on us
                await waiting
            assert await stores.users.get("erin") is None, "It has not recovered."

    run(test)


def asyncio_context() -> Any:
    """Return an empty context: a task in it is not a part of our transaction."""
    import contextvars

    return contextvars.Context()


def test_a_lock_of_somebody_else_is_not_waited_for_for_ever(database_url: str) -> None:
    async def test() -> None:
        async with stores_at(database_url) as here, stores_at(database_url) as there:
            async with here.users.transaction():
                begun = time.monotonic()
                waiting = asyncio.create_task(there.users.add(person("erin")))
                while not waiting.done():
                    await here.users.get("erin")  # or the server ends a transaction that is idle
                    await asyncio.sleep(0.1)
                with pytest.raises(StoreDown):
                    await waiting
                assert time.monotonic() - begun < 10 * PATIENCE
            assert await there.users.add(person("erin"))

    run(test)


# --- bounds, sweeps, clocks -------------------------------------------------------------------


def test_pre_sessions_and_flows_have_bounds_for_all_workers(new_rows: Kind) -> None:
    new_rows()
    workers = [new_rows.again(max_pre_sessions=20, max_flows=30) for _ in range(4)]

    async def flood(stores: Stores, worker: int) -> None:
        await stores.sessions.add(session(f"of erin {worker}"))
        for number in range(25):
            await stores.sessions.add(session(f"form {worker} {number}", ""))
            await stores.flows.add(flow(f"{worker} {number}", f"browser {worker} {number % 3}"))

    ended = at_once(*(lambda s=s, w=w: flood(s, w) for w, s in enumerate(workers)))
    assert ended == [None] * 4
    assert new_rows.count("sessions WHERE username = ''") == 20
    assert new_rows.count("sessions WHERE username = 'erin'") == 4
    assert new_rows.count("flows") == 30
    for number in range(MAX_FLOWS_OF_A_SESSION + 5):
        asyncio.run(new_rows.again().flows.add(flow(f"tab {number}")))  # type: ignore[arg-type]
    assert new_rows.count("flows WHERE session = 'firefox'") == MAX_FLOWS_OF_A_SESSION
    assert new_rows.count("flows WHERE state = 'tab 4'") == 0


def test_what_is_over_is_swept_an_hour_later_and_in_bounded_steps(new_rows: Kind) -> None:
    new_rows()
    database = new_rows.database
    assert database
    tables = ("refresh_tokens", "revoked_families", "api_keys", "sessions", "flows")
    surplus = 50

    async def add_one(stores: Stores, name: str) -> None:
        await stores.refresh_tokens.add(RefreshToken(f"d {name}", family(name)))
        await stores.keys.add(key(name))
        await stores.sessions.add(session(name, hours=24 * 7))
        await stores.flows.add(flow(name, minutes=7 * 24 * 60))

    def fill() -> None:
        ends = to_number(datetime.now(UTC) + timedelta(days=1))
        columns = {
            "refresh_tokens": ["digest", "family", "username", "stamp", "scopes"],
            "revoked_families": ["family"],
            "api_keys": ["digest", "id", "prefix", "name", "owner", "stamp", "scopes"],
            "sessions": ["digest", "id", "csrf_token", "username", "stamp", "user_agent"],
            "flows": ["session", "state", "provider", "nonce", "verifier", "next", "link_to"],
        }
        numbers = {"api_keys": ["number", "created_at"], "flows": ["number"]}
        numbers["sessions"] = ["number", "created_at", "last_seen"]
        for table, names in columns.items():
            texts = ", ".join(f"'{name} ' || i" for name in names)
            more = "".join(f", {name}" for name in numbers.get(table, []))
            values = ", i" * len(numbers.get(table, []))
            database.now(
                f"INSERT INTO {table} ({', '.join(names)}{more}, expires_at)"
                f" WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :most)"
                f" SELECT {texts}{values}, :ends FROM n",
                most=SWEPT_AT_ONCE + surplus,
                ends=ends,
            )

    def counted() -> list[int]:
        return [new_rows.count(table) for table in tables]

    fill()
    new = new_rows.again()  # another worker; its sweeper starts now
    all_of_them = SWEPT_AT_ONCE + surplus
    with time_machine.travel(timedelta(days=1) + GRACE - timedelta(minutes=2)):
        asyncio.run(add_one(new, "within the hour"))
        assert counted() == [all_of_them + (table != "revoked_families") for table in tables]
    with time_machine.travel(timedelta(days=1) + GRACE + timedelta(minutes=2)):
        asyncio.run(add_one(new, "after it"))
        assert counted() == [surplus + 2 * (table != "revoked_families") for table in tables]
        asyncio.run(add_one(new, "at once again"))
        assert new_rows.count("api_keys") == surplus + 3, "It sweeps more than once a minute."
    with time_machine.travel(timedelta(days=1) + GRACE + timedelta(minutes=2) + 2 * SWEEP):
        asyncio.run(add_one(new, "a minute later"))
        assert counted() == [4 * (table != "revoked_families") for table in tables]


def test_reuse_is_known_as_long_as_the_family_lives(new_rows: Kind) -> None:
    """A spent token stays: who brings it again has stolen it, or was robbed (RFC 9700 4.14)."""
    stores = new_rows()

    async def test() -> None:
        await stores.refresh_tokens.add(RefreshToken("stolen", family(days=7)))
        assert await stores.refresh_tokens.consume("stolen")
        await stores.refresh_tokens.revoke(family("other", days=7))
        with time_machine.travel(timedelta(days=7) - timedelta(minutes=5)):
            await stores.refresh_tokens.add(RefreshToken("new", family("laptop")))
            found = await stores.refresh_tokens.find("stolen")
            assert found and found.spent
            assert await stores.refresh_tokens.consume("stolen") is None
            late = RefreshToken("late", family("other"))
            await stores.refresh_tokens.add(late)
            assert await stores.refresh_tokens.consume("late") is None

    run(test)


def test_a_row_that_a_slow_clock_still_needs_is_there(new_rows: Kind) -> None:
    """Here the key is over. A worker whose clock is a minute behind lets it in a minute longer."""
    ahead, behind = new_rows(), new_rows.again()

    async def test() -> None:
        await ahead.keys.add(key("one", days=1))
        with time_machine.travel(timedelta(days=1, minutes=2)):
            await ahead.keys.add(key("two"))
        with time_machine.travel(timedelta(days=1, minutes=1)):
            assert await behind.keys.find("d one")

    run(test)


def test_the_order_is_the_database_s_own(new_rows: Kind) -> None:
    """Workers a minute apart: what came first is first, and nobody was last seen earlier."""
    ahead, behind = new_rows(), new_rows.again()

    async def test() -> None:
        with time_machine.travel(timedelta(minutes=1)):
            await ahead.keys.add(key("one"))
            await ahead.sessions.add(session("one"))
            await ahead.identities.claim(identity("1"))
            await ahead.sessions.add(session("form one", ""))
        await behind.keys.add(key("two"))
        await behind.sessions.add(session("two"))
        await behind.identities.claim(identity("2"))
        assert [each.id for each in await behind.keys.owned_by("erin")] == ["one", "two"]
        assert [each.id for each in await behind.sessions.owned_by("erin")] == ["one", "two"]
        assert [each.subject for each in await behind.identities.owned_by("e")] == ["1", "2"]
        with time_machine.travel(timedelta(minutes=1)):
            ahead_of_us = await ahead.sessions.touch("d one")
        now = await behind.sessions.touch("d one")
        assert now == ahead_of_us
        bounded = new_rows.again(max_pre_sessions=1)
        await bounded.sessions.add(session("form two", ""))
        assert await behind.sessions.find("d form one") is None, "The newest form was forgotten."
        assert await behind.sessions.find("d form two")

    run(test)


# --- nothing secret is said -------------------------------------------------------------------


def test_no_error_and_no_log_has_what_is_secret(
    new_rows: Kind, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    stores, database = new_rows(), new_rows.database
    assert database
    secret = "the digest, or a hash"

    async def test() -> None:
        await stores.users.add(person("erin", hashed_password=secret))
        await stores.keys.add(replace(key("one"), digest=secret))
        faults: list[Coroutine[Any, Any, Any]] = [
            stores.keys.add(replace(key("two"), digest=secret)),
            stores.users.change("erin", hashed_password=secret, role=None),
            database.run(
                "SELECT nothing FROM users WHERE hashed_password = :secret", secret=secret
            ),
            database.run("UPDATE users SET disabled = :secret", secret=secret),
            database.run(
                "INSERT INTO users SELECT :secret, email FROM users", secret=f"{secret}\0"
            ),
        ]
        for fault in faults:
            with pytest.raises((WrongStatement, ValueError)) as raised:
                await fault
            error: BaseException | None = raised.value
            assert (error and error.__suppress_context__) or (error and error.__context__ is None)
            assert secret not in f"{error!r} {error} {error.__cause__!r}"
        assert secret not in f"{stores!r} {stores.users!r} {database!r} {vars(stores.users)}"

    run(test)
    assert secret not in caplog.text
