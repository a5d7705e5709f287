"""The store of sessions, and what is given around it: the lesson takes them for granted."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from starlette.requests import Request

from solutions.stores.sessions import (
    MAX_PRE_SESSIONS,
    MemorySessionStore,
    Session,
    SessionStore,
    get_session_store,
    open_session_store,
)
from solutions.support.pages import render
from solutions.support.session_forms import local_path
from solutions.support.session_requests import COOKIE, csrf_token_in, session_id_in
from tests.contract import Kind
from tests.slow_stores import SlowSessions

# mypy sees here that they keep their protocol. The slow one keeps text, as a database does.
STORES: list[type[SessionStore]] = [MemorySessionStore, SlowSessions]
LIFETIME = timedelta(hours=1)


def run(call: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run an asynchronous test to its end."""
    asyncio.run(call())


def session(name: str, owner: str = "erin") -> Session:
    now = datetime.now(UTC)
    return Session(
        f"digest of {name}", name, "token", owner, "stamp", "Firefox", now, now, now + LIFETIME
    )


def test_a_session_is_found_until_it_is_ended(new_stores: Kind) -> None:
    async def test() -> None:
        store, phone = new_stores().sessions, session("phone")
        assert await store.find(phone.digest) is None
        await store.add(phone)
        assert await store.find(phone.digest) == phone
        await store.end(phone.digest)
        await store.end(phone.digest)
        assert await store.find(phone.digest) is None
        assert await store.touch(phone.digest) is None
        assert await store.find(phone.digest) is None, "A touch brings nothing back."

    run(test)


@pytest.mark.parametrize("owner", ["erin", ""])
def test_a_touch_moves_one_date(owner: str, new_stores: Kind) -> None:
    async def test() -> None:
        store, phone = new_stores().sessions, session("phone", owner)
        await store.add(phone)
        with time_machine.travel(phone.created_at + timedelta(minutes=5), tick=False):
            touched = await store.touch(phone.digest)
        assert touched == replace(phone, last_seen=phone.created_at + timedelta(minutes=5))
        assert await store.find(phone.digest) == touched

    run(test)


def test_people_have_their_own_sessions(new_stores: Kind) -> None:
    async def test() -> None:
        store = new_stores().sessions
        phone, laptop, tablet = (session(name) for name in ("phone", "laptop", "tablet"))
        other = session("other", "alice")
        for each in (phone, laptop, other, tablet):
            await store.add(each)
        assert await store.owned_by("erin") == [phone, laptop, tablet]
        assert await store.owned_by("") == []
        assert not await store.end_owned("alice", phone.id)
        assert await store.end_owned("erin", phone.id)
        assert not await store.end_owned("erin", phone.id)
        await store.end_others("erin", tablet.digest)
        assert await store.owned_by("erin") == [tablet]
        assert await store.owned_by("alice") == [other]

    run(test)


def test_pre_sessions_are_bounded_and_sessions_are_not(new_stores: Kind) -> None:
    """Anybody may ask for the login form as often as they like (CWE-770)."""

    async def test() -> None:
        store = new_stores(max_pre_sessions=3).sessions
        kept = [session(f"form {number}", "") for number in range(5)]
        mine = [session(f"phone {number}") for number in range(5)]
        for each in (*mine, *kept):
            await store.add(each)
        found = [await store.find(each.digest) for each in kept]
        assert found == [None, None, *kept[2:]]
        assert await store.owned_by("erin") == mine

    run(test)


def test_ten_thousand_forms_leave_the_sessions_alone() -> None:
    async def test() -> None:
        store, phone = MemorySessionStore(), session("phone")
        await store.add(phone)
        for number in range(MAX_PRE_SESSIONS + 100):
            await store.add(session(str(number), ""))
        assert len(store._pre_sessions) == MAX_PRE_SESSIONS
        assert await store.find(phone.digest) == phone

    run(test)


def test_what_has_expired_is_forgotten() -> None:
    async def test() -> None:
        store = MemorySessionStore()
        await store.add(session("phone"))
        await store.add(session("form", ""))
        with time_machine.travel(datetime.now(UTC) + LIFETIME + timedelta(minutes=2)):
            await store.add(session("later"))
            assert await store.find("digest of phone") is None
            assert await store.find("digest of form") is None
            assert await store.find("digest of later") is not None

    run(test)


def test_a_session_shows_no_secret() -> None:
    text = repr(session("phone"))
    assert "digest" not in text and "token" not in text and "stamp" not in text


def test_there_is_one_store() -> None:
    async def test() -> None:
        assert await get_session_store() is await get_session_store() is open_session_store()

    run(test)


# --- what is given around it ------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/", "/account", "/account?tab=2&x=%2F%2Fy", "/a/b#c", "/a//b", "/.//x", "/@x"]
)
def test_a_path_here_is_taken(path: str) -> None:
    assert local_path(path) == path


@pytest.mark.parametrize(
    "path",
    [
        *("", "account", "//mallory.example", "///mallory.example", "/\\mallory.example", "\\\\x"),
        *("https://mallory.example", "javascript:alert(1)", "/\t/mallory.example", "/a\nb", " /a"),
        *("/a\\b", "/\u00e9", "/a b", "/\0", "/\ud800", "\t//x"),
    ],
    ids=ascii,
)
def test_any_other_is_the_account(path: str) -> None:
    assert local_path(path) == "/account"


def request(
    *cookies: str, method: str = "POST", body: bytes = b"", **headers: str | list[str]
) -> Request:
    sent = [(b"cookie", each.encode("latin-1")) for each in cookies]
    for name, values in headers.items():
        for each in [values] if isinstance(values, str) else values:
            sent.append((name.replace("_", "-").encode(), each.encode()))

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    return Request({"type": "http", "method": method, "headers": sent}, receive)


@pytest.mark.parametrize(
    ("cookies", "found"),
    [
        ((), ""),
        (("",), ""),
        ((f"{COOKIE}=abc",), "abc"),
        ((f"a=b; {COOKIE}=abc; c=d",), "abc"),
        ((f"{COOKIE}=abc=",), "abc="),
        (("a=b", f"{COOKIE}=abc"), "abc"),
        ((f"{COOKIE}=abc; {COOKIE}=def",), ""),
        ((f"{COOKIE}=abc; {COOKIE}=abc",), ""),
        ((f"{COOKIE}=abc", f"{COOKIE}=def"), ""),
        ((f"{COOKIE}=abc; {COOKIE}",), ""),
        ((f"{COOKIE.lower()}=abc",), ""),
        (("__Host-session2=abc",), ""),
        ((f"{COOKIE}=\u00e9",), "\u00e9"),
    ],
)
def test_one_cookie_counts(cookies: tuple[str, ...], found: str) -> None:
    assert session_id_in(request(*cookies)) == found


FORM = {"content_type": "application/x-www-form-urlencoded"}


@pytest.mark.parametrize(
    ("sent", "found"),
    [
        (request(), ""),
        (request(x_csrf_token="abc"), "abc"),
        (request(x_csrf_token=["abc", "def"]), ""),
        (request(body=b"csrf_token=abc", **FORM), "abc"),
        (request(body=b"csrf_token=abc&csrf_token=abc", **FORM), ""),
        (request(body=b"csrf_token=abc", content_type="text/plain"), ""),
        (request(body=b"csrf_token=abc", method="DELETE", **FORM), ""),
        (request(body=b"csrf_token=abc", x_csrf_token="def", **FORM), "def"),
    ],
)
def test_one_token_counts(sent: Request, found: str) -> None:
    assert asyncio.run(csrf_token_in(sent)) == found


def test_a_page_escapes_what_it_shows() -> None:
    page = render("login.html", csrf_token='"><b>', next="/", failed=False)
    assert b'"><b>' not in bytes(page.body)
    assert "script" not in page.headers["content-security-policy"]


@pytest.mark.asvs("6.2.6", "6.2.7")
def test_the_login_page_can_be_used_by_password_managers_and_screen_readers() -> None:
    """ASVS 6.2.6 and 6.2.7."""
    page = bytes(render("login.html", csrf_token="x", next="/", failed=True).body).decode()
    for each in ('autocomplete="username"', 'autocomplete="current-password"', 'type="password"'):
        assert page.count(each) == 1
    assert page.count("<label for=") == 2
    assert 'role="alert"' in page and 'lang="en"' in page and "onpaste" not in page
    assert "<script" not in page and "http" not in page
