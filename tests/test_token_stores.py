"""The stores of refresh tokens and API keys, which the lessons take for granted."""

from datetime import UTC, datetime, timedelta

import pytest
import time_machine

from solutions.digests import digest_of
from solutions.key_store import ApiKey, KeyStore, get_key_store
from solutions.refresh_store import Family, RefreshStore, RefreshToken, get_refresh_store
from tests.test_users import at_once

IN_A_WEEK = timedelta(days=7)


def family(name: str = "phone") -> Family:
    return Family(name, "erin", "stamp", ("me",), datetime.now(UTC) + IN_A_WEEK)


def api_key(name: str, owner: str = "erin") -> ApiKey:
    now = datetime.now(UTC)
    return ApiKey(f"digest of {name}", name, "faw_", name, owner, "stamp", (), now, now + IN_A_WEEK)


@pytest.mark.parametrize("token", ["", "a", "\u00e9", "\ud800", "a" * 1_000_000], ids=ascii)
def test_any_text_has_a_digest(token: str) -> None:
    assert len(digest_of(token[:1_000_000])) == 64
    assert digest_of(token) != digest_of(token + "=")


def test_a_token_is_spent_once() -> None:
    store = RefreshStore()
    assert store.consume("first") is None
    assert store.find("first") is None
    store.add(RefreshToken("first", family()))
    assert not store.find("first").spent
    assert [token for token in at_once(lambda _: store.consume("first")) if token] == [
        RefreshToken("first", family=store.find("first").family)
    ]
    assert store.find("first").spent


def test_a_revoked_family_is_dead_and_no_other() -> None:
    store, phone, laptop = RefreshStore(), family("phone"), family("laptop")
    store.add(RefreshToken("first", phone))
    store.add(RefreshToken("other", laptop))
    store.revoke(phone)
    store.add(RefreshToken("still on its way", phone))
    for digest in ("first", "still on its way"):
        assert store.find(digest).spent
        assert store.consume(digest) is None
    assert not store.find("other").spent
    assert store.consume("other")


def test_what_has_expired_is_forgotten() -> None:
    store = RefreshStore()
    with time_machine.travel(0):
        old = family()
        store.add(RefreshToken("old", old))
        store.revoke(old)
    store.add(RefreshToken("new", family()))
    assert store.find("new")
    with time_machine.travel(timedelta(days=8)):
        store.add(RefreshToken("newer", family()))
        assert store.find("new") is None
        assert store.find("newer")
        assert "old" not in repr(vars(store))
        assert not store._revoked


def test_keys_are_found_by_digest_and_revoked_by_their_owner() -> None:
    store = KeyStore()
    for key in (api_key("one"), api_key("two"), api_key("three", "frank")):
        store.add(key)
    assert store.find("digest of one") == store.owned_by("erin")[0]
    assert store.find("one") is None
    assert [key.name for key in store.owned_by("erin")] == ["one", "two"]
    assert not store.revoke("erin", "three")
    assert not store.revoke("erin", "four")
    assert sum(at_once(lambda _: store.revoke("erin", "one"))) == 1
    assert store.find("digest of one") is None
    assert [key.name for key in store.owned_by("erin")] == ["two"]
    with time_machine.travel(timedelta(days=8)):
        store.add(api_key("four"))
        assert [key.name for key in store.owned_by("erin")] == ["four"]


@pytest.mark.parametrize("get", [get_refresh_store, get_key_store])
def test_a_process_has_one_store(get: object) -> None:
    import asyncio

    assert asyncio.run(get()) is asyncio.run(get())
