"""The stores of refresh tokens and API keys, which the lessons take for granted."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine

from solutions.stores.api_keys import ApiKey, KeyStore, MemoryKeyStore, get_key_store
from solutions.stores.refresh_tokens import (
    Family,
    MemoryRefreshStore,
    RefreshStore,
    RefreshToken,
    get_refresh_store,
)
from solutions.support.digests import digest_of
from tests.contract import Kind

IN_A_WEEK = timedelta(days=7)

# mypy sees here that the versions in memory keep their protocols.
REFRESH_STORE: type[RefreshStore] = MemoryRefreshStore
KEY_STORE: type[KeyStore] = MemoryKeyStore

Call = Callable[[], Coroutine[Any, Any, Any]]


def run(call: Callable[..., Coroutine[Any, Any, None]]) -> None:
    """Run an asynchronous test to its end."""
    asyncio.run(call())


def on_one_loop(call: Call, times: int = 8) -> list[Any]:
    """Await `call` in many tasks of one event loop."""

    async def all_of_them() -> list[Any]:
        return await asyncio.gather(*(call() for _ in range(times)))

    return asyncio.run(all_of_them())


def across_threads(call: Call, times: int = 8) -> list[Any]:
    """Await `call` in many threads that start together, each with an event loop of its own."""
    barrier, results = threading.Barrier(times), []

    def one() -> None:
        barrier.wait(5)
        results.append(asyncio.run(call()))

    threads = [threading.Thread(target=one) for _ in range(times)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    return results


AT_ONCE = pytest.mark.parametrize("at_once", [on_one_loop, across_threads])


def family(name: str = "phone") -> Family:
    return Family(name, "erin", "stamp", ("me",), datetime.now(UTC) + IN_A_WEEK)


def api_key(name: str, owner: str = "erin") -> ApiKey:
    now = datetime.now(UTC)
    return ApiKey(f"digest of {name}", name, "faw_", name, owner, "stamp", (), now, now + IN_A_WEEK)


@pytest.mark.parametrize("token", ["", "a", "\u00e9", "\ud800", "a" * 1_000_000], ids=ascii)
def test_any_text_has_a_digest(token: str) -> None:
    assert len(digest_of(token)) == 64
    assert digest_of(token) != digest_of(token + "=")


@AT_ONCE
def test_a_token_is_spent_once(at_once: Callable[..., list[Any]], new_stores: Kind) -> None:
    store, phone = new_stores().refresh_tokens, family()
    asyncio.run(store.add(RefreshToken("first", phone)))
    spent = at_once(lambda: store.consume("first"))
    assert [token for token in spent if token] == [RefreshToken("first", phone)]
    assert asyncio.run(store.find("first")) == RefreshToken("first", phone, spent=True)


def test_an_unknown_token_is_none(new_stores: Kind) -> None:
    async def test() -> None:
        store = new_stores().refresh_tokens
        assert await store.consume("first") is None
        assert await store.find("first") is None
        await store.add(RefreshToken("first", family()))
        found = await store.find("first")
        assert found is not None
        assert not found.spent

    run(test)


def test_a_revoked_family_is_dead_and_no_other(new_stores: Kind) -> None:
    async def test() -> None:
        store, phone, laptop = new_stores().refresh_tokens, family("phone"), family("laptop")
        await store.add(RefreshToken("first", phone))
        await store.add(RefreshToken("other", laptop))
        await store.revoke(phone)
        await store.add(RefreshToken("still on its way", phone))
        for digest in ("first", "still on its way"):
            assert await store.find(digest) == RefreshToken(digest, phone, spent=True)
            assert await store.consume(digest) is None
        assert await store.find("other") == RefreshToken("other", laptop)
        assert await store.consume("other") == RefreshToken("other", laptop)

    run(test)


def test_what_has_expired_is_forgotten() -> None:
    async def test() -> None:
        with time_machine.travel(0):
            store = MemoryRefreshStore()
            old = family()
            await store.add(RefreshToken("old", old))
            await store.revoke(old)
        await store.add(RefreshToken("new", family()))
        assert await store.find("new")
        with time_machine.travel(timedelta(days=8)):
            await store.add(RefreshToken("newer", family()))
            assert await store.find("new") is None
            assert await store.find("newer")
            assert "old" not in repr(vars(store))
            assert not store._revoked

    run(test)


def test_a_family_begins_with_what_the_login_knew(development: pytest.MonkeyPatch) -> None:
    from solutions.stores.users import User

    development.setenv("REFRESH_TOKEN_EXPIRE_DAYS", "3")
    erin = User(username="erin", scopes=["me", "items"])
    now = datetime.now(UTC)
    with time_machine.travel(now, tick=False):
        phone, laptop = Family.begin(erin, ["me"]), Family.begin(erin, [])
    assert (phone.username, phone.stamp) == ("erin", erin.security_stamp)
    assert (phone.scopes, laptop.scopes) == (("me",), ())
    assert phone.expires_at == now + timedelta(days=3)
    assert phone.id != laptop.id
    assert erin.security_stamp not in repr(phone)


@AT_ONCE
def test_keys_are_found_by_digest_and_revoked_by_their_owner(
    at_once: Callable[..., list[Any]], new_stores: Kind
) -> None:
    store = new_stores().keys

    async def before() -> None:
        for key in (api_key("one"), api_key("two"), api_key("three", "frank")):
            await store.add(key)
        assert await store.find("digest of one") == (await store.owned_by("erin"))[0]
        assert await store.find("one") is None
        assert [key.name for key in await store.owned_by("erin")] == ["one", "two"]
        assert not await store.revoke("erin", "three")
        assert not await store.revoke("erin", "four")

    async def after() -> None:
        assert await store.find("digest of one") is None
        assert [key.name for key in await store.owned_by("erin")] == ["two"]

    run(before)
    assert sum(at_once(lambda: store.revoke("erin", "one"))) == 1
    run(after)


def test_keys_that_have_expired_are_forgotten() -> None:
    async def test() -> None:
        store = MemoryKeyStore()
        await store.add(api_key("two"))
        with time_machine.travel(timedelta(days=8)):
            await store.add(api_key("four"))
            assert [key.name for key in await store.owned_by("erin")] == ["four"]

    run(test)


@pytest.mark.parametrize("get", [get_refresh_store, get_key_store])
def test_a_process_has_one_store(get: Call) -> None:
    assert asyncio.run(get()) is asyncio.run(get())
