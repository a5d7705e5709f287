"""Lesson 12: one database, two workers. Five tests of what you build, then mallory.

For maintainers
Goal: the four methods that must be one step are one step for all workers, on both databases, and a
database that is down is a 503 and nothing else.
Teach: look and act in one statement, the key of a table as the judge, compare and set, what must
be locked where a look decides about another row, that memory of a worker is of yesterday.
Do not teach: SQL itself, schemas and migrations, pools, ORMs, isolation levels by name, tenants.
Without a server: two workers are two copies of the module, each with a loop and connections of its
own, on one SQLite file. What PostgreSQL would do in a race is played on that file.
"""

import asyncio
import logging
import re
import sqlite3
import traceback
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import zip_longest
from typing import Any

import pytest
from fastapi import HTTPException

from lessons.harness.answers import surplus_headers
from lessons.harness.audit_lines import audit_lines
from lessons.harness.elsewhere import in_development
from lessons.harness.memory import texts
from lessons.harness.outside import outside
from lessons.harness.people import Headers, speak_as
from lessons.harness.postgresql import is_look, locks, missing_lock
from lessons.harness.spelling import Text
from lessons.harness.transcript import show
from lessons.harness.trap import Trap, listening
from lessons.harness.verdicts import check_type, only_raises, twin
from lessons.harness.workers import DRIVER, Field, Worker, Workers, tables

asvs = pytest.mark.asvs
attack = pytest.mark.attack
todo = pytest.mark.todo

ERIN = {"username": "erin", "password": "trombone + seven"}
MALLORY = {"username": "erin", "password": "tuba and nothing"}
SENT = ("query", "path", "form", "cookie", "browser", "page before")  # where a secret may stand
DIALECTS = ("SQLite", "PostgreSQL")
HOSTILE = (
    *("zq' OR '1'='1", "zq'; DROP TABLE users; --", 'zq" OR ""="', "zq\\' OR 1=1 --", "zq%", "zq_"),
    *(
        ":digest",
        ":zq",
        "?zq",
        "$1zq",
        "%s zq",
        "%(digest)s",
        "{digest}",
        "{0}zq",
        "zq\u2019",
        " zq ",
        "zq\n",
    ),
)
NOT_NAMES = ("", "ab", "a b c", "z\u00e4ra", "erin'--", "erin\0", "e" * 33)
BEGINS = re.compile(r"\s*(BEGIN|START|LOCK|SET)\b", re.IGNORECASE)
# What SQLite takes, and PostgreSQL does not.
SQLITE_ONLY = {
    r"\bOR\s+(IGNORE|REPLACE|ABORT|FAIL|ROLLBACK)\b": "INSERT OR ...",
    r"\bREPLACE\s+INTO\b": "REPLACE INTO",
    r"\?": "? as a placeholder",
    r"==": "==",
    r"\browid\b": "rowid",
    r"\bifnull\s*\(": "ifnull()",
    r"\b(changes|last_insert_rowid|strftime|iif)\s*\(": "a function of SQLite alone",
    r"\bBEGIN\s+(IMMEDIATE|EXCLUSIVE|DEFERRED|CONCURRENT)\b": "BEGIN IMMEDIATE",
    r"`|\[\w+\]": "quotes that are not SQL's",
    r"\bPRAGMA\b": "PRAGMA",
    r"\bspent\s*(=|<>|!=|\bIS\b)\s*(NOT\s+)?(TRUE|FALSE)\b": "a number as TRUE or FALSE",
    r"\b(WHERE|AND|OR|NOT)\s*\(?\s*(\w+\.)?spent\s*\)?\s*(\b(AND|OR|RETURNING)\b|$)": (
        "a number as TRUE or FALSE"
    ),
    r"\bLIMIT\b(?![^()]*\))(?=.*\bRETURNING\b)": "UPDATE with LIMIT",
}


def family_of(who: str = "alice", **changes: Any) -> Any:
    """Return a family of refresh tokens, each time another one."""
    from solutions.stores.refresh_tokens import Family

    month = datetime.now(UTC) + timedelta(days=30)
    facts = {"id": uuid.uuid4().hex, "username": who, "stamp": "s-" + uuid.uuid4().hex}
    return Family(**{"scopes": ("me", "items"), "expires_at": month, **facts, **changes})


def kept(workers: Workers, family: Any, digest: str = "") -> str:
    """Keep a new token of a family, and return its digest."""
    from solutions.stores.refresh_tokens import RefreshToken

    digest = digest or uuid.uuid4().hex
    worker = workers.one
    worker.run(worker.refresh_tokens.add(RefreshToken(digest=digest, family=family)))
    return digest


def person(username: str = "erin", **changes: Any) -> Any:
    """Return somebody new."""
    from solutions.stores.users import UserInDB

    return UserInDB(**{"username": username, "hashed_password": uuid.uuid4().hex, **changes})


def whole(found: Any) -> dict[str, Any]:
    """Return all fields of a person, the hash among them."""
    assert found is not None, "The person is not there."
    return {**found.model_dump(), "hashed_password": found.hashed_password}


DOWN = object()  # what a call returns in a test that has raised StoreDown


def call(worker: Worker, name: str, *args: Any) -> Any:
    """Call one of the graded methods, and return what it returns, or DOWN for a StoreDown."""
    from solutions.stores.sql.database import StoreDown

    store = worker.refresh_tokens if name == "consume" else worker.users
    told: list[str] = []
    end = "an error"
    try:
        with only_raises(name, StoreDown):
            got = worker.run(overheard(getattr(store, name)(*args), told))
            end = show(got)
            return got
    except StoreDown as error:
        down, end = error, "StoreDown"
    finally:
        worker.tell(name, args, end)
        holds_no_secret(f"{name} tells a log", name, told, args)
    assert not str(down), f"{name} raises a StoreDown with a text. It has none."
    shown = [*traceback.format_exception(down), repr(vars(down))]
    holds_no_secret(f"{name} raises a StoreDown that brings along", name, shown, args)
    return DOWN


async def overheard(call: Awaitable[Any], told: list[str]) -> Any:
    """Wait for a call, and note what it leaves behind for those who write logs.

    An audit log gets the facts and the request's id, and logging names the task.
    """
    from solutions.support.audit import current_request_id
    from solutions.support.seams import current_facts

    facts: dict[str, str] = {}
    current_facts.set(facts)
    task: Any = asyncio.current_task()
    before = task.get_name()
    try:
        return await call
    finally:
        left = [current_request_id.get(), task.get_name().removeprefix(before)]
        told += filter(None, [*left, *facts, *map(str, facts.values())])


def holds_no_secret(what: str, name: str, told: list[str], args: tuple[Any, ...]) -> None:
    """Assert that no digest and no hash that a method was called with stands in what it told."""
    hashes = [getattr(each, "hashed_password", each) for each in args]
    if name == "replace_hash":
        del hashes[0]
    for secret in [each for each in hashes if len(each) > 16] if told else ():
        which = "digest" if name == "consume" else "hash"
        assert not read("\n".join(told)).find(secret), f"{what} a {which}."


@cache
def read(text: str) -> Text:
    """Read what many calls tell, as whose token it was, once."""
    return Text(text)


def changes_only(
    workers: Workers, worker: Worker, name: str, args: tuple[Any, ...], *allowed: Field
) -> Any:
    """Call one of them, and assert that it changes these fields, and no other of any table."""
    before = workers.fields()
    got = call(worker, name, *args)
    waits(got, name)
    unchanged(name, before, workers.fields(), allowed)
    return got


def unchanged(
    name: str, before: dict[Field, Any], after: dict[Field, Any], allowed: tuple[Field, ...] = ()
) -> None:
    """Assert that nothing is kept in another way than before, but for these fields."""
    changed = {at for at in before.keys() | after.keys() if before.get(at) != after.get(at)}
    for at in sorted(changed.difference(allowed), key=str):
        table, _, column = at
        what = f"`{column}` of a row in {table}"
        if at not in after:
            what = f"a row of {table}, which is gone"
        elif at not in before:
            what = f"a row of {table}, which is new"
        raise AssertionError(f"{name} also changes {what}. It is not about that.")


def locks_of(worker: Worker, call: Callable[[], Any]) -> list[Any]:
    """Return how transactions begin in a call, and for which locks it asks, with their values."""
    begin, database = len(worker.database.statements), worker.database
    call()
    said = zip(database.statements[begin:], database.values[begin:], strict=True)
    return [(sql, values) for sql, values in said if locks(sql) or BEGINS.match(sql)]


def same_locks(name: str, here: list[Any], there: list[Any]) -> None:
    """Assert that another process asks for the same locks."""
    for one, other in zip_longest(here, there):
        assert one == other, (
            f"Another process has another lock for {name}, so nobody waits: "
            f"{(other or one)[0]!r:.60}. Is it made of what each process has of its own?"
        )


def consume(worker: Worker, digest: str) -> Any:
    """Consume a token, and look at what comes."""
    from solutions.stores.refresh_tokens import RefreshToken

    got = call(worker, "consume", digest)
    if got is not None:
        waits(got, "consume")
        check_type("consume", got, RefreshToken)
    return got


def says(worker: Worker, name: str, *args: Any) -> bool:
    """Call a method that says yes or no."""
    got = call(worker, name, *args)
    waits(got, name)
    check_type(name, got, bool)
    return bool(got)


def waits(got: Any, name: str) -> None:
    """Assert that a call has waited for its turn, and has not given up."""
    assert got is not DOWN, (
        f"{name} raised StoreDown, and nothing is down. Who comes second waits, and is answered."
    )


def get(worker: Worker, username: str) -> Any:
    return worker.run(worker.users.get(username))


def log_in(worker: Worker, username: str, password: str) -> Any:
    return worker.request("POST", "/token", data={"username": username, "password": password})


def refresh(worker: Worker, token: str) -> Any:
    form = {"grant_type": "refresh_token", "refresh_token": token}
    return worker.request("POST", "/token", data=form)


def me(worker: Worker, headers: Headers) -> int:
    return int(worker.request("GET", "/users/me", headers=headers).status_code)


def patch(worker: Worker, headers: Headers, who: str, **change: Any) -> Any:
    return worker.request("PATCH", f"/admin/users/{who}", headers=headers, json=change)


def on_each(workers: Workers) -> Iterator[str]:
    """Go through both databases: what is sent to PostgreSQL has to be its language."""
    for dialect in DIALECTS:
        if dialect == "PostgreSQL":
            workers.on_postgresql()
        yield dialect
        if dialect == "PostgreSQL":
            for worker in workers.both:
                for sql in worker.database.statements:
                    speaks_postgresql(sql)


def speaks_postgresql(sql: str) -> None:
    bare = re.sub(r"'[^']*'", "''", sql)
    for pattern, what in SQLITE_ONLY.items():
        found = re.search(pattern, bare, re.IGNORECASE | re.DOTALL)
        assert not found, f"PostgreSQL does not know {what}: {sql:.70}"


def asks_a_copy(worker: Worker, table: str) -> str:
    """Say what goes wrong where an UPDATE asks another row than the one that it writes.

    Who waits for a row looks at it anew, and at that row only (PostgreSQL's manual, 13.2.1).
    """
    copies = [
        re.search(r"\bUPDATE\b", sql, re.I) and re.search(rf"\b(FROM|JOIN)\s+{table}\b", sql, re.I)
        for sql in worker.database.statements
    ]
    if worker.database.dialect == "postgresql" and any(copies):
        return (
            " Whoever waits for a row looks at that row again. What a SELECT or a FROM in the "
            "UPDATE sees is the row as it was."
        )
    return ""


# --- build ----------------------------------------------------------------------------------


@todo(1, "consume")
def test_a_refresh_token_is_spent(workers: Workers) -> None:
    """What one worker hands out, the other takes, once. consume returns it as it was kept."""
    from solutions.stores.refresh_tokens import RefreshToken

    first = log_in(workers.one, "alice", "secretalice")
    assert first.status_code == 200, f"POST /token: {first.status_code}, not 200."
    second = refresh(workers.other, first.json()["refresh_token"])
    assert second.status_code == 200, f"A refresh at the other worker: {second.status_code}."
    headers = {"Authorization": f"Bearer {second.json()['access_token']}"}
    assert me(workers.one, headers) == 200, "The new access token does not open /users/me."
    for scopes in ((), ("me",), ("items", "me")):
        family = family_of("johndoe", scopes=scopes)
        digest = kept(workers, family)
        got = consume(workers.other, digest)
        wanted = RefreshToken(digest=digest, family=family)
        assert got is not None, "consume returns None for a live token."
        assert got.digest == digest, "It is another token."
        assert got.family == family, f"Its family is {got.family}, not {family}."
        assert got == wanted, "`spent` is set: it was alive when it was consumed."
        assert consume(workers.one, digest) is None, "A second consume returns it again."
        found = workers.one.run(workers.one.refresh_tokens.find(digest))
        assert found is not None and found.spent, "find does not know it as spent."
    assert consume(workers.one, uuid.uuid4().hex) is None, "An unknown token: not None."


@todo(2, "add")
def test_a_new_person_is_there(workers: Workers) -> None:
    """Who registers at one worker logs in at the other, and all that was said of them is kept."""
    answer = workers.one.request("POST", "/register", json=ERIN)
    assert answer.status_code == 201, f"POST /register: {answer.status_code}, not 201."
    answer = log_in(workers.other, **ERIN)
    assert answer.status_code == 200, f"A login at the other worker: {answer.status_code}."
    odd = {"email": None, "full_name": "Frank, called 100%", "disabled": True, "role": "admin"}
    odd |= {"scopes": [], "has_password": False, "account_id": "a-1", "security_stamp": "s-1"}
    plain = {"email": "g@example.com", "full_name": None, "scopes": ["items"]}
    for new in (person("Frank.O_1", **odd), person("grace", **plain), person("heidi-2")):
        assert says(workers.one, "add", new) is True, "add says False, and the name is free."
        got, wanted = whole(get(workers.other, new.username)), whole(new)
        wanted["username"] = new.username.lower()
        for name, value in wanted.items():
            assert got[name] == value, f"`{name}` is {got[name]!r}, not {value!r}."
        for again in (person(new.username), new):
            got = says(workers.other, "add", again)
            owner = whole(get(workers.one, new.username))
            changed = [name for name in wanted if owner[name] != wanted[name]]
            assert not changed, (
                f"The name is taken, and add gives its owner another `{changed[-1]}`."
            )
            assert got is False, "add says True, and the name is taken."


@todo(3, "replace_hash")
def test_a_new_hash_takes_the_place_of_the_old_one(workers: Workers) -> None:
    """True where the old hash is stored, in any spelling of the name. Nothing else changes."""
    workers.one.run(workers.one.users.change("bob", has_password=False, email=None))
    for who in ("alice", "Bob", "JOHNDOE"):
        before = {each.username: whole(each) for each in everyone(workers.one)}
        old, new = before[who.lower()]["hashed_password"], f"new-{who}"
        assert says(workers.one, "replace_hash", who, old, new) is True, f"{who}: False, not True."
        after = {each.username: whole(each) for each in everyone(workers.other)}
        before[who.lower()]["hashed_password"] = new
        for name, fields in before.items():
            for field, value in fields.items():
                got = after[name][field]
                assert got == value, f"`{field}` of {name} is {got!r:.40}, not {value!r:.40}."
    for who in ("erin", *NOT_NAMES):
        assert says(workers.one, "replace_hash", who, "old", "new") is False, f"{who!a}: True."


def everyone(worker: Worker) -> Any:
    return worker.run(worker.users.everyone())


@todo(4, "transaction")
def test_a_role_is_changed_in_a_block(workers: Workers, users: Any) -> None:
    """PATCH /admin/users works, what a block has written is there, and blocks may be nested."""
    carol = speak_as(users, "carol")
    answer = patch(workers.one, carol, "johndoe", role="admin")
    assert answer.status_code == 200, f"PATCH /admin/users: {answer.status_code}, not 200."
    assert get(workers.other, "johndoe").role == "admin", "The other worker does not see it."
    answer = patch(workers.other, carol, "carol", role="user")
    assert answer.status_code == 409, f"The last superadmin: {answer.status_code}, not 409."
    answer = patch(workers.other, carol, "johndoe", disabled=True)
    assert answer.status_code == 200, f"The next PATCH: {answer.status_code}, not 200."

    async def two_changes(store: Any) -> Any:
        async with store.transaction():
            await store.change("johndoe", role="user")
            async with store.transaction():
                await store.change("alice", full_name="Alice")
            return (await store.get("johndoe")).role

    assert block(workers.one, two_changes) == "user", "A block does not see what it has written."
    wrote = dict(workers.rows("SELECT username, role FROM users"))
    assert wrote["johndoe"] == "user", "What a block wrote first is not there."
    wrote = dict(workers.rows("SELECT username, full_name FROM users"))
    assert wrote["alice"] == "Alice", "A block inside has written nothing."


def block(
    worker: Worker, work: Callable[[Any], Coroutine[Any, Any, Any]], what: str = "ends well"
) -> Any:
    """Run work that uses `transaction`."""
    from solutions.stores.sql.database import StoreDown

    end = "an error"
    try:
        with only_raises("transaction", StoreDown):
            got = worker.run(work(worker.users))
            end = "over" if got is None else show(got)
            return got
    finally:
        worker.tell_of(f"a block of transaction() that {what}", end)


class Trouble(Exception):
    """What goes wrong in somebody's block."""


@todo(5, "answer_down")
def test_a_database_that_is_down_is_a_503(workers: Workers, users: Any) -> None:
    """Each route answers 503 and says when to come back, and as soon as it is up all is well."""
    worker, alice = workers.one, speak_as(users, "alice")
    assert me(worker, speak_as(users, "johndoe")) == 200, "GET /users/me is no 200 to begin with."
    with down(worker):
        for method, url, send in (
            ("GET", "/users/me", {"headers": alice}),
            ("POST", "/token", {"data": {"username": "alice", "password": "secretalice"}}),
            ("GET", "/admin/users", {"headers": alice}),
        ):
            answer = worker.request(method, url, **send)
            assert answer.status_code == 503, f"{method} {url}: {answer.status_code}, not 503."
            after = answer.headers.get("retry-after", "")
            assert is_soon(after), (
                f"{method} {url}: Retry-After is {after or 'missing'}. It is seconds, 1 to 99."
            )
    assert me(worker, alice) == 200, "It is up again, and GET /users/me is no 200."


def is_soon(seconds: str) -> bool:
    return bool(re.fullmatch(r"[1-9]\d?", seconds, re.ASCII))


@contextmanager
def down(worker: Worker, breaks: Callable[[str], bool] = lambda _: True) -> Iterator[Worker]:
    """Let a worker's database be down."""
    worker.database.breaks, worker.database.broken = breaks, 0
    try:
        yield worker
    finally:
        worker.database.breaks, worker.database.breaks_late = lambda _: False, False


# --- attack ---------------------------------------------------------------------------------


@attack
@todo(1, "consume")
@asvs("10.4.5")
def test_of_two_workers_one_spends_a_token(workers: Workers) -> None:
    """Mallory sends a stolen token to both workers at once, and has a session beside alice's.

    Both look, both find it alive, both spend it. CWE-367, RFC 9700 section 4.14.2.
    """
    for dialect in on_each(workers):
        digest = kept(workers, family_of())
        got = workers.at_once(lambda worker, digest=digest: call(worker, "consume", digest))
        for each in got:
            waits(each, f"On {dialect}, consume")
        winners = len([each for each in got if each is not None])
        assert winners == 1, (
            f"On {dialect}, {winners} of two workers got the token, not one."
            + asks_a_copy(workers.one, "refresh_tokens")
        )
        assert consume(workers.one, digest) is None, "Afterwards it can be consumed again."


@attack
@todo(1, "consume")
@asvs("7.4.1", "10.4.5")
def test_a_dead_token_stays_dead(workers: Workers, capfd: Any) -> None:
    """Alice logs out at one worker, and mallory goes on at the other with the token that she stole.

    The whole family is dead, also what is added later, and no other family. RFC 7009 section 2.1.
    """
    worker, other = workers.both
    stolen, laptop = family_of(), family_of()
    first, second = kept(workers, stolen), kept(workers, stolen)
    with twin():
        assert consume(worker, first) is not None, "A live token of that family: None."
    found = other.run(other.refresh_tokens.find(second))
    assert found is not None and not found.spent, "Another token of the family is spent as well."
    other.run(other.refresh_tokens.revoke(stolen))
    late = kept(workers, stolen)
    for digest, what in ((second, "of"), (late, "added later to"), (first, "spent, of")):
        assert consume(worker, digest) is None, f"A token {what} a revoked family is consumed."
        found = worker.run(worker.refresh_tokens.find(digest))
        assert found is not None and found.spent, (
            "A dead token is forgotten: when it comes back nobody knows that it was stolen."
        )
    assert consume(worker, kept(workers, laptop)) is not None, "Another family is dead as well."
    phone = family_of()
    digest = kept(workers, phone)

    def revoke(worker: Worker) -> None:
        workers.after_a_look()
        worker.run(worker.refresh_tokens.revoke(phone))

    got, _ = workers.at_once(lambda worker: call(worker, "consume", digest), revoke)
    waits(got, "consume")
    if was_revoked_before(worker.database.events):
        assert got is None, "Between the look and the write the family is revoked: it is consumed."
    pair = log_in(worker, "johndoe", "secret").json()
    assert (
        other.request("POST", "/revoke", data={"token": pair["refresh_token"]}).status_code == 200
    )
    answer = refresh(worker, pair["refresh_token"])
    assert answer.status_code == 400, f"A refresh after the logout: {answer.status_code}, not 400."
    is_told_whose(workers)
    for _ in on_each(workers):
        with listening(capfd) as trap:
            digests = spends_one_row(workers)
        for digest in digests:
            trap.refuse({"digest": digest})


def spends_one_row(workers: Workers) -> list[str]:
    """Assert that nothing else is touched, whatever is kept of that family and of others.

    Returns the digests.
    """
    one, other = workers.both
    gone, laptop = family_of(), family_of()
    old = family_of(expires_at=datetime.now(UTC) - timedelta(days=2))
    one.run(one.refresh_tokens.revoke(gone))
    workers.furnish("alice", "johndoe")
    unknown, first = uuid.uuid4().hex, kept(workers, laptop)
    kept(workers, laptop)
    digests = [unknown, first]
    for family in (laptop, old, gone, family_of("johndoe")):
        digest = kept(workers, family)
        digests.append(digest)
        spent = ("refresh_tokens", digest, "spent")
        got = changes_only(workers, one, "consume", (digest,), spent)
        assert (got is None) is (family is gone), f"consume returns {show(got)}."
    spent = ("refresh_tokens", first, "spent")
    assert changes_only(workers, other, "consume", (first,), spent) is not None, (
        "A live token of a family whose next one is spent: None."
    )
    assert changes_only(workers, other, "consume", (first,)) is None, "It is consumed twice."
    assert changes_only(workers, one, "consume", (unknown,)) is None, "An unknown token: not None."
    kept(workers, laptop, unknown)
    assert consume(one, unknown) is not None, (
        "It was unknown when this worker first asked. Now it is kept, and consume returns None."
    )
    here = locks_of(one, lambda: consume(one, unknown))
    with workers.elsewhere() as third:
        there = locks_of(third, lambda: consume(third, unknown))
        digest = kept(workers, laptop)
        spent = ("refresh_tokens", digest, "spent")
        assert changes_only(workers, third, "consume", (digest,), spent) is not None, (
            "In development a live token is not consumed."
        )
        assert consume(third, digest) is None, "In development a token is consumed twice."
    same_locks("consume", here, there)
    return [*digests, digest]


def is_told_whose(workers: Workers) -> None:
    """Assert that the audit log knows whose token comes back, and no digest, nor of an unknown."""
    from solutions.support.digests import digest_of

    worker, other = workers.both
    spent = token(worker)
    assert refresh(worker, spent).status_code == 200, "A refresh with a new token: no 200."
    for name, sent, what, whom in (
        ("spent", spent, "reuse", "johndoe"),
        ("unknown", uuid.uuid4().hex, "refresh", ""),
    ):
        with listening() as trap, audit_lines() as lines:
            answer = refresh(other, sent)
        assert answer.status_code == 400, f"A token that is {name}: {answer.status_code}, not 400."
        trap.refuse({"digest": digest_of(sent), "refresh token": sent})
        [event] = lines.events
        assert event["what"] == what, (
            f"A token that is {name} is `{event['what']}` in the audit log, not `{what}`."
        )
        assert event["whom"] == whom, (
            f"A token that is {name}: the audit log says it is of `{event['whom']}`, not `{whom}`."
        )


def was_revoked_before(events: list[tuple[str, str]]) -> bool:
    """Tell whether the revocation was done when the last write to a token began."""
    revoked = [at for at, (what, sql) in enumerate(events) if "INTO revoked_families" in sql]
    spent = [at for at, (what, sql) in enumerate(events) if "refresh_tokens" in sql]
    begun = [at for at in spent if events[at][0] == "begins"]
    return bool(begun) and max(revoked) < max(begun)


@attack
@todo(1, "consume")
def test_no_text_becomes_sql(workers: Workers, users: Any) -> None:
    """A name, a digest or a hash with a quote in it says something else than the statement meant.

    Values go beside the statement, never into it (CWE-89, ASVS 1.2.4).
    """
    from solutions.stores.sql.database import Unstorable

    worker, live = workers.one, kept(workers, family_of())
    alices = users.get("alice").hashed_password
    with twin():
        digest = kept(workers, family_of(), "zq")
        assert consume(worker, digest) is not None, "A plain digest is not consumed."
        assert says(worker, "add", person(full_name="zq")) is True, "A plain person is not added."
    others = kept(workers, family_of(), "zq-of-others")
    del worker.database.statements[:]
    for number, text in enumerate(HOSTILE):
        assert consume(worker, text) is None, f"The digest {text!a}, which is not kept, is found."
        assert says(worker, "replace_hash", "alice", text, "new") is False, f"Old hash {text!a}."
        new = person(f"zq.{number}", full_name=text, email=text, hashed_password=text)
        assert consume(worker, kept(workers, family_of(), text)) is not None, f"Digest {text!a}."
        assert says(worker, "add", new) is True, f"{text!a} as a text: add says False."
        new_hash = f"{text}zq"
        got = says(worker, "replace_hash", new.username, text, new_hash)
        assert got is True, f"{text!a} is the old hash: replace_hash says False."
        stored = whole(get(worker, new.username))
        assert stored == whole(new) | {"hashed_password": new_hash}, (
            f"{text!a} is kept as {stored}."
        )
    for pattern in ("al_ce", "a____", "alice."):  # a name may have a `_`, and LIKE takes any letter
        assert says(worker, "replace_hash", pattern, alices, "new") is False, f"{pattern} is alice."
    for pattern in ("%", "_" * len(alices), alices.swapcase(), alices[:-1]):
        got = says(worker, "replace_hash", "alice", pattern, "new")
        assert got is False, f"{pattern:.10}, which is not alice's old hash, is replaced."
    for pattern in (others.upper(), others[:-1], "%"):
        assert consume(worker, pattern) is None, f"The digest {pattern} is another one's."
    for digest in (live, others):
        assert consume(worker, digest) is not None, "A token that nobody asked for is spent."
    assert get(worker, "alice").hashed_password == alices, "Alice has another hash."
    for name, args in (
        ("add", (person("zq-nul", full_name="zq\0"),)),
        ("replace_hash", ("alice", alices, "zq\ud800")),
    ):
        try:
            with only_raises(name, Unstorable):
                got = worker.run(getattr(worker.users, name)(*args))
        except Unstorable:
            continue
        raise AssertionError(f"A text that cannot be kept: {name} says {got}. Unstorable goes on.")
    for sql in worker.database.statements:
        assert "zq" not in sql, f"A value stands in a statement: {sql:.60}"


@attack
@todo(2, "add")
def test_a_name_has_one_owner(workers: Workers, capfd: Any) -> None:
    """Mallory registers a name that is taken, or that erin takes at this moment, and is erin.

    The key of the table decides, for every spelling (CWE-367, CWE-178).
    """
    for dialect in on_each(workers):
        one, other = (person(f"{name}.{dialect}") for name in ("Judy", "judy"))
        with twin():
            assert says(workers.one, "add", person(f"kim.{dialect}")) is True, "A free name: False."
        got = workers.at_once(
            lambda worker, new=one: call(worker, "add", new),
            lambda worker, new=other: call(worker, "add", new),
        )
        for each in got:
            waits(each, f"On {dialect}, add")
        told = f"On {dialect}, add says {got[0]} and {got[1]} to two who want one name at once."
        assert sorted(map(bool, got)) == [False, True], told
        same = person(f"lou.{dialect.lower()}")
        twice = workers.at_once(lambda worker, new=same: call(worker, "add", new))
        assert sorted(map(bool, twice)) == [False, True], (
            f"On {dialect}, add says {twice[0]} and {twice[1]} where both add the same person."
        )
        stays = whole(get(workers.one, one.username))
        winner = whole(one if got[0] else other) | {"username": one.username.casefold()}
        assert stays == winner, "Whoever was told no has overwritten the other one."
        for spelling in (one.username, one.username.upper(), one.username.casefold()):
            taken = person(spelling, role="superadmin")
            for worker in workers.both:
                assert says(worker, "add", taken) is False, (
                    f"{spelling} is taken, and add says True."
                )
        assert whole(get(workers.one, one.username)) == stays, "The owner of a name is overwritten."
        if dialect == "PostgreSQL":
            keys_decide(workers.one)
        with listening(capfd) as trap:
            hashes = adds_one_row(workers, f"max.{dialect}")
        for each in hashes:
            trap.refuse({"hash": each})
    for name in NOT_NAMES:
        try:
            with only_raises("add", ValueError):
                says_to = workers.one.run(workers.one.users.add(person(name)))
        except ValueError:
            continue
        raise AssertionError(f"add({name!a}) returns {says_to}. It must raise ValueError.")
    count = workers.rows("SELECT count(*) FROM users")[0][0]
    assert count == 4 + 3 * len(DIALECTS), f"There are {count} people, not {4 + 3 * len(DIALECTS)}."


def adds_one_row(workers: Workers, username: str) -> list[str]:
    """Assert that nothing else is touched, and that a name is free again when its person is gone.

    Rows of somebody of that name may be there: an account may have gone before its sessions.
    Returns the hashes.
    """
    one, other = workers.both
    folded = username.lower()
    row = [("users", folded, column) for column in tables()["users"]]
    workers.furnish("alice", folded)
    kept(workers, family_of(folded))
    hashes = []
    for _ in range(2):
        new = person(username)
        got = changes_only(workers, one, "add", (new,), *row)
        assert got is True, (
            "The other worker has removed them, and add says that the name is taken."
        )
        another = person(folded, email="other@example.com", has_password=False)
        for worker, again in zip(workers.both, (new, another), strict=True):
            assert changes_only(workers, worker, "add", (again,)) is False, "add: not False."
        other.run(other.users.remove(folded))
        hashes += [new.hashed_password, another.hashed_password]
    new = person(username)
    here = locks_of(one, lambda: says(one, "add", new))
    other.run(other.users.remove(folded))
    with workers.elsewhere() as third:
        there = locks_of(third, lambda: changes_only(workers, third, "add", (new,), *row))
        again = person(username)
        got = changes_only(workers, third, "add", (again,))
        assert got is False, "In development a name that is taken is free."
    assert whole(get(one, folded)) == whole(new) | {"username": folded}, (
        "In development somebody else is added."
    )
    other.run(other.users.remove(folded))
    same_locks("add", here, there)
    return [*hashes, new.hashed_password, again.hashed_password]


def keys_decide(worker: Worker) -> None:
    """Assert that an INSERT asks the key: in PostgreSQL a NOT EXISTS beside it is a look before."""
    for sql in worker.database.statements:
        if re.match(r"\s*INSERT\s+INTO\s+users\b", sql, re.IGNORECASE):
            assert (
                re.search(r"\bON\s+CONFLICT\b", sql, re.IGNORECASE) or worker.database.has_locked
            ), (
                "On PostgreSQL two workers insert one name at once, and the second one gets an "
                "error of the driver. What should happen ON CONFLICT?"
            )


@attack
@todo(3, "replace_hash")
def test_an_old_hash_never_comes_back(workers: Workers, users: Any, capfd: Any) -> None:
    """Alice changes her password while mallory logs in with the old one, and it counts again.

    The rehash at mallory's login wrote it back over the new one (CWE-367).
    """
    for dialect in on_each(workers):
        old = get(workers.one, "alice").hashed_password
        got = workers.at_once(
            lambda worker, old=old: call(worker, "replace_hash", "alice", old, "of-the-first"),
            lambda worker, old=old: call(worker, "replace_hash", "alice", old, "of-the-second"),
        )
        for each in got:
            waits(each, f"On {dialect}, replace_hash")
        assert sorted(map(bool, got)) == [False, True], (
            f"On {dialect} it says {got[0]} and {got[1]}." + asks_a_copy(workers.one, "users")
        )
        stays = get(workers.one, "alice").hashed_password
        wanted = "of-the-first" if got[0] else "of-the-second"
        assert stays == wanted, "Whoever was told no has written all the same."

        def change(worker: Worker) -> Any:
            workers.after_a_look()
            changed = worker.run(worker.users.change("alice", hashed_password="changed"))
            worker.tell("change", ("alice", "a new password"), show(changed))
            return changed

        new, now = workers.at_once(
            lambda worker, old=stays: call(worker, "replace_hash", "alice", old, "rehashed"), change
        )
        waits(new, f"On {dialect}, replace_hash")
        after = get(workers.other, "alice")
        assert after.hashed_password == "changed", (
            f"On {dialect} a rehash of the old password has undone a change of the password."
        )
        assert after.security_stamp == now.security_stamp, (
            "A rehash has brought the old stamp back."
        )
        assert says(workers.one, "replace_hash", "alice", stays, "x") is False, "An old hash: True."
        assert whole(get(workers.one, "alice")) == whole(now), "And it has written."
        workers.one.run(workers.one.users.change("alice", hashed_password=old))
        with listening(capfd) as trap:
            hashes = writes_one_hash(workers)
        for each in (old, *hashes):
            trap.refuse({"hash": each})


def writes_one_hash(workers: Workers) -> tuple[str, str]:
    """Assert that nothing else is touched, and that what was refused once is done when it fits.

    Returns the hashes.
    """
    one, other = workers.both
    workers.furnish("alice", "bob")
    kept(workers, family_of())
    field = ("users", "alice", "hashed_password")
    first, second = uuid.uuid4().hex, uuid.uuid4().hex
    for _ in range(2):
        got = changes_only(workers, one, "replace_hash", ("alice", first, second))
        assert got is False, "The old hash is not the stored one, and it does not say False."
        other.run(other.users.change("alice", hashed_password=first))
        got = changes_only(workers, one, "replace_hash", ("alice", first, second), field)
        assert got is True, "The other worker has stored the old hash since, and it says False."
    args = "alice", first, second
    other.run(other.users.change("alice", hashed_password=first))
    here = locks_of(one, lambda: says(one, "replace_hash", *args))
    one.run(one.users.change("alice", hashed_password=first))
    with workers.elsewhere() as third:
        got = changes_only(workers, third, "replace_hash", ("alice", second, first))
        assert got is False, "In development an old hash is replaced that is not stored."
        there = locks_of(third, lambda: changes_only(workers, third, "replace_hash", args, field))
    assert get(one, "alice").hashed_password == second, "In development it writes nothing."
    same_locks("replace_hash", here, there)
    return first, second


@attack
@todo(4, "transaction")
def test_one_superadmin_stays(workers: Workers, users: Any) -> None:
    """Two superadmins take each other's role away at two workers, and nobody is left to repair it.

    Each still saw the other one. What a block has looked up must hold when it writes (CWE-367).
    """
    one = workers.one
    one.run(one.users.change("alice", role="superadmin"))
    alice, carol = speak_as(users, "alice"), speak_as(users, "carol")
    with twin():
        for worker in workers.both:
            assert patch(worker, carol, "johndoe", role="admin").status_code == 200, (
                "A PATCH fails."
            )
    for dialect in on_each(workers):
        for who in ("alice", "carol"):
            one.run(one.users.change(who, role="superadmin"))
        got = workers.at_once(
            lambda worker: demotes(worker, "alice"), lambda worker: demotes(worker, "carol")
        )
        why = missing_lock(one.database.begun) if dialect == "PostgreSQL" else ""
        assert sorted(got) == [False, True], (
            f"On {dialect} {sum(got)} of two blocks wrote, not 1. {why}".rstrip()
        )
        stamp = get(one, "johndoe").security_stamp
        got = workers.at_once(lambda worker, stamp=stamp: changes_password(worker, stamp))
        assert sorted(got) == [False, True], (
            f"On {dialect} {sum(got)} of two changes of one password counted, not 1. "
            "A block is about all people, not about some."
        )
        for way in WAYS:
            takes_turns(one, way, dialect)
        has_one_lock(workers)
        if dialect == "PostgreSQL":
            assert not why, f"On PostgreSQL two blocks can write at once. {why}"
            continue
        for who in ("alice", "carol"):
            one.run(one.users.change(who, role="superadmin"))
        answers = workers.at_once(
            lambda worker: patch(worker, carol, "alice", role="user"),
            lambda worker: patch(worker, alice, "carol", role="user"),
        )
        statuses = sorted(each.status_code for each in answers)
        assert len(left(workers)) == 1, f"{len(left(workers))} superadmins are left, not 1."
        assert statuses in ([200, 403], [200, 409]), (
            f"The answers are {statuses}. One is 200; the other waits, looks, and is 403 or 409."
        )


WAYS = {
    "": "of the same worker",
    "left behind": "that was begun in a block which is over",
    "after a hang-up": "after another one who waited has hung up",
    "after an error": "whose last block ended with an error",
}


def takes_turns(worker: Worker, way: str, dialect: str = "SQLite") -> None:
    """Assert that of two tasks with one store the second waits for the end of the first's block."""
    told: list[str] = []
    database = worker.database

    async def in_block(store: Any, begun: asyncio.Event, entered: asyncio.Event) -> None:
        async with store.transaction():
            await store.get("alice")
            before = len(database.statements)
            begun.set()
            for _ in range(50):  # until the other one is inside, or asks the database for a lock
                if entered.is_set() or len(database.statements) > before:
                    break
                await asyncio.sleep(0.001)
            async with store.transaction():
                await store.change("alice", full_name="Alice")
            told.append("is over")

    async def follow(store: Any, begun: asyncio.Event, entered: asyncio.Event) -> None:
        if way == "after an error":
            with suppress(Trouble):
                async with store.transaction():
                    raise Trouble
        await begun.wait()
        async with store.transaction():
            told.append("another begins")
            entered.set()

    async def work(store: Any) -> None:
        begun, entered = asyncio.Event(), asyncio.Event()
        second = asyncio.ensure_future(asyncio.sleep(0))
        if way == "after a hang-up":
            await hang_up(store)
        async with AsyncExitStack() as stack:
            if way == "left behind":
                await stack.enter_async_context(store.transaction())
            second = asyncio.create_task(follow(store, begun, entered))
        await asyncio.gather(in_block(store, begun, entered), second)

    async def hang_up(store: Any) -> None:
        begun, entered = asyncio.Event(), asyncio.Event()
        waits = asyncio.create_task(follow(store, begun, entered))

        async def stop() -> None:
            await begun.wait()
            await asyncio.sleep(0)
            waits.cancel()

        await asyncio.gather(in_block(store, begun, entered), stop())
        await asyncio.wait([waits])
        del told[:]

    block(worker, work, "runs beside another one")
    assert told == ["is over", "another begins"], (
        f"On {dialect} a block is under way, and the block of a task {WAYS[way]} does not wait."
    )


def has_one_lock(workers: Workers) -> None:
    """Assert that a block changes nothing by itself, and takes the same lock in any process."""
    workers.furnish("alice")

    async def nothing(store: Any) -> None:
        async with store.transaction():
            await store.get("alice")

    workers.rows("UPDATE users SET full_name = username, email = username")
    before = workers.fields()
    one = workers.one
    here = [locks_of(one, lambda: block(one, nothing)) for _ in range(2)]
    with workers.elsewhere() as third:
        there = locks_of(third, lambda: block(third, nothing))
    unchanged("transaction", before, workers.fields())
    for locks_there in (here[1], there):
        same_locks("transaction", here[0], locks_there)


def left(workers: Workers) -> list[str]:
    found = workers.rows("SELECT username FROM users WHERE role = 'superadmin' AND disabled = 0")
    return [name for (name,) in found]


def demotes(worker: Worker, who: str) -> bool:
    """Take somebody's role away if there is another superadmin, as lesson 06 does."""

    async def work(store: Any) -> bool:
        async with store.transaction():
            people = await store.everyone()
            if len([each for each in people if each.role == "superadmin"]) < 2:
                return False
            await store.change(who, role="user")
        return True

    return in_turn(worker, work)


def changes_password(worker: Worker, stamp: str) -> bool:
    """Change johndoe's password if nobody has done so, as lesson 05 does."""

    async def work(store: Any) -> bool:
        async with store.transaction():
            if (await store.get("johndoe")).security_stamp != stamp:
                return False
            await store.change("johndoe", hashed_password=worker.name)
        return True

    return in_turn(worker, work)


def in_turn(worker: Worker, work: Callable[[Any], Coroutine[Any, Any, Any]]) -> bool:
    from solutions.stores.sql.database import StoreDown

    try:
        return bool(block(worker, work))
    except StoreDown:
        waits(DOWN, "transaction")
        raise


@attack
@todo(4, "transaction")
def test_half_a_change_is_seen_by_nobody(workers: Workers) -> None:
    """Something goes wrong in the middle, and what was half done counts from then on.

    An exception undoes what a block wrote and goes on to the caller, and the next one finds no
    block open (CWE-460). Until the end of a block nobody else sees what it writes.
    """
    from solutions.stores.sql.database import StoreDown

    one, other = workers.both
    before = whole(get(one, "johndoe"))

    async def change_then(store: Any, what: BaseException | None) -> None:
        async with store.transaction():
            await store.change("johndoe", role="superadmin")
            if what:
                raise what

    async def cancelled(store: Any) -> None:
        begun = asyncio.Event()

        async def wait_in_block() -> None:
            async with store.transaction():
                await store.change("johndoe", role="superadmin")
                begun.set()
                await asyncio.sleep(60)

        task = asyncio.create_task(wait_in_block())
        await begun.wait()
        task.cancel()
        await asyncio.wait([task])

    def unharmed(after: str) -> None:
        for worker in workers.both:
            assert whole(get(worker, "johndoe")) == before, f"{after}, its write counts."
            worker.run(worker.users.change("alice", full_name=after))
            found = workers.rows("SELECT full_name FROM users WHERE username = 'alice'")
            assert found == [(after,)], (
                f"{after}, a block is left open: what comes next is not kept."
            )

    with twin():
        assert block(one, lambda store: change_then(store, None)) is None
        assert get(other, "johndoe").role == "superadmin", "What a block wrote is not there."
        one.run(one.users.change("johndoe", role=before["role"]))
    for error in (Trouble("no"), StoreDown(), KeyError("no"), HTTPException(409)):
        got: list[BaseException] = []

        async def wrong(store: Any, error: Exception = error, got: Any = got) -> None:
            try:
                await change_then(store, error)
            except Exception as raised:
                got.append(raised)

        block(one, wrong, f"raises {type(error).__name__}")
        assert got == [error], f"A block that raises {error!r} ends in {got or 'silence'}."
        unharmed(f"After a {type(error).__name__}")
    block(one, cancelled, "is cancelled")
    unharmed("After a caller who hangs up")
    with down(one, lambda sql: sql == "COMMIT"):
        try:
            block(one, lambda store: change_then(store, None))
        except StoreDown:
            pass
        else:
            raise AssertionError("The end of a block fails, and nobody is told.")
    unharmed("After an end that failed")
    takes_turns(one, "")

    async def seen_meanwhile(store: Any) -> list[str]:
        async def look() -> str:
            return str((await store.get("johndoe")).role)

        outside = asyncio.Event()

        async def beside() -> str:
            await outside.wait()
            return await look()

        task = asyncio.create_task(beside())
        async with store.transaction():
            await store.change("johndoe", role="superadmin")
            outside.set()
            return [await task, (await asyncio.to_thread(get, other, "johndoe")).role]

    for who, role in zip(
        ("Another request", "The other worker"), block(one, seen_meanwhile), strict=True
    ):
        assert role == before["role"], f"{who} sees what a block has written, before its end."


@attack
@todo(4, "transaction")
@asvs("7.4.1", "8.3.2")
def test_what_one_worker_ends_is_over_at_the_other(workers: Workers, users: Any) -> None:
    """Alice is disabled at one worker, and mallory goes on with her token at the other.

    What a worker remembers is of yesterday: the database is asked at each request (ASVS 7.4.1).
    """
    one, other = workers.both
    carol, alice, john = (speak_as(users, who) for who in ("carol", "alice", "johndoe"))
    pair = log_in(other, "alice", "secretalice").json()
    digest = kept(workers, family_of())
    with twin():
        for worker in workers.both:
            for headers in (carol, alice, john):
                assert me(worker, headers) == 200, "A good token: GET /users/me is no 200."
        answer = other.request("GET", "/admin/users", headers=alice)
        assert answer.status_code == 200, "Alice is an admin, and sees no accounts."
        assert log_in(other, **ERIN).status_code == 400, "Erin, who is nobody yet, logs in."
        assert one.run(one.refresh_tokens.find(digest)) is not None, "A live token is not found."
        assert consume(other, digest) is not None, "A live token is not consumed."
    found = one.run(one.refresh_tokens.find(digest))
    assert found is not None and found.spent, "The other worker has spent it, and find says alive."
    assert patch(one, carol, "alice", role="user").status_code == 200, "PATCH: no 200."
    answer = other.request("GET", "/admin/users", headers=alice)
    assert answer.status_code == 403, f"Alice is no admin any more: {answer.status_code}, not 403."
    assert patch(one, carol, "alice", disabled=True).status_code == 200, "PATCH: no 200."
    assert me(other, alice) in (400, 401), "Disabled at one worker, alice goes on at the other."
    answer = refresh(other, pair["refresh_token"])
    assert answer.status_code == 400, f"Disabled, she refreshes: {answer.status_code}, not 400."
    assert consume(one, digest) is None, "A token that the other worker has spent is consumed."
    change = {"current_password": "secret", "new_password": "a trombone + seven"}
    answer = one.request("POST", "/users/me/password", headers=john, json=change)
    assert answer.status_code == 204, f"A change of the password: {answer.status_code}, not 204."
    assert me(other, john) == 401, "After a change of the password an old token lives at the other."
    assert one.request("POST", "/register", json=ERIN).status_code == 201, "POST /register: no 201."
    assert log_in(other, **ERIN).status_code == 200, "Who has registered is unknown at the other."
    other.run(other.users.remove("erin"))
    answer = one.request("POST", "/register", json=ERIN)
    assert answer.status_code == 201, f"The other worker has removed erin: {answer.status_code}."
    remembers_nothing(workers)


def remembers_nothing(workers: Workers) -> None:
    """Assert that a worker keeps no digest, hash or name of a call, done or refused."""
    worker = workers.one
    digest, new = kept(workers, family_of()), person(f"n-{uuid.uuid4().hex[:20]}")
    hashes, unknown = [uuid.uuid4().hex for _ in range(2)], uuid.uuid4().hex
    for _ in range(2):
        consume(worker, digest)
        consume(worker, unknown)
        says(worker, "add", new)
        says(worker, "replace_hash", new.username, new.hashed_password, hashes[0])
        says(worker, "replace_hash", "alice", *hashes)
    block(worker, lambda store: renames(store, new.username))
    kept_here = texts(worker.module, vars(worker.users), vars(worker.refresh_tokens))
    for name, words in (
        ("consume", (digest, unknown)),
        ("add or replace_hash", (new.username, new.hashed_password)),
        ("replace_hash", hashes),
    ):
        for word in words:
            assert word not in kept_here, (
                f"The worker remembers what {name} was called with. The other one may change it, "
                "and memory is not for ever."
            )


async def renames(store: Any, username: str) -> None:
    async with store.transaction():
        await store.change(username, full_name="Zoe")


@attack
@todo(1, "consume")
def test_a_silent_database_is_never_a_yes(workers: Workers, users: Any, settings: Any) -> None:
    """The database goes away in the middle: mallory is let in, or alice is told that it is done.

    Whatever statement fails, before or after its work, the answer is 503 (CWE-636, ASVS 16.5.2).
    """
    worker, carol = workers.one, speak_as(users, "carol")
    digest, old = kept(workers, family_of()), get(worker, "alice").hashed_password
    erin = person()
    with twin():
        assert refresh(worker, token(worker)).status_code == 200, (
            "A refresh, when all is up: no 200."
        )
    calls: list[tuple[str, tuple[Any, ...]]] = [
        ("consume", (digest,)),
        ("add", (erin,)),
        ("replace_hash", ("alice", old, "a-new-hash")),
    ]
    with listening() as trap:
        for name, args in calls:
            with down(worker):
                got = call(worker, name, *args)
            what = (
                f"The database is down, and {name} says {got!r:.30}. StoreDown is for the caller."
            )
            assert got is DOWN, what
            assert worker.database.broken == 1, (
                f"{name} asks again while it is down. What failed may have been done."
            )
    for name, args in calls:
        got = call(worker, name, *args)
        assert got not in (False, None, DOWN), f"It is up again, and {name} says {got!r:.30}."
    trap.refuse({"digest": digest, "hash": erin.hashed_password, "old hash": old})
    requests: list[tuple[str, str, Callable[[], dict[str, Any]]]] = [
        (
            "POST",
            "/token",
            lambda: {"data": {"grant_type": "refresh_token", "refresh_token": token(worker)}},
        ),
        ("POST", "/register", lambda: {"json": {**ERIN, "username": f"e-{uuid.uuid4().hex[:8]}"}}),
        ("PATCH", "/admin/users/johndoe", lambda: {"json": {"role": "user"}, "headers": carol}),
    ]
    for method, url, make in requests:
        for is_late in (False, True):
            for number in range(20):
                send = make()
                with down(worker, only(number)):
                    worker.database.breaks_late = is_late
                    answer = worker.request(method, url, **send)
                    broken = worker.database.broken
                if not broken:
                    break
                assert answer.status_code == 503, (
                    f"{method} {url}, whose statement {number + 1} fails: "
                    f"{answer.status_code}, not 503."
                )
            assert answer.status_code < 300, (
                f"{method} {url}, when all is up: {answer.status_code}."
            )


def token(worker: Worker) -> str:
    """Keep a fresh token of johndoe, and return it."""
    from solutions.refresh import issue_refresh_token

    stamp = get(worker, "johndoe").security_stamp
    family = family_of("johndoe", stamp=stamp)
    return worker.run(issue_refresh_token(worker.refresh_tokens, family))


def only(number: int) -> Callable[[str], bool]:
    """Return what breaks one statement, the one of that number."""
    seen = iter(range(1_000))
    return lambda _: next(seen) == number


@attack
@todo(5, "answer_down")
def test_the_503_tells_nothing(workers: Workers, users: Any, capfd: Any) -> None:
    """The error of the driver names the server, its user and the password, and mallory reads it.

    All callers get the same JSON, with `error` for clients of OAuth (RFC 6749 section 5.2): an
    answer without one is a token to some. Nobody keeps it (CWE-209, ASVS 16.5.1).
    """
    worker, alice = workers.one, speak_as(users, "alice")
    form = {"username": "alice", "password": "secretalice"}
    with twin():
        answer = log_in(worker, "johndoe", "secret")
        assert answer.status_code == 200, "A login, when all is up: no 200."
    change = {"current_password": "secretalice", "new_password": "a trombone + seven"}
    words = [each for each in re.findall(r"[\w.-]{4,}", DRIVER) if not each.isalpha()]
    words += ["hunter2", "sqlite", "psycopg", "Traceback"]
    answers = []
    sent = {each: f"{each}-{uuid.uuid4().hex}" for each in SENT}
    query = f"code={sent['query']}&state={sent['query']}"
    marked = {"User-Agent": sent["browser"], "Referer": f"https://a.example/?{sent['page before']}"}
    cookie = {**marked, "Cookie": f"__Host-session={sent['cookie']}"}
    token_of = {**marked, **alice}
    with down(worker), listening(capfd) as trap, outside() as reached:
        for method, url, send in (
            ("GET", f"/users/me?{query}", {"headers": token_of}),
            ("GET", "/users/me", {"headers": {**token_of, "Accept": "text/html"}}),
            ("POST", f"/token?{query}", {"data": {**form, "client_secret": sent["form"]}}),
            (
                "POST",
                f"/revoke?{query}",
                {"headers": marked, "data": {"token": sent["form"]}},
            ),
            ("GET", "/admin/users", {"headers": alice}),
            ("POST", "/users/me/password", {"headers": token_of, "json": change}),
            ("GET", "/login", {"headers": marked}),
            ("GET", "/users/me", {"headers": cookie}),
            ("GET", f"/nowhere/{sent['path']}", {"headers": cookie}),
        ):
            answer = worker.request(method, url, **send)
            answers.append((f"{method} {url.partition('?')[0]}", answer))
        answers.append(("A call with the least that a server tells", barely(worker, trap)))
        for method in ("HEAD", "OPTIONS", "PUT", "PATCH", "DELETE"):
            got = barely(worker, trap, method=method)
            answers.append((f"The same, by {method}", got))
        with in_development(), talkative(worker):
            answer = worker.request("GET", f"/users/me?{query}", headers={**cookie, **alice})
            answers.append(("In development, GET /users/me", answer))
            whole = {"path_params": {"key_id": sent["path"]}, "path": f"/api-keys/{sent['path']}"}
            whole |= {"query_string": query.encode(), "headers": raw(cookie)}
            got = barely(worker, trap, **whole)
            answers.append(("In development, a route with a parameter", got))
    secrets = {"name of the server": "db-4711.internal", "password of the database": "hunter2"}
    for which, answer in answers:
        assert answer.status_code == 503, f"{which}: {answer.status_code}, not 503."
        told = answer.text + str(answer.headers)
        for word in (*words, *sent.values(), "secretalice", alice["Authorization"].split()[1]):
            assert word not in told, f"{which}: the answer says {word:.20}."
        kind = answer.headers.get("content-type", "")
        assert kind.startswith("application/json"), f"{which}: it is {kind or 'nothing'}, not JSON."
        said = answer.json()
        assert isinstance(said, dict), f"{which}: {answer.text:.40} is no JSON object."
        assert isinstance(said.get("error"), str) and said["error"], f"{which}: `error` is missing."
        assert not said.keys() & {"access_token", "username"}, f"{which}: it looks like a success."
        keeps = answer.headers.get("cache-control", "")
        assert "no-store" in keeps, f"{which}: Cache-Control is {keeps or 'missing'}, not no-store."
        again = answer.headers.get("retry-after", "")
        assert is_soon(again), f"{which}: Retry-After is {again or 'missing'}, not 1 to 99."
        assert "set-cookie" not in answer.headers, f"{which}: it sets a cookie."
        assert "www-authenticate" not in answer.headers, f"{which}: it asks for another login."
        assert answer.content == answers[0][1].content, f"{which}: it says something else."
    access = alice["Authorization"].split()[1]
    trap.refuse({"password": "secretalice", "access token": access})
    secrets |= {f"{each} of a request": text for each, text in sent.items()}
    trap.refuse(secrets)
    files = [each for each in reached if each.startswith("the file")]
    assert not files, f"While the database is down something is written to {files[0]}."
    remembered = texts(worker.module)
    for name, secret in secrets.items():
        assert secret not in remembered, f"After the answer the worker remembers the {name}."


@contextmanager
def talkative(worker: Worker) -> Iterator[None]:
    """Let all that makes an app tell more be switched on: its debug mode, and the level of logs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker.module.app, "debug", True)
        patch.setattr(logging.getLogger(), "level", logging.DEBUG)
        yield


def raw(headers: Headers) -> list[tuple[bytes, bytes]]:
    """Return headers as a server hands them over."""
    return [(name.lower().encode(), value.encode()) for name, value in headers.items()]


def barely(worker: Worker, trap: Trap, **more: Any) -> Any:
    """Call `answer_down` as before any route is found, for a caller without an address.

    The error has all that an error can have. What logs are told goes into the trap.
    """
    from fastapi import Request, Response
    from httpx2 import Response as Answer

    from solutions.stores.sql.database import StoreDown

    scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET"}
    scope |= {"path": "/", "raw_path": b"/", "query_string": b"", "headers": []}
    scope |= {"app": worker.module.app, **more}
    sent: list[Any] = []
    told: list[str] = []

    async def send(message: Any) -> None:
        sent.append(message)

    error = StoreDown()
    error.__context__ = error.__cause__ = sqlite3.OperationalError(DRIVER)
    error.add_note(DRIVER)
    with only_raises("answer_down"):
        got = worker.run(overheard(worker.module.answer_down(Request(scope), error), told))
    trap.take("What a log is told", "\n".join(told))
    check_type("answer_down", got, Response)
    worker.run(got(scope, None, send))
    body = b"".join(each.get("body", b"") for each in sent)
    return Answer(sent[0]["status"], headers=sent[0]["headers"], content=body)
