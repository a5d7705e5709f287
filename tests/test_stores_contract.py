"""What every store keeps exactly as it was given, in memory and in both databases."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from solutions.stores.api_keys import ApiKey
from solutions.stores.flows import Flow, Purpose
from solutions.stores.identities import Identity
from solutions.stores.refresh_tokens import Family, RefreshToken
from solutions.stores.sessions import Session
from solutions.stores.sql.database import Conflict, Unstorable
from solutions.stores.users import UserInDB
from tests.contract import Kind

MOMENT = datetime(2030, 2, 3, 4, 5, 6, 123_457, tzinfo=UTC)
SPECIAL = [
    *("' OR 1=1 --", '"; DROP TABLE users; --', "'); DELETE FROM users; --", "/* */", "x' --"),
    *("%", "_", "a%", "\\", "\\'", ":digest", ":username", "%s", "%(digest)s", "?", "$1", "{}"),
    *("NULL", "null", "true", "0", "1e999", " blanks ", "\n\r\t", "[]", '["a"]'),
]
TEXTS = [
    *SPECIAL,
    *("", "Zo\u00eb \U0001f511", "e\u0301", "\u00e9", "\u202e\u200b\ufeff", "\x01\x7f\x85\u2028"),
    "x" * 1_000_000,
]
BAD = ["a\0b", "\0", "\ud800", "x\udfff"]


def run(call: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run an asynchronous test to its end."""
    asyncio.run(call())


def shown(text: str) -> str:
    """Return a name for a test."""
    return ascii(text)[:30]


each_text = pytest.mark.parametrize("text", TEXTS, ids=shown)


def token(text: str = "x", digest: str = "digest", moment: datetime = MOMENT) -> RefreshToken:
    return RefreshToken(digest, Family(digest, text, text, (text, ""), moment))


def key(text: str = "x", digest: str = "digest", moment: datetime = MOMENT) -> ApiKey:
    return ApiKey(digest, digest, text, text, "erin", text, (text, ""), moment, moment)


def session(text: str = "x", digest: str = "digest", moment: datetime = MOMENT) -> Session:
    return Session(digest, digest, text, "erin", text, text, moment, moment, moment)


def flow(text: str = "x", state: str = "state", moment: datetime = MOMENT) -> Flow:
    return Flow("firefox", state, text, text, text, Purpose(text, text), moment)


def identity(text: str = "x", subject: str = "1", moment: datetime = MOMENT) -> Identity:
    return Identity("https://one.example", subject, text, "erin's", text, moment)


# --- exactly as it was given ------------------------------------------------------------------


@each_text
def test_each_text_comes_back_as_it_was(new_stores: Kind, text: str) -> None:
    async def test() -> None:
        stores = new_stores()
        erin = UserInDB(
            username="erin",
            email=text,
            full_name=text,
            role=text,
            scopes=[text, ""],
            security_stamp=text,
            account_id=text or "id",
            hashed_password=text,
        )
        assert await stores.users.add(erin)
        assert await stores.users.get("erin") == erin
        other = {"email": None, "full_name": text + "x", "scopes": [], "role": text + "y"}
        assert await stores.users.change("erin", **other) == erin.model_copy(update=other)
        assert await stores.users.everyone() == [erin.model_copy(update=other)]
        assert await stores.users.replace_hash("erin", text, text + "z")
        assert not await stores.users.replace_hash("erin", text, "never")
        await stores.refresh_tokens.add(token(text))
        assert await stores.refresh_tokens.find("digest") == token(text)
        assert await stores.refresh_tokens.consume("digest") == token(text)
        await stores.keys.add(key(text))
        assert await stores.keys.find("digest") == key(text)
        assert await stores.keys.owned_by("erin") == [key(text)]
        await stores.sessions.add(session(text))
        assert await stores.sessions.find("digest") == session(text)
        assert await stores.sessions.owned_by("erin") == [session(text)]
        await stores.flows.add(flow(text))
        assert await stores.flows.take("firefox", "state") == flow(text)
        assert await stores.identities.claim(identity(text)) == identity(text)
        assert await stores.identities.owned_by("erin's") == [identity(text)]

    run(test)


@pytest.mark.parametrize("text", [each for each in TEXTS if len(each) < 100], ids=shown)
def test_a_text_by_which_one_looks_is_itself_and_nothing_else(new_stores: Kind, text: str) -> None:
    """No wildcard, no statement, and no other spelling of the same."""

    async def test() -> None:
        stores = new_stores()
        others = ("abc", "ABC", "x", text.swapcase() + "x")
        for each in dict.fromkeys((*others, text)):
            await stores.refresh_tokens.add(RefreshToken(each, Family(each, "", "", (), MOMENT)))
            await stores.keys.add(replace(key(digest=each), owner=each))
            await stores.sessions.add(replace(session(digest=each), username=f"of {each}"))
            await stores.flows.add(replace(flow(state=each), session=each))
            await stores.identities.claim(replace(identity(subject=each), issuer=each))
        found = await stores.refresh_tokens.consume(text)
        assert found and found.digest == text
        await stores.refresh_tokens.revoke(found.family)
        for each in others:
            other = await stores.refresh_tokens.find(each)
            assert other and not other.spent
        assert [each.id for each in await stores.keys.owned_by(text)] == [text]
        assert await stores.keys.revoke(text, text)
        assert not await stores.keys.revoke(text, text)
        assert await stores.keys.find("abc") and await stores.keys.find("ABC")
        assert [each.id for each in await stores.sessions.owned_by(f"of {text}")] == [text]
        await stores.sessions.end(text)
        assert await stores.sessions.find(text) is None
        await stores.sessions.end_others(f"of {text}", "")
        assert await stores.sessions.find("abc") and await stores.sessions.find("ABC")
        assert await stores.flows.take("abc", text) is None
        taken = await stores.flows.take(text, text)
        assert taken and taken.state == text
        assert await stores.flows.take("abc", "abc")
        assert (await stores.identities.find(text, text)) == replace(
            identity(subject=text), issuer=text
        )
        assert await stores.identities.find(text, "abc") is None
        for name in (text, f"erin{text}"):
            if name != "erin":
                assert await stores.users.get(name) is None
                assert await stores.users.change(name, role="admin") is None
                assert not await stores.users.remove(name)
                assert not await stores.users.replace_hash(name, "", "")

    run(test)


@pytest.mark.parametrize(
    "moment",
    [
        MOMENT,
        MOMENT.replace(microsecond=0),
        MOMENT.replace(microsecond=999_999),
        datetime(1970, 1, 1, tzinfo=UTC),
        datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime.min.replace(tzinfo=UTC),
        datetime.max.replace(tzinfo=UTC),
        datetime(2030, 3, 31, 3, tzinfo=timezone(timedelta(hours=14))),
        datetime(2030, 3, 31, 3, tzinfo=timezone(-timedelta(hours=12, minutes=1))),
    ],
    ids=str,
)
def test_each_moment_comes_back_to_the_microsecond(new_stores: Kind, moment: datetime) -> None:
    async def test() -> None:
        stores = new_stores()
        await stores.refresh_tokens.add(token(moment=moment))
        assert await stores.refresh_tokens.find("digest") == token(moment=moment)
        await stores.sessions.add(session(moment=moment))
        assert await stores.sessions.find("digest") == session(moment=moment)
        await stores.keys.add(key(moment=moment))
        assert await stores.keys.find("digest") == key(moment=moment)
        assert await stores.identities.claim(identity(moment=moment)) == identity(moment=moment)
        assert await stores.identities.find("https://one.example", "1") == identity(moment=moment)

    run(test)


@pytest.mark.parametrize("disabled", [True, False])
@pytest.mark.parametrize("has_password", [True, False])
def test_yes_and_no_come_back(new_stores: Kind, disabled: bool, has_password: bool) -> None:
    async def test() -> None:
        users = new_stores().users
        erin = UserInDB(
            username="erin",
            email=None,
            disabled=disabled,
            has_password=has_password,
            hashed_password="x",
        )
        await users.add(erin)
        found = await users.get("erin")
        assert found == erin
        assert found and found.disabled is disabled and found.has_password is has_password

    run(test)


# --- what no database can keep ----------------------------------------------------------------


@pytest.mark.parametrize("bad", BAD, ids=ascii)
def test_what_one_database_cannot_keep_both_refuse(new_rows: Kind, bad: str) -> None:
    """PostgreSQL has no NUL, and neither has half a character. Nothing is written of the rest."""

    async def refused(call: Coroutine[Any, Any, Any]) -> None:
        with pytest.raises(Unstorable) as error:
            await call
        assert bad not in str(error.value)

    async def test() -> None:
        stores = new_rows()
        await stores.users.add(UserInDB(username="erin", hashed_password="x"))
        for name in ("email", "full_name", "role", "security_stamp", "account_id"):
            await refused(stores.users.change("erin", **{name: bad}))
            frank = UserInDB(username="frank", hashed_password="x").model_copy(update={name: bad})
            await refused(stores.users.add(frank))
        await refused(stores.users.change("erin", hashed_password=bad))
        await refused(stores.users.replace_hash("erin", bad, "x"))
        await refused(stores.users.replace_hash("erin", "x", bad))
        assert await stores.users.get(bad) is None
        kept: list[tuple[Any, Any]] = [
            (stores.keys, key()),
            (stores.sessions, session()),
            (stores.flows, flow()),
        ]
        for store, thing in kept:
            for each in fields(thing):
                if isinstance(getattr(thing, each.name), str):
                    await refused(store.add(replace(thing, **{each.name: bad})))
        for each in fields(Identity):
            if each.type is str or each.type == "str":
                await refused(stores.identities.claim(replace(identity(), **{each.name: bad})))
        family = token().family
        for name in ("id", "username", "stamp"):
            await refused(
                stores.refresh_tokens.add(RefreshToken("d", replace(family, **{name: bad})))
            )
        await refused(stores.refresh_tokens.add(replace(token(), digest=bad)))
        await refused(stores.refresh_tokens.revoke(replace(family, id=bad)))
        calls: list[Callable[[], Coroutine[Any, Any, Any]]] = [
            lambda: stores.refresh_tokens.find(bad),
            lambda: stores.refresh_tokens.consume(bad),
            lambda: stores.keys.find(bad),
            lambda: stores.keys.owned_by(bad),
            lambda: stores.keys.revoke("erin", bad),
            lambda: stores.sessions.find(bad),
            lambda: stores.sessions.touch(bad),
            lambda: stores.sessions.end(bad),
            lambda: stores.sessions.owned_by(bad),
            lambda: stores.sessions.end_owned("erin", bad),
            lambda: stores.sessions.end_others("erin", bad),
            lambda: stores.flows.take(bad, "x"),
            lambda: stores.flows.take("x", bad),
            lambda: stores.identities.find(bad, "x"),
            lambda: stores.identities.find("x", bad),
            lambda: stores.identities.owned_by(bad),
            lambda: stores.identities.release(bad, "x", may_be_last=True),
        ]
        for call in calls:
            await refused(call())
        others = ("refresh_tokens", "revoked_families", "api_keys", "sessions", "flows")
        assert [new_rows.count(table) for table in ("users", *others, "identities")] == [
            *(1, 0, 0, 0, 0, 0, 0)
        ]

    run(test)


@pytest.mark.parametrize("bad", BAD, ids=ascii)
def test_words_in_a_list_are_kept_or_refused_alike(new_rows: Kind, bad: str) -> None:
    """Lists are JSON, which has an escape for each of them."""

    async def test() -> None:
        stores = new_rows()
        await stores.users.add(UserInDB(username="erin", hashed_password="x", scopes=[bad]))
        erin = await stores.users.get("erin")
        assert erin and erin.scopes == [bad]

    run(test)


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 2**64, 10**400])
def test_a_number_that_is_too_long_is_refused(new_rows: Kind, number: int) -> None:
    async def test() -> None:
        database = new_rows().users.database  # type: ignore[attr-defined]
        with pytest.raises(Unstorable):
            await database.run("SELECT username FROM users WHERE disabled = :number", number=number)

    run(test)


def test_a_digest_of_somebody_else_s_is_a_conflict(new_rows: Kind) -> None:
    """It never happens, with 256 bits. If it does, nobody gets what is another one's."""

    async def test() -> None:
        stores = new_rows()
        await stores.keys.add(key())
        with pytest.raises(Conflict) as error:
            await stores.keys.add(replace(key(), owner="mallory"))
        assert "mallory" not in repr(error.value) and error.value.__cause__ is None
        found = await stores.keys.find("digest")
        assert found and found.owner == "erin"
        await stores.refresh_tokens.add(token("erin"))
        with pytest.raises(Conflict):
            await stores.refresh_tokens.add(token("mallory"))
        kept = await stores.refresh_tokens.find("digest")
        assert kept and kept.family.username == "erin"
        await stores.sessions.add(session())
        await stores.sessions.add(replace(session(), username="mallory", stamp="mallory's"))
        owner = await stores.sessions.find("digest")
        assert owner and owner.username == "erin", "A session has changed hands."

    run(test)
