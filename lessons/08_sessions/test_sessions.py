"""Lesson 08: sessions for browsers. Four tests of what you build, then mallory.

For maintainers
Goal: a browser stays logged in by a cookie that says nothing, that nobody else can use or plant,
and that is worthless from the moment its owner, or time, says so.
Teach: an opaque id and a store instead of a signed cookie, a new id at each login, the cookie's
attributes, two ends, logout in the store, two walls against forged requests, and at the login too.
Do not teach: other people's logins (09), limits on guesses and headers for all pages (10), sessions
in a database (12), single-page apps on another origin.
"""

import re
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import partial
from inspect import iscoroutinefunction, unwrap
from itertools import cycle, islice
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import Response
from httpx2 import Headers

from lessons.harness.answers import differs, surplus_headers
from lessons.harness.client import Client
from lessons.harness.clock import FAR_EAST, FAR_WEST, at, zone
from lessons.harness.crowd import each_gets_theirs
from lessons.harness.failing import (
    Before,
    Call,
    Failing,
    Late,
    Slow,
    Watched,
    in_place,
    late,
    noting_answers,
)
from lessons.harness.hostile import HOSTILE_PASSWORDS
from lessons.harness.kept import sessions_in, snapshot
from lessons.harness.literals import texts_in
from lessons.harness.memory import texts
from lessons.harness.meter import Meter
from lessons.harness.near_misses import LOCAL_ORIGINS, flips, origins_near
from lessons.harness.outside import outside
from lessons.harness.people import (
    NOT_FOR_A_FORM,
    PASSWORDS,
    bearer,
    speak_as,
)
from lessons.harness.randomness import NOON, Tape, drawing_from
from lessons.harness.reads import reading
from lessons.harness.routes import served
from lessons.harness.side_doors import Contract, side_doors, with_door
from lessons.harness.spelling import Text
from lessons.harness.spellings import spellings
from lessons.harness.stand_in import standing_in
from lessons.harness.trap import holds, listening
from lessons.harness.verdicts import check_type, twin
from lessons.harness.visitors import (
    ACCOUNT,
    LOGIN,
    LOGOUT,
    OTHERS,
    SESSION,
    SESSIONS,
    Visitor,
    cookies_set_by,
    fields_of,
)

asvs = pytest.mark.asvs
attack = pytest.mark.attack
todo = pytest.mark.todo

Later = Callable[[timedelta], AbstractContextManager[None]]

COOKIE = "__Host-session"
ROLES = {"johndoe": "user", "alice": "admin", "carol": "superadmin"}
NOT_LOGGED_IN = (401, 403)  # 403 where the missing token was looked at first
MINUTE, SECOND = timedelta(minutes=1), timedelta(seconds=1)
CONTRACT = Contract(
    headers={"sec-fetch-site", "origin", "x-csrf-token", "authorization"},
    query={"next"},
    cookies={COOKIE},
    form={"username", "password", "csrf_token", "next", "id"},
)
ROUTES = {
    *(("GET", LOGIN), ("POST", LOGIN), ("POST", LOGOUT), ("GET", ACCOUNT), ("GET", SESSION)),
    *(("GET", SESSIONS), ("DELETE", "/sessions/{session_id}"), ("POST", OTHERS)),
    ("POST", "/account/sessions"),
    *(("POST", "/register"), ("POST", "/token"), ("POST", "/revoke"), ("GET", "/users/me")),
    ("POST", "/users/me/password"),
}
HOSTILE_PATHS = (  # the first few are tried in each state of a browser
    *("//mallory.example", "https://mallory.example/", "/\\mallory.example"),
    *("http:mallory.example", "mallory.example"),
    *("\\\\mallory.example", "/\t/mallory.example", "javascript:alert(1)"),
    *(" //mallory.example", "/\n/mallory.example", "https:/mallory.example", "///mallory.example"),
    "\t//mallory.example",
)
NO_LOGIN = (  # a login takes time, and with a path of each kind it shows enough
    *("mallory.example", "javascript:alert(1)", " //mallory.example", "/\n/mallory.example"),
    *("https:/mallory.example", "///mallory.example", "\t//mallory.example"),
)
# On this site as they are, and not when they are decoded once or twice.
ENCODED_PATHS = (
    *("/%2Fmallory.example", "/%5Cmallory.example", "/%252F%252Fmallory.example"),
    "/&#47;mallory.example",
)


def _get_session_store() -> Any:
    from solutions.stores.sessions import get_session_store

    return get_session_store


def _get_users() -> Any:
    from solutions.stores.users import get_users

    return get_users


def has_functions() -> bool:
    """Tell whether the file has this lesson's functions: naive.py has none, only routes."""
    names = vars(sys.modules["solutions.sessions"])
    return not names.keys().isdisjoint({"begin_session", "is_over", "refuse_forgery"})


def inside(client: Client, username: str = "johndoe", name: str = "Firefox") -> Visitor:
    """Return a browser in which somebody has logged in: the twin of every refusal below."""
    visitor = Visitor(client, name)
    visitor.log_in(username)
    return visitor


def stays_in(visitor: Visitor, what: str) -> None:
    """Assert that a browser is logged in."""
    assert visitor.status == 200, f"{what}: {SESSION} says {visitor.status}, not 200."


def is_out(visitor: Visitor, what: str, everywhere: bool = False) -> None:
    """Assert that a browser is not logged in; or on no route that says something."""
    for url in (SESSION, SESSIONS)[: 1 + everywhere]:
        answer = visitor.get(url)
        assert answer.status_code == 401, f"{what}: {url} says {answer.status_code}, not 401."
        assert answer.headers.get("www-authenticate"), (
            f"{what}: the 401 of {url} lacks a WWW-Authenticate header."
        )
        assert not cookies_set_by(answer), f"{what}: the 401 of {url} sets a cookie."
    answer = visitor.get(ACCOUNT) if everywhere else None
    assert answer is None or leads_to(answer, LOGIN), (
        f"{what}: {ACCOUNT} says {told(answer)}, not 303 to {LOGIN}."
    )


def leads_to(answer: Any, path: str) -> bool:
    """Tell whether an answer sends a browser on to a path."""
    return (answer.status_code, answer.headers.get("location")) == (303, path)


def told(answer: Any) -> str:
    """Return an answer's status, and where it leads."""
    where = answer.headers.get("location")
    return f"{answer.status_code} to {where}" if where else f"{answer.status_code} to nowhere"


def sessions_of(visitor: Visitor) -> list[Any]:
    """Return the list of sessions that a browser sees."""
    answer = visitor.get(SESSIONS)
    assert answer.status_code == 200, f"GET {SESSIONS} answered {answer.status_code}, not 200."
    return list(answer.json())


def own_id(visitor: Visitor) -> str:
    """Return the public id of a browser's session."""
    return next(str(row["id"]) for row in sessions_of(visitor) if row["current"])


def moment(text: str) -> datetime:
    """Return a date of an answer; one without a zone counts as UTC."""
    day = datetime.fromisoformat(text)
    return day if day.tzinfo else day.replace(tzinfo=UTC)


def unsafe_requests(session_id: str) -> list[tuple[str, str, dict[str, str]]]:
    """Return what mallory would like a browser to send: method, address, form."""
    return [
        ("POST", OTHERS, {}),
        ("DELETE", f"{SESSIONS}/{session_id}", {}),
        ("POST", "/account/sessions", {"id": session_id}),
        ("POST", "/account/sessions", {}),
        ("POST", LOGOUT, {}),  # late, so that a forgery that is let in shows before it
        ("POST", LOGIN, {"username": "carol", "password": PASSWORDS["carol"]}),
    ]


class Meanwhile(Before):
    """A store in which somebody else does something right after one of your calls."""

    def __init__(self, store: Any, call: int, deed: Callable[[], Awaitable[Any]]) -> None:
        super().__init__(store)
        self.calls, self._call, self._deed = 0, call, deed

    async def _after(self, *_: Any) -> None:
        self.calls += 1
        if self.calls == self._call:
            await self._deed()


# --- build ----------------------------------------------------------------------------------


@todo(1, "begin_session")
def test_a_session_begins_with_a_cookie(
    client: Client,
    candidate: Any,
    users: Any,
    session_store: Any,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A new session is kept, its id is in one cookie, and it is returned. The one before ends.

    Without a user it is a pre-session, of nobody. No browser keeps a cookie longer than we do.
    """
    if not has_functions():
        assert inside(client).cookies, "A login sets no cookie."
        return
    from solutions.stores.sessions import Session
    from solutions.support.digests import digest_of
    from solutions.support.session_forms import record_of

    start, hours = datetime.now(UTC), timedelta(hours=settings.session_hours)
    for name in ("johndoe", "", "alice", "carol"):
        whose, answer = name or "nobody", Response()
        user = users.get(name) if name else None
        before = record_of("the id that came in", user, _browser())
        before = replace(before, expires_at=start + 3 * MINUTE)  # it does not hand its end on
        session_store.add(before)
        browser = _browser("the id that came in")
        session = candidate.begin_session(browser, answer, session_store, user)
        check_type("begin_session", session, Session)
        assert session.username == name, f"The session of {whose} is that of {session.username!r}."
        cookies = cookies_set_by(SimpleNamespace(headers=Headers(answer.raw_headers)))
        assert len(cookies) == 1, f"begin_session for {whose} sets {len(cookies)} cookies, not one."
        assert cookies[0].name == COOKIE, f"The cookie is called {cookies[0].name}, not {COOKIE}."
        _check_attributes(f"begin_session for {whose}", cookies[0])
        kept = session_store.find(digest_of(cookies[0].value))
        assert kept is not None, f"The store does not know {whose} by the digest of the cookie."
        assert kept.username == name, f"The store has the session of {whose} as {kept.username!r}."
        assert session_store.find(before.digest) is None, (
            f"begin_session for {whose}: the session that came in has not ended."
        )
        _check_lifetime(whose, cookies[0], session, hours)
    monkeypatch.setitem(vars(settings), "session_hours", 4 * 24 + 1)
    answer = Response()
    session = candidate.begin_session(_browser(), answer, session_store, users.get("johndoe"))
    [cookie] = cookies_set_by(SimpleNamespace(headers=Headers(answer.raw_headers)))
    _check_lifetime("johndoe", cookie, session, hours)


def _check_lifetime(whose: str, cookie: Any, session: Any, hours: timedelta) -> None:
    """Assert that a browser keeps a cookie as long as it runs, or as its session lives.

    Or for the hours that were set at the start, which may have been read then: a pre-session's too.
    """
    kept, lives = _browser_keeps_it_for(cookie), session.expires_at - session.created_at
    assert kept is None or any(abs(kept - each) < MINUTE for each in (lives, hours)), (
        f"A browser keeps the cookie of {whose} for {kept}, and the session lives {lives}."
    )


def _browser(session_id: str = "") -> Any:
    """Return what is looked at in the request of a browser on our own page."""
    from solutions.support.session_requests import BrowserRequest

    return BrowserRequest("POST", session_id, "", "same-origin", None, "Firefox")


def _browser_keeps_it_for(cookie: Any) -> timedelta | None:
    """Return how long a browser keeps a cookie by itself; None is as long as it runs."""
    if age := cookie.attributes.get("max-age"):
        assert age.lstrip("-").isdecimal(), f"Max-Age is {age!a}, and no number of seconds."
        return timedelta(seconds=int(age))
    end = cookie.attributes.get("expires")
    try:
        return parsedate_to_datetime(end) - datetime.now(UTC) if end else None
    except (TypeError, ValueError):
        raise AssertionError(f"Expires is {end!a}, and no date in GMT.") from None


@todo(2, "is_over")
def test_a_session_lives_while_it_is_used(
    client: Client, candidate: Any, users: Any, settings: Any, note: Callable[[str], None]
) -> None:
    """A new session lives, and one that was used a short time ago. One of last year is over.

    So it is with a pre-session, which has no owner. At its `expires_at` each is over.
    """
    if not has_functions():
        stays_in(inside(client), "Johndoe, who has logged in")
        return
    from solutions.support.session_forms import record_of

    is_async = iscoroutinefunction(unwrap(candidate.is_over))
    assert not is_async, "is_over is called without `await`: it has to be a plain `def`."
    idle, start = timedelta(minutes=settings.session_idle_minutes), datetime.now(UTC)

    def over(session: Any, owner: Any) -> bool:
        times = {"now": datetime.now(UTC), "last_seen": session.last_seen}
        times["expires_at"] = session.expires_at
        note(", ".join(f"{name} {time:%Y-%m-%d %H:%M:%S}" for name, time in times.items()))
        said = candidate.is_over(session, owner)
        assert said is not None, "is_over returns nothing. Is a `return` missing?"
        return bool(said)

    for name, owner in (("johndoe", users.get("johndoe")), ("", None)):
        new = record_of("an id", owner, _browser())
        whose = f"session of {name}" if name else "pre-session, which has no owner,"
        assert not over(new, owner), f"A new {whose} is over, says is_over."
        with at(start + timedelta(days=400)):
            assert over(new, owner), f"A {whose} of last year is not over."
        ends = replace(new, created_at=NOON - 9 * MINUTE, last_seen=NOON - MINUTE, expires_at=NOON)
        with at(NOON - SECOND, stands=True):
            assert not over(ends, owner), f"A {whose} is over a second before its `expires_at`."
        with at(NOON, stands=True):
            assert over(ends, owner), f"A {whose} is not over at its `expires_at`."
    owner = users.get("johndoe")
    used = record_of("an id", owner, _browser())
    used = replace(used, created_at=start - 2 * idle, last_seen=start - idle + MINUTE)
    assert not over(used, owner), (
        f"A session of johndoe used {idle - MINUTE} ago is over, says is_over: {idle} are allowed."
    )


@todo(3, "refuse_forgery")
def test_whoever_only_reads_needs_no_token(client: Client, users: Any) -> None:
    """Reading changes nothing and needs no token: a 403 is for forged requests only.

    Without a session /session says 401, and /account leads to /login.
    """
    visitor = Visitor(client)
    assert visitor.status == 401, f"Without a session, GET {SESSION}: {visitor.status}, not 401."
    answer = visitor.get(ACCOUNT)
    assert leads_to(answer, LOGIN), (
        f"Without a session, GET {ACCOUNT}: {told(answer)}, not 303 to {LOGIN}."
    )


@todo(3, "refuse_forgery")
def test_people_log_in_and_out(client: Client, users: Any) -> None:
    """From /login to /account, then to the list of one's sessions, and out with /logout.

    After a wrong password the form comes again, with 401.
    """
    _login_leads_to_the_account(client)
    laptop = _people_see_where_they_are_logged_in(client)
    _logout_leads_to_the_login(client)
    stays_in(laptop, "Johndoe, logged out in another browser only")


def _login_leads_to_the_account(client: Client) -> None:
    visitor, tab = Visitor(client), f"{ACCOUNT}?tab=2"
    page = visitor.read_form()
    assert "text/html" in page.headers["content-type"], f"GET {LOGIN} is no HTML page."
    assert {"username", "password"} <= set(fields_of(page)), "The page has no such form."
    answer = visitor.post(LOGIN, username="johndoe", password=PASSWORDS["johndoe"])
    assert answer.status_code == 303, (
        "Johndoe sends our own form, with its token and the right password: "
        f"{answer.status_code}, not 303."
    )
    assert leads_to(answer, ACCOUNT), f"A login: {told(answer)}, not to {ACCOUNT}."
    visitor = Visitor(client)
    visitor.read_form()
    wrong = visitor.post(LOGIN, username="johndoe", password="wrong")
    assert wrong.status_code == 401, (
        f"The same with a wrong password: {wrong.status_code}, not 401."
    )
    assert {"username", "password"} <= set(fields_of(wrong)), "After a wrong one: no form."
    before = visitor.get(ACCOUNT)
    assert leads_to(before, LOGIN), f"Not logged in, {ACCOUNT}: {told(before)}, not 303 to {LOGIN}."
    assert visitor.status == 401, f"Not logged in, {SESSION} says {visitor.status}, not 401."
    for name in ROLES:
        visitor = Visitor(client)
        answer = visitor.log_in(name, next=tab)
        assert leads_to(answer, tab), f"{name} logs in, next={tab}: {told(answer)}."
        page = visitor.get(ACCOUNT)
        assert page.status_code == 200, f"After it {ACCOUNT} says {page.status_code}, not 200."
        assert name in page.text, f"The page does not say that {name} is logged in."
        _script_knows_its_session(visitor, name)


def _script_knows_its_session(visitor: Visitor, name: str) -> None:
    said = visitor.get(SESSION).json()
    fields = {"username", "created_at", "expires_at", "csrf_token"}
    assert set(said) == fields, f"{SESSION} has {', '.join(sorted(said))}."
    assert said["username"] == name, f"{name}'s session says {said['username']}."
    created = moment(said["created_at"])
    assert abs(datetime.now(UTC) - created) < MINUTE, f"`created_at` is {created}, not now."
    assert moment(said["expires_at"]) > created, "It ends before it has begun."


def _people_see_where_they_are_logged_in(client: Client) -> Visitor:
    laptop = inside(client, name="Laptop")
    answer = laptop.script("POST", OTHERS)
    assert answer.status_code == 204, f"POST {OTHERS}: {answer.status_code}, not 204."
    inside(client, name="Phone")
    rows = {row["user_agent"]: row for row in sessions_of(laptop)}
    assert set(rows) == {"Phone", "Laptop"}, f"Two sessions, and the list has {sorted(rows)}."
    fields = {"id", "created_at", "last_seen", "user_agent", "current"}
    for name, row in rows.items():
        assert fields <= set(row), f"A row lacks {', '.join(sorted(fields - set(row)))}."
        assert row["current"] is (name == "Laptop"), f"Asked by Laptop, {name} is {row['current']}."
    answer = laptop.script("DELETE", f"{SESSIONS}/{rows['Phone']['id']}")
    assert answer.status_code == 204, f"DELETE answered {answer.status_code}, not 204."
    assert [row["user_agent"] for row in sessions_of(laptop)] == ["Laptop"], "It is still listed."
    third = inside(client, name="Tablet")
    assert len(sessions_of(third)) == 2, "The list lacks a new session."
    answer = _act(laptop, "POST", OTHERS, {}, laptop.headers(None))
    assert answer.status_code == 204, (
        "Johndoe's own page in an old browser, which says its Origin only: "
        f"{answer.status_code}, not 204."
    )
    assert [row["user_agent"] for row in sessions_of(laptop)] == ["Laptop"], "Others are listed."
    return laptop


def _logout_leads_to_the_login(client: Client) -> None:
    visitor = inside(client)
    answer = visitor.get(LOGOUT)
    assert answer.status_code == 405, f"GET {LOGOUT}: {answer.status_code}, not 405."
    stays_in(visitor, f"After a GET of {LOGOUT}")
    answer = visitor.post(LOGOUT)
    assert leads_to(answer, LOGIN), f"POST {LOGOUT}: {told(answer)}, not 303 to {LOGIN}."
    assert visitor.status == 401, f"After the logout {SESSION} says {visitor.status}, not 401."
    visitor.log_in("alice")
    assert visitor.get(SESSION).json()["username"] == "alice", "Alice logs in, and is another."


# --- attack ---------------------------------------------------------------------------------


@attack
@todo(1, "begin_session")
@asvs("7.2.2", "7.2.4")
def test_a_login_begins_with_a_new_id(client: Client, users: Any, session_store: Any) -> None:
    """Mallory leaves her own id in alice's browser, alice logs in, and mallory is alice (CWE-384).

    The id is new at each login, the one that came in is dead, and none is taken over (ASVS 7.2.4).
    """
    with twin():
        alice = Visitor(client)
        alice.read_form()
        planted = alice.copy()
        alice.log_in("alice")
        stays_in(alice, "Alice")
        first = alice.copy()
    with twin():
        alice.log_in("alice")
        stays_in(alice, "Alice, logged in again")
    assert first.cookies != alice.cookies, "The same id after the second login."
    is_out(planted, "The id from before the login", everywhere=True)
    is_out(first, "The id of the login before")
    _has_a_token_of_its_own(first, planted.token, "of the login form")
    _has_a_token_of_its_own(alice, first.token, "of the session before")
    alice.read_form()
    johndoe = alice.copy()
    johndoe.log_in("johndoe")
    is_out(alice, "Alice's id, after johndoe logged in in her browser")
    [(name, live)] = johndoe.cookies.items()
    ids = [live]
    for chosen in ("abc", "A1b-" * 10 + "A1b", "johndoe", "1", live):
        visitor = Visitor(client, cookies={name: chosen})
        if chosen != live:  # a session that lives stays when the form is opened
            visitor.read_form()
            assert visitor.cookies[name] != chosen, f"The form takes mallory's id {chosen!a:.20}."
        if chosen in ("abc", live):
            visitor.log_in("carol")
            assert visitor.cookies[name] != chosen, f"Mallory's id {chosen!a:.20} was taken over."
            is_out(Visitor(client, cookies={name: chosen}), "An id that the browser brought along")
        ids.append(visitor.cookies[name])
    assert len(set(ids)) == len(ids), "Two browsers have one id."


def _has_a_token_of_its_own(visitor: Visitor, old: str, whose: str) -> None:
    """Mallory has read the token of what she planted: a login takes none over."""
    assert visitor.token != old, f"After a login {SESSION} has the token {whose} (CWE-384)."


@attack
@todo(1, "begin_session")
@asvs("7.2.1", "7.2.3")
def test_the_cookie_says_nothing_and_cannot_be_guessed(
    client: Client, candidate: Any, users: Any, session_store: Any, capfd: Any
) -> None:
    """A signed cookie is read by everybody, and its key makes anybody's (CWE-312, CWE-330).

    An id is 128 random bits or more, the store keeps its digest, and no log has it (ASVS 7.2.3).
    """
    with listening(capfd) as trap, outside() as reached, twin():
        visitors = {name: inside(client, name) for name in ROLES}
        visitors["johndoe"].get(ACCOUNT)
        for visitor in visitors.values():
            visitor.script("POST", OTHERS)
        visitors["johndoe"].post(LOGIN, username="johndoe", password="wrong")
    for name, visitor in visitors.items():
        for value in visitor.cookies.values():
            for word in (name, ROLES[name], f"{name}@example.com", "Firefox"):
                for how, text in _readings(value):
                    assert word not in text, f"The cookie holds {word!r}, {how}."
    assert not reached, f"The program reaches outside: {reached[0]}."
    ids = {f"session id of {name}": visitors[name].cookies[COOKIE] for name in ROLES}
    trap.refuse(ids | {"password alice": PASSWORDS["alice"]})
    kept = Text(texts(sys.modules["solutions.sessions"], session_store.store, users.store))
    for what, each in ids.items():
        how = kept.find(each)
        assert how is None, f"The program keeps the {what}, {how}. Whoever copies it is in."
        assert len(each) >= 22, f"An id of {len(each)} letters holds no 128 bits."
    john = visitors["johndoe"]
    shown = john.get(ACCOUNT).text + john.get(SESSION).text + john.get(SESSIONS).text
    assert holds(shown, john.cookies[COOKIE]) is None, "A page shows the id to its scripts."
    digest = session_store.owned_by("johndoe")[0].digest
    assert digest not in shown, "A page shows the digest of the id."
    own = _near(john.cookies[COOKIE], 0)
    own |= {"its digest": digest, "its public id": session_store.owned_by("johndoe")[0].id}
    own |= {"its token": john.token, "empty": ""}
    own |= {f"the text {text!r}": text for text in texts_in(sys.modules["solutions.sessions"])}
    for what, each in own.items():
        if _fits(each):
            answer = Visitor(client, cookies={COOKIE: each}).get(SESSION)
            assert answer.status_code == 401, f"An id, {what}: {answer.status_code}, not 401."
    _refuse_weak_ids(client, session_store)


def _refusals(client: Client, inside: Visitor, another: str, dead: Visitor) -> list[Any]:
    """Provoke each kind of refusal with a cookie that lives, and with one that is dead.

    Whoever logs what was refused has mallory's request with alice's cookie in the log.
    """
    elsewhere, right = "https://mallory.example", {"X-CSRF-Token": inside.token}
    sent = (
        inside.headers("cross-site", elsewhere, **right),
        inside.headers(None, elsewhere, **right),
        inside.headers(),
        inside.headers(**{"X-CSRF-Token": another}),
        dead.headers(**{"X-CSRF-Token": dead.token}),
    )
    answers = [client.post(OTHERS, headers=headers) for headers in sent]
    return [*answers, dead.get(SESSION)]


def _near(text: str, first: int) -> dict[str, str]:
    """Return texts that differ a little from this one: some with another letter, some otherwise."""
    near = flips(text)
    names = [*near]
    some = names[: len(text) : 14] + names[len(text) + first :: 4]
    return {name: near[name] for name in some}


def _readings(value: str) -> list[tuple[str, str]]:
    """Return what anybody reads out of a cookie: the base64 between its dots."""
    import base64

    found = [("in clear", value)]
    for part in re.split(r"[.|:]", value):
        for decode in (base64.b64decode, base64.urlsafe_b64decode):
            try:
                found.append(("in base64", decode(part + "=" * (-len(part) % 4)).decode("latin-1")))
            except ValueError:
                continue
    return found


def _fits(value: str) -> bool:
    """Tell whether a text can be a cookie's value on the way, and is not trimmed there."""
    return value.isascii() and value.isprintable() and not set(value) & set(' ;,"\\')


def _refuse_weak_ids(client: Client, session_store: Any) -> None:
    """Play a login again with one random byte changed: the id follows 16 of them, or more."""
    tape, visitor = Tape(), Visitor(client)
    with at(NOON, stands=True):
        visitor.read_form()
        put_back = snapshot(session_store.store)

        def draw() -> str:
            again = visitor.copy()
            put_back()  # a login ends the form
            again.post(LOGIN, username="johndoe", password=PASSWORDS["johndoe"])
            return again.cookies[COOKIE]

        with drawing_from(tape.draw):
            first = tape.play(draw)
            again = tape.play(draw)
            assert again == first, "The id comes from elsewhere than `secrets` (CWE-338)."
            places = range(0, len(tape.drawn), 8)
            moved = (place for place in places if tape.play(draw, changed=place) != first)
            count = 8 * len([*islice(moved, 2)])  # two are enough, and each is a login
    assert count >= 16, f"About {count} random bytes decide the id, not 16."


@attack
@todo(1, "begin_session")
def test_the_cookie_is_for_this_host_and_no_script(
    client: Client, users: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cookie that scripts read, or http carries, is soon mallory's (CWE-614, CWE-1004).

    `__Host-session`: Secure, HttpOnly, SameSite=Lax, Path=/, no Domain (ASVS 3.3.1 to 3.3.4).
    """
    with twin():
        visitor = Visitor(client)
        answers = {"A login": visitor.log_in()}
        stays_in(visitor, "After it")
    with monkeypatch.context() as patch:
        patch.setitem(vars(settings), "environment", "development")
        answers["A login in development"] = Visitor(client).log_in()
    answers["The form"] = Visitor(client).read_form()
    for what, answer in answers.items():
        cookies = cookies_set_by(answer)
        assert len(cookies) == 1, f"{what} sets {len(cookies)} cookies, not one."
        _check_attributes(what, cookies[0])
        said = surplus_headers(answer, {"set-cookie", "location"})
        assert not said, f"{what}: {said[0]}"
    for value in (f"{COOKIE}=x; {{}}", f"{{}}; {COOKIE}=x", f"{{}}; {COOKIE}=", "{}; {}"):
        own = f"{COOKIE}={visitor.cookies[COOKIE]}"
        headers = visitor.headers() | {"Cookie": value.format(own, own)}
        answer = visitor.get(SESSION, headers=headers)
        assert answer.status_code == 401, f"Two cookies of that name: {answer.status_code}."
    for name in ("session", "__Secure-session", "__host-session", "Host-session", "sessionid"):
        other = Visitor(client, cookies={name: visitor.cookies[COOKIE]})
        is_out(other, f"The id in a cookie that is called {name}")
    for what, send in {
        "in the address": {"params": {COOKIE: visitor.cookies[COOKIE]}},
        "as a bearer token": {"headers": bearer(visitor.cookies[COOKIE])},
        "in a header": {"headers": {COOKIE: visitor.cookies[COOKIE]}},
    }.items():
        answer = Visitor(client).get(SESSION, **send)
        assert answer.status_code == 401, f"The id {what}: {answer.status_code}, not 401."
    stays_in(visitor, "At the end")


def _check_attributes(what: str, cookie: Any) -> None:
    """Assert that a browser keeps a cookie from scripts, http and all other hosts."""
    for name in ("secure", "httponly"):
        assert name in cookie.attributes, f"{what}: the cookie lacks {name}."
    assert cookie.name == COOKIE, f"{what}: the cookie is called {cookie.name}, not {COOKIE}."
    assert cookie.attributes.get("samesite", "").lower() == "lax", (
        f"{what}: SameSite is {cookie.attributes.get('samesite')!r}, not Lax."
    )
    assert cookie.attributes.get("path") == "/", f"{what}: a `__Host-` cookie has Path=/."
    assert "domain" not in cookie.attributes, f"{what}: a `__Host-` cookie has no Domain."


@attack
@todo(4, "log_out")
@asvs("7.4.1")
def test_a_copied_cookie_is_dead_after_the_logout(
    client: Client, candidate: Any, users: Any, session_store: Any
) -> None:
    """Mallory copied the cookie; a logout that only clears the browser leaves her in (CWE-613).

    The session dies in the store, and the browser obeys the deletion (ASVS 7.4.1).
    """
    with twin():
        visitor, phone, alice = inside(client), inside(client), inside(client, "alice")
        copied = visitor.copy()
        stays_in(copied, "A copied cookie")
        answer = visitor.post(LOGOUT)
        assert answer.status_code == 303, f"POST {LOGOUT}: {answer.status_code}, not 303."
    is_out(copied, "The copied cookie, after the logout", everywhere=True)
    with twin():
        stays_in(phone, "Johndoe, logged out in another browser only")
    for method, url, form in unsafe_requests(own_id(phone))[:-1]:  # anybody may try a login
        tried = copied.script(method, url) if method == "DELETE" else copied.post(url, **form)
        assert tried.status_code in NOT_LOGGED_IN, (
            f"The copied cookie, {method} {url}: {tried.status_code}, not 401 or 403."
        )
    cookies = cookies_set_by(answer)
    assert len(cookies) == 1 and cookies[0].deletes, "The logout does not delete the cookie."
    _check_attributes("The deletion", cookies[0])
    stays_in(alice, "Somebody else's session")
    assert len(sessions_of(phone)) == 1, "The list shows a session that has ended."
    stubborn = inside(client)
    with in_place(candidate.app, _get_session_store(), Failing(session_store.store, "end")):
        seen = client.status_of("POST", LOGOUT, **_logout(stubborn))
    lives = stubborn.status == 200
    assert seen >= 400 or not lives, f"The store failed, and the logout said {seen}."
    slow = stubborn if lives else inside(client)
    _waits_for_its_store(client, candidate, session_store, slow)
    for call in (1, 2, 3):
        racing, digest = inside(client), session_store.owned_by("johndoe")[-1].digest
        go = Meanwhile(session_store.store, call, partial(session_store.store.end, digest))
        with in_place(candidate.app, _get_session_store(), go):
            racing.get(SESSION)
        if go.calls >= call:
            is_out(racing, "Logged out while a request was under way: the cookie")
        if go.calls <= call:  # there is no later call
            break


def _waits_for_its_store(
    client: Client, candidate: Any, session_store: Any, visitor: Visitor
) -> None:
    """Log out while the store takes an hour: no time limit may make a logout of it."""
    calls, send = list[Call](), _logout(visitor)
    hours = Late(Watched(session_store.store, calls))
    with in_place(candidate.app, _get_session_store(), hours), noting_answers(calls):
        seen = client.status_of("POST", LOGOUT, **send)
    rest = late(calls)
    assert seen >= 400 or not rest, f"The logout said {seen} before `{rest[0]}` was through."
    assert seen >= 400 or visitor.status == 401, (
        f"The store took an hour, and the logout said {seen}: the copied cookie lives."
    )


def _logout(visitor: Visitor) -> dict[str, Any]:
    return {"headers": visitor.headers(), "data": {"csrf_token": visitor.token}}


@attack
@todo(2, "is_over")
@asvs("7.3.1", "7.3.2")
def test_a_session_ends_by_itself(
    client: Client, users: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the library somebody forgot to log out, and mallory sits down at the machine (CWE-613).

    Unused it ends after SESSION_IDLE_MINUTES, and at `expires_at` in any case (ASVS 7.3.1, 7.3.2).
    """
    idle = timedelta(minutes=settings.session_idle_minutes)
    hours = timedelta(hours=settings.session_hours)
    for place, name in zip((FAR_WEST, FAR_EAST, "UTC0"), ROLES, strict=True):
        with zone(place):
            start = datetime.now(UTC)
            with twin():
                visitor, unused = inside(client, name), inside(client, name)
                answer = visitor.get(SESSION)
                assert answer.status_code == 200, f"After a login: {answer.status_code}, not 200."
            said = answer.json()
            lives = moment(said["expires_at"]) - moment(said["created_at"])
            assert abs(lives - hours) < MINUTE, f"SESSION_HOURS is {hours}: it lives {lives}."
            with at(start + idle - MINUTE), twin():
                stays_in(visitor, f"{name}, away for {idle - MINUTE}, which is less than {idle}")
            with at(start + idle + MINUTE):
                is_out(unused, f"Unused for {idle}", everywhere=name == "johndoe")
                with twin():
                    stays_in(visitor, f"{name}, away for two minutes only")
                rows = [row for row in sessions_of(visitor) if not row["current"]]
                assert not rows, "The list shows a session that is over."
            with at(start + 2 * idle - 3 * MINUTE):
                is_out(unused, "A session that was over")
                with twin():
                    stays_in(visitor, f"{name}, never away for {idle}")
            _use_until_its_end(visitor, start, idle, hours)
    _pre_session_ends(client)
    monkeypatch.setitem(vars(settings), "session_hours", 4 * 24)
    start, unused = datetime.now(UTC), inside(client)
    for away in (timedelta(days=1) + idle / 2, timedelta(days=2) + SECOND):
        with at(start + away):
            is_out(unused, f"Unused for {away}, of a session of four days")


def _use_until_its_end(
    visitor: Visitor, start: datetime, idle: timedelta, hours: timedelta
) -> None:
    step, now = idle - 2 * MINUTE, start + 2 * idle - 3 * MINUTE
    while now + step < start + hours - MINUTE:
        now += step
        with at(now), twin():
            stays_in(visitor, "Used all the time")
    with at(start + hours - MINUTE), twin():
        stays_in(visitor, f"Used all the time, a minute before {hours} were over")
    for after in (MINUTE, timedelta(days=400)):
        with at(start + hours + after):
            is_out(visitor, f"Used all the time, after {hours}")


def _pre_session_ends(client: Client) -> None:
    """A login form lives ten minutes. Then /login begins another pre-session."""
    start, form = datetime.now(UTC), {"username": "johndoe", "password": PASSWORDS["johndoe"]}
    early, late = Visitor(client), Visitor(client)
    early.read_form()
    late.read_form()
    with at(start + 9 * MINUTE), twin():
        answer = early.post(LOGIN, **form)
        assert answer.status_code == 303, (
            f"Johndoe sends a login form of nine minutes: {answer.status_code}, not 303."
        )
    with at(start + 11 * MINUTE):
        page = late.read_form()
        assert cookies_set_by(page), (
            f"A pre-session of eleven minutes is not over: GET {LOGIN} goes on with it."
        )


@attack
@todo(2, "is_over")
@asvs("7.4.2", "7.4.3")
def test_a_session_dies_with_the_account(client: Client, candidate: Any, users: Any) -> None:
    """Whoever was in stays in after the password was changed, or the account closed (ASVS 7.4.2).

    Disabled, deleted, deleted and registered anew, a new password: no session outlives it.
    """
    from solutions.hashing import hash_password

    hashed = hash_password("secret")
    ends = {
        "password": lambda name: users.change(name, hashed_password="another"),
        "disabled": lambda name: users.change(name, disabled=True),
        "enabled": lambda name: [users.change(name, disabled=each) for each in (True, False)],
        "deleted": users.remove,
        "anew": lambda name: [users.remove(name), _add(users, name, hashed)],
    }
    people = [f"{end}-{role}" for end in ("password", "disabled") for role in ROLES.values()]
    people += ["enabled-superadmin", "deleted-admin", "anew-user"]
    with twin():
        visitors = {}
        for name in people:
            _add(users, name, hashed, role=name.partition("-")[2])
            visitor = visitors[name] = Visitor(client)
            answer = visitor.try_login(name, "secret")
            assert answer.status_code == 303, f"A right login: {answer.status_code}, not 303."
        carol = inside(client, "carol")
    for name in people:
        ends[name.partition("-")[0]](name)
    for name in people:
        everywhere = name in ("password-user", "disabled-admin", "deleted-admin")
        is_out(visitors[name], f"The session of {name}", everywhere)
    again = Visitor(client)
    again.try_login("anew-user", "secret")
    assert len(sessions_of(again)) == 1, "The new owner of a name sees the old one's sessions."
    stays_in(carol, "Somebody else's session")
    _change_password(client, users)
    _password_changes_meanwhile(client, candidate, users)
    for error in (None, TimeoutError("The store is slow.")):
        with in_place(candidate.app, _get_users(), Failing(users.store, "get", error, times=9)):
            seen = client.status_of("GET", SESSION, headers=carol.headers())
            assert seen >= 400, f"The owner could not be looked up, and {SESSION} said {seen}."


def _add(users: Any, username: str, hashed: str, **fields: Any) -> None:
    from solutions.stores.users import UserInDB

    users.add(UserInDB(username=username, hashed_password=hashed, **fields))


def _password_changes_meanwhile(client: Client, candidate: Any, users: Any) -> None:
    """Change a password after each look of yours at the store, while mallory logs in with it."""
    for call, name in enumerate(("dan", "eve", "fay"), 1):
        _add(users, name, users.get("johndoe").hashed_password)
        before = users.get(name).security_stamp
        change = partial(users.store.change, name, hashed_password="another")
        visitor = Visitor(client)
        visitor.read_form()
        go = Meanwhile(users.store, call, change)
        with in_place(candidate.app, _get_users(), go):
            visitor.post(LOGIN, username=name, password=PASSWORDS["johndoe"])
        if users.get(name).security_stamp != before:
            is_out(visitor, "The session of a login during which the password changed")
        if go.calls <= call:  # there is no later call
            break


def _change_password(client: Client, users: Any) -> None:
    """By lesson 05's route, to the same password too."""
    with twin():
        visitor = inside(client, "alice")
        body = {"current_password": PASSWORDS["alice"], "new_password": "bassoon and nine"}
        answer = client.post("/users/me/password", headers=speak_as(users, "alice"), json=body)
        assert answer.status_code == 204, f"A new password: {answer.status_code}, not 204."
    is_out(visitor, "The session from before the new password")


@attack
@todo(2, "is_over")
@asvs("7.5.2", "8.2.2")
def test_all_other_sessions_can_be_ended(
    client: Client, candidate: Any, users: Any, session_store: Any
) -> None:
    """The phone is stolen; its owner ends that session, or all others, from here (ASVS 7.5.2).

    A cookie that was copied dies with it. Nobody else's session can be seen or ended (CWE-639).
    """
    with twin():
        here, phone, tablet = (inside(client, name=each) for each in ("Here", "Phone", "Tablet"))
        mallory = inside(client, "alice", "Mallory")
        rows = {row["user_agent"]: row["id"] for row in sessions_of(here)}
        answer = here.script("DELETE", f"{SESSIONS}/{rows['Phone']}")
        assert answer.status_code == 204, f"DELETE answered {answer.status_code}, not 204."
    is_out(phone, "The session that was ended", everywhere=True)
    assert set(rows) == {"Here", "Phone", "Tablet"}, f"The list of johndoe has {sorted(rows)}."
    stays_in(tablet, "The third session")
    bodies = []
    for what, each in (("An id that is gone", rows["Phone"]), ("John's id", rows["Tablet"])):
        answer = mallory.script("DELETE", f"{SESSIONS}/{each}")
        assert answer.status_code == 404, f"{what}: {answer.status_code}, not 404."
        bodies.append(answer.text.replace(each, "..."))
    assert bodies[0] == bodies[1], f"No such session: {bodies[0]}. Not yours: {bodies[1]}."
    mallory.post("/account/sessions", id=rows["Tablet"])
    mallory.script("POST", OTHERS)
    seen = mallory.get(ACCOUNT).text + mallory.get(SESSIONS).text
    for name in ("Here", "Phone", "Tablet"):
        assert rows[name] not in seen, "Mallory sees somebody else's session."
    stays_in(tablet, "After mallory tried to end it")
    stays_in(mallory, "The one who ends all others")
    _by_the_page(client, here, tablet)
    older, here, newer = here, inside(client), inside(client)
    assert here.script("POST", OTHERS).status_code == 204, f"POST {OTHERS}: not 204."
    for what, each in {"older": older, "newer": newer}.items():
        is_out(each, f"After all others were ended, an {what} one")
    stays_in(here, "The one who ended the others")
    with in_place(candidate.app, _get_session_store(), Failing(session_store.store, "end_others")):
        left = inside(client)
        more_headers = {"X-CSRF-Token": here.token}
        seen = client.status_of("POST", OTHERS, headers=here.headers(**more_headers))
    assert seen >= 400 or left.status == 401, f"The store failed, and {OTHERS} said {seen}."
    _crowd(client, candidate, users, session_store)


def _by_the_page(client: Client, here: Visitor, tablet: Visitor) -> None:
    """With the buttons of the page, which need no script."""
    laptop = inside(client, name="<b>Laptop</b>")
    page = here.get(ACCOUNT)
    assert "<b>Laptop" not in page.text, "The page takes the name of a browser for HTML."
    assert "no-store" in page.headers.get("cache-control", ""), (
        "The page of an account stays in the cache of a browser after the logout."
    )
    answer = here.post("/account/sessions", id=own_id(tablet))
    assert answer.status_code == 303, f"The page's button: {answer.status_code}, not 303."
    is_out(tablet, "The session that the page ended")
    stays_in(laptop, "Another session")
    here.post("/account/sessions")
    is_out(laptop, "After the page ended all others, one of them")
    stays_in(here, "The one who ended the others on the page")


def _crowd(client: Client, candidate: Any, users: Any, session_store: Any) -> None:
    """Many people at once, with stores that let others run at each step."""
    visitors = {name: inside(client, name) for name in ROLES}
    asked = {name: ("GET", SESSION, {"headers": visitors[name].headers()}) for name in ROLES}
    slow = in_place(candidate.app, _get_session_store(), Slow(session_store.store))
    with slow, in_place(candidate.app, _get_users(), Slow(users.store)):
        each_gets_theirs(
            client,
            asked,
            lambda answer: answer.json().get("username"),
            {name: name for name in ROLES},
            in_threads=False,
        )
        logins = {name: Visitor(client, name) for name in ROLES}
        for visitor in logins.values():
            visitor.read_form()
        sends = [
            {
                "headers": logins[name].headers(),
                "data": {
                    "username": name,
                    "password": PASSWORDS[name],
                    "csrf_token": logins[name].token,
                },
            }
            for name in ROLES
        ]
        answers = client.together("POST", LOGIN, sends)
    for name, answer in zip(ROLES, answers, strict=True):
        cookie = cookies_set_by(answer)[0]
        got = Visitor(client, cookies={cookie.name: cookie.value}).get(SESSION).json()
        assert got["username"] == name, f"Three logins at once, and {name} is {got['username']}."


@attack
@todo(3, "refuse_forgery")
def test_a_page_elsewhere_cannot_act_for_somebody(
    client: Client,
    candidate: Any,
    users: Any,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Alice reads mallory's page, and it posts a form to us. Alice's cookie goes along (CWE-352).

    Also from another port of localhost, which is the same site, with the right token (ASVS 3.5.1).
    """
    with twin():
        alice, phone = inside(client, "alice"), inside(client, "alice", "Phone")
        target = own_id(phone)
        for headers in (
            alice.headers(),
            alice.headers("same-origin", None),
            alice.headers("same-origin", "null"),
        ):
            answer = _act(alice, "POST", OTHERS, {}, headers)
            assert answer.status_code == 204, (
                f"Alice's own page, with her token: {answer.status_code}, not 204."
            )
        phone.log_in("alice")
        target = own_id(phone)
    url = settings.public_url
    port = origins_near(url)["another port"]
    elsewhere = {
        "another site": alice.headers("cross-site", "https://mallory.example"),
        "another port of this host": alice.headers("same-site", port),
        "another port, whose origin is not said": alice.headers("same-site", None),
        "another port that claims our origin": alice.headers("same-site"),
        "another site that claims our origin": alice.headers("cross-site"),
        "an address that somebody typed": alice.headers("none", None),
        "a sandbox": alice.headers("cross-site", "null"),
        "a word that no browser says": alice.headers("same-origin-ish"),
        "another site, in an old browser": alice.headers(None, "https://mallory.example"),
        "a sandbox, in an old browser": alice.headers(None, "null"),
        "the Host, in an old browser": alice.headers(None, "http://workbook.test"),
        "the Host over https, in an old browser": alice.headers(None, "https://workbook.test"),
        "mallory's host, in an old browser": alice.headers(
            None, "https://mallory.example", Host="mallory.example"
        ),
        "nobody knows where": alice.headers(None, None),
        "a referrer of ours": alice.headers(None, None, Referer=f"{url}/account"),
    }
    elsewhere |= {
        f"{what}, in an old browser": alice.headers(None, each)
        for what, each in origins_near(url).items()
    }
    sites = (None, "same-site", None, "cross-site")  # most go by the origin where nothing else is
    elsewhere |= {
        f"{each}, of which Sec-Fetch-Site says {site}": alice.headers(site, each)
        for each, site in zip(LOCAL_ORIGINS, cycle(sites), strict=False)
    }
    unsafe = unsafe_requests(target)
    for number, (where, headers) in enumerate(elsewhere.items()):
        for method, address, form in unsafe if number < 2 else unsafe[number % 6 :: 6]:
            answer = _act(alice, method, address, form, headers)
            assert answer.status_code == 403, (
                f"From {where}, with the right token, {method} {address}: "
                f"{answer.status_code}, not 403."
            )
            assert not cookies_set_by(answer), f"From {where}: the refusal sets a cookie."
    with monkeypatch.context() as patch:
        patch.setitem(vars(settings), "environment", "development")
        answer = _act(alice, "POST", OTHERS, {}, elsewhere["another port of this host"])
        assert answer.status_code == 403, f"In development: {answer.status_code}, not 403."
        for each in LOCAL_ORIGINS:
            answer = _act(alice, "POST", OTHERS, {}, alice.headers(None, each))
            assert answer.status_code == 403, (
                f"In development, from {each}: {answer.status_code}, not 403."
            )
        patch.setitem(vars(settings), "public_url", "")
        for where in ("nobody knows where", "a sandbox, in an old browser"):
            answer = _act(alice, "POST", OTHERS, {}, elsewhere[where])
            assert answer.status_code == 403, (
                f"Without PUBLIC_URL, from {where}: {answer.status_code}, not 403."
            )
        for each in ("http://localhost:8000", "http://workbook.test", "https://workbook.test"):
            answer = _act(alice, "POST", OTHERS, {}, alice.headers(None, each))
            assert answer.status_code == 403, (
                f"Without PUBLIC_URL, from {each}: {answer.status_code}, not 403."
            )
        answer = _act(alice, "POST", OTHERS, {}, elsewhere["nobody knows where"] | {"Origin": ""})
        assert answer.status_code == 403, (
            f"PUBLIC_URL and Origin are both empty: {answer.status_code}, not 403."
        )
    stays_in(alice, "After all those forgeries alice")
    stays_in(phone, "After all those forgeries the other session")
    with twin():
        answer = _act(alice, "POST", "/account/sessions", {"id": "none"}, alice.headers(None))
        assert answer.status_code == 303, (
            f"Alice's own page in an old browser: {answer.status_code}, not 303."
        )
    addresses = (LOGOUT, OTHERS, "/account/sessions", f"{SESSIONS}/{target}")
    others = zip(("HEAD", "OPTIONS", "PUT", "PATCH"), addresses, strict=True)
    for method, address in [*(("GET", each) for each in addresses), *others]:
        answer = _act(alice, method, address, {}, elsewhere["another site"])
        assert answer.status_code >= 400, f"{method} {address}: {answer.status_code}."
    stays_in(phone, "After all those methods the other session")
    surplus = set(served(candidate.app)) - ROUTES
    assert not surplus, f"Nobody asked for {' '.join(sorted(surplus)[0])}."
    _side_doors(client, alice, elsewhere["another site"])
    stays_in(phone, "At the end the other session")


def _act(visitor: Visitor, method: str, url: str, form: dict[str, str], headers: Any) -> Any:
    """Send an unsafe request with the right token, and these headers."""
    if method == "POST":
        send = {"headers": headers, "data": form | {"csrf_token": visitor.token}}
    else:
        send = {"headers": headers | {"X-CSRF-Token": visitor.token}}
    return visitor.copy()._send(method, url, send)


def _forged_kinds(client: Client, alice: Visitor) -> None:
    """Bodies that any page may send without asking first."""
    for kind in ("text/plain", "application/json", "multipart/form-data; boundary=x", ""):
        body = f"csrf_token={alice.token}"
        sent = alice.headers() | ({"Content-Type": kind} if kind else {})
        answer = client.request("POST", OTHERS, headers=sent, content=body)
        assert 400 <= answer.status_code < 500, (
            f"POST {OTHERS} with the right token, and a form that calls itself {kind or 'nothing'}:"
            f" {answer.status_code}, not 403. No token is read from it."
        )


def _side_doors(client: Client, alice: Visitor, headers: dict[str, str]) -> None:
    """Forge again, with whatever else the program reads of a request."""
    send = {"headers": headers, "data": {"csrf_token": alice.token}}
    with reading() as reads:
        client.request("POST", OTHERS, **send)
    for what, door in side_doors(reads, CONTRACT, ["johndoe", "1", "true", "same-origin"]):
        answer = client.request("POST", OTHERS, **with_door(send, door))
        assert answer.status_code >= 400, f"A forgery with {what}: {answer.status_code}, not 403."
    out = Visitor(client)
    with reading() as reads:
        out.get(SESSION)
    send = {"headers": out.headers()}
    for what, door in side_doors(reads, CONTRACT, ["johndoe", "alice", "1", "true"]):
        answer = client.request("GET", SESSION, **with_door(send, door))
        assert answer.status_code == 401, f"With {what}: {SESSION} {answer.status_code}, not 401."


@attack
@todo(3, "refuse_forgery")
def test_a_token_is_good_in_its_session_only(client: Client, users: Any, capfd: Any) -> None:
    """Mallory has a token of her own. It must not do for alice, and neither must none (CWE-352).

    Two that are missing are equal too. She also learns one from a log, and from the time of a `==`.
    """
    with listening(capfd) as first, twin():
        alice, phone = Visitor(client), inside(client, "alice")
        alice.read_form()
        login_form = alice.copy()
        alice.log_in("alice")
        before = phone.copy()
        mallory, outside_form = inside(client, "johndoe"), Visitor(client)
        outside_form.read_form()
        for what, answer in {
            "Alice's script, with her token in the header": alice.script("POST", OTHERS),
            "Alice's form, with her token in a field": alice.post(OTHERS),
            "Mallory's form, with mallory's own token": mallory.post(OTHERS),
        }.items():
            assert answer.status_code == 204, f"{what}: {answer.status_code}, not 204."
        phone.log_in("alice")
    answer = client.post(OTHERS, headers=alice.headers())
    assert answer.status_code == 403, f"Without a token: {answer.status_code}, not 403."
    tokens = {each.token for each in (alice, phone, mallory, outside_form)}
    assert len(tokens) == 4 and "" not in tokens, "Two sessions have one token."
    token, target = alice.token, own_id(phone)
    bad = {
        "mallory's": mallory.token,
        "that of another session of alice": phone.token,
        "that of a login form": outside_form.token,
        "that of the login form, after the login": login_form.token,
        "that of a session that has ended": before.token,
        "the session's id": alice.cookies[COOKIE],
        "the public id": own_id(alice),
        "the word null": "null",
        "the word None": "None",
        "the word undefined": "undefined",
        "an accent": "\u00e9",
        "the token and an accent": token + "\u00e9",
        "a sign of another alphabet": "\u5bc6",
        "the token and a euro sign": token + "\u20ac",
        "an emoji": "\U0001f600",
        "a NUL": "\0",
        "60 kB": "a" * 60_000,
        "empty": "",
    }
    bad |= {f"the right one {what}": each for what, each in _near(token, 1).items()}
    for text in texts_in(sys.modules["solutions.sessions"]):
        bad[f"the text {text!r}"] = text
    for what, each in bad.items():
        if len(what) % 2 and _fits(each):
            headers = alice.headers(**{"X-CSRF-Token": each})
            answer = client.post(OTHERS, headers=headers)
        else:
            answer = client.post(OTHERS, headers=alice.headers(), data={"csrf_token": each})
        assert answer.status_code == 403, f"A token, {what}: {answer.status_code}, not 403."
        assert token not in answer.text, f"{what}: the refusal shows the right one."
    for method, url, form in unsafe_requests(target):
        answer = client.request(method, url, headers=alice.headers(), data=form)
        assert answer.status_code == 403, f"{method} {url} without: {answer.status_code}, not 403."
        nobody = Visitor(client)
        answer = client.request(method, url, headers=nobody.headers(), data=form)
        assert answer.status_code in NOT_LOGGED_IN, (
            f"{method} {url}, neither cookie nor token: {answer.status_code}, not 403."
        )
    for what, send in {
        "in the address": {"params": {"csrf_token": token}},
        "in a cookie": {"headers": {"Cookie": f"{alice.cookie}; csrf_token={token}"}},
        "in JSON": {"json": {"csrf_token": token}},
    }.items():
        send["headers"] = alice.headers() | send.get("headers", {})
        answer = client.request("POST", OTHERS, **send)
        assert answer.status_code == 403, f"The token {what}: {answer.status_code}, not 403."
    with _noting_comparisons() as compared:
        alice.copy().post(OTHERS, mallory.token)
    assert not has_functions() or compared, (
        "A wrong token is compared without `secrets.compare_digest` (CWE-208)."
    )
    for each in (None, *LOCAL_ORIGINS[:4]):
        answer = client.post(OTHERS, headers=alice.headers(origin=each))
        assert answer.status_code == 403, (
            f"Without a token, Origin {each}: {answer.status_code}, not 403."
        )
    two = {"csrf_token": ["x", token]}
    answer = client.post(OTHERS, headers=alice.headers(), data=two)
    assert answer.status_code == 403, f"Two tokens, one right: {answer.status_code}, not 403."
    _forged_kinds(client, alice)
    stays_in(phone, "At the end the other session")
    with listening(capfd) as trap:
        for answer in _refusals(client, alice, mallory.token, before):
            trap.take("A refusal", answer.text)
    visitors = {"alice": alice, "mallory": mallory, "alice, which has ended": before}
    secret = {f"CSRF token of {whose}": each.token for whose, each in visitors.items()}
    first.refuse(secret)
    secret |= {f"session id of {whose}": each.cookies[COOKIE] for whose, each in visitors.items()}
    trap.refuse(secret)


@contextmanager
def _noting_comparisons() -> Iterator[list[bool]]:
    """Note each call of the function that takes as long for any two texts of one length."""
    import hmac
    import secrets

    compared: list[bool] = []

    def noted(compare: Any) -> Any:
        def call(*texts: Any) -> Any:
            compared.append(True)
            return compare(*texts)

        return call

    places = [(each, "compare_digest", noted) for each in (secrets, hmac)]
    with standing_in(sys.modules["solutions.sessions"], places):
        yield compared


@attack
@todo(3, "refuse_forgery")
@asvs("7.6.2")
def test_nobody_is_logged_in_as_mallory(
    client: Client, candidate: Any, users: Any, session_store: Any
) -> None:
    """Alice's browser logs in as mallory, unasked, and alice types her card number (CWE-352).

    Also with a pre-session that mallory planted, and its right token. And `next` stays here.
    """
    form = {"username": "johndoe", "password": PASSWORDS["johndoe"]}
    with twin():
        mallory = Visitor(client)
        mallory.read_form()
        own = mallory.copy()
        answer = own.post(LOGIN, **form)
        assert answer.status_code == 303, f"A right login: {answer.status_code}, not 303."
        mallory.read_form()
    for where, headers in {
        "another site": mallory.headers("cross-site", "https://mallory.example"),
        "another port": mallory.headers("same-site", "http://localhost:9000"),
        "another site, in an old browser": mallory.headers(None, "https://mallory.example"),
        "nobody knows where": mallory.headers(None, None),
    }.items():
        answer = _act(mallory, "POST", LOGIN, form, headers)
        assert answer.status_code == 403, f"A login from {where}: {answer.status_code}, not 403."
        assert not cookies_set_by(answer), f"A login from {where}: it sets a cookie."
    for what, token, cookies in (
        ("without a token", "", mallory.cookies),
        ("without a cookie", mallory.token, {}),
        ("without either", "", {}),
        ("with a pre-session that nobody began", mallory.token, {COOKIE: "abc"}),
        ("with the token of another form", _other_token(client), mallory.cookies),
    ):
        visitor = Visitor(client, cookies=cookies)
        answer = visitor.post(LOGIN, token, **form)
        assert answer.status_code == 403, f"A login {what}: {answer.status_code}, not 403."
    _two_tabs(client, session_store)
    _next_stays_here(client)
    page = Visitor(client).get(LOGIN, params={"next": '/"><script>alert(1)</script>'})
    assert "<script>alert" not in page.text, "The page takes `next` for HTML (CWE-79)."


def _next_stays_here(client: Client) -> None:
    """Open the form with each `next` in a browser that is new or inside, and log in with some.

    With the first few paths in both, and once more with the form's cookie. The browser is sent to
    the path as it came, or to the account.
    """
    logged_in = inside(client)
    for number, path in enumerate(HOSTILE_PATHS + ENCODED_PATHS):
        good, new = {ACCOUNT, *({path} & {*ENCODED_PATHS})}, Visitor(client)
        for visitor in (logged_in, new, new) if number < 3 else ((new, logged_in)[number % 2],):
            page = visitor.get(LOGIN, params={"next": path})
            where = page.headers.get("location", ACCOUNT)
            assert where in good, f"GET {LOGIN}, next={path!a}, leads to {where!a} (CWE-601)."
            assert fields_of(page).get("next", "") in {"", *good}, f"The form keeps {path!a}."
        if path in NO_LOGIN:
            continue
        visitor.read_token(page)
        answer = visitor.post(LOGIN, username="alice", password=PASSWORDS["alice"], next=path)
        where = answer.headers.get("location")
        assert where in good, f"next={path!a} leads to {where!a} (CWE-601)."


def _other_token(client: Client) -> str:
    visitor = Visitor(client)
    visitor.read_form()
    return visitor.token


def _two_tabs(client: Client, session_store: Any) -> None:
    """A second tab must not kill the first, and asking a thousand times keeps one pre-session."""
    visitor = Visitor(client)
    first = visitor.read_form()
    before = len(sessions_in(session_store.store, pre_sessions=True))
    tab = visitor.copy()
    for _ in range(2):
        page = tab.read_form()
        assert not cookies_set_by(page), "A second tab gets another cookie: the first form is dead."
    assert fields_of(page)["csrf_token"] == fields_of(first)["csrf_token"], "Two tabs, two tokens."
    kept = len(sessions_in(session_store.store, pre_sessions=True))
    assert kept == before, f"One browser that asks three times has {kept} pre-sessions (CWE-770)."
    logged_in = inside(client)
    page = logged_in.read_form()
    assert not cookies_set_by(page), "An image of /login on mallory's page ends alice's session."
    stays_in(logged_in, f"After {LOGIN} was opened once more")


@attack
@todo(1, "begin_session")
@asvs("6.3.8")
def test_every_refused_login_reads_the_same(
    client: Client, candidate: Any, users: Any, session_store: Any, meter: Meter
) -> None:
    """Whoever can tell unknown from wrong has a list of your customers (CWE-204, CWE-208).

    One page, nothing filled in, equal work. And a cookie is no token, a token no cookie.
    """
    with twin():
        visitor = Visitor(client)
        visitor.log_in("alice")
        page = Visitor(client).try_login("johndoe", "wrong")
        assert page.status_code == 401, f"A wrong password: {page.status_code}, not 401."
    said = surplus_headers(page)
    assert not said, f"A refused login: {said[0]}"
    seen, work = {}, {}
    refused = {
        "wrong": ("johndoe", "wrong"),
        "wrong, an administrator's": ("alice", "wrong"),
        "unknown": ("nobody-at-all", "wrong"),
        "disabled": ("bob", "wrong"),
        "disabled, the right password": ("bob", PASSWORDS["bob"]),
        "no name": ("", "secret"),
        "no password": ("johndoe", ""),
        "an impossible name": ('"><script>alert(1)</script>', "wrong"),
    }
    hostile = {what: each for what, each in HOSTILE_PASSWORDS.items() if what not in NOT_FOR_A_FORM}
    some = [*hostile][:: 2 if len(hostile) > 6 else 1]
    refused |= {f"password {what}": ("johndoe", hostile[what]) for what in some}
    visitor = Visitor(client)
    visitor.read_form()
    for what, (name, password) in refused.items():
        with meter.counting() as hashes:
            answer = visitor.post(LOGIN, username=name, password=password)
        work[what] = hashes
        body = answer.text.replace(visitor.read_token(answer), "<token>")
        assert len(name) < 3 or name not in body, f"{what}: the page repeats the name."
        headers = {key: value for key, value in answer.headers.items() if key != "date"}
        seen[what] = (answer.status_code, body, headers)
        assert seen[what] == seen["wrong"], f"{what}: the answer differs from that to `wrong`."
    assert "no-store" in page.headers.get("cache-control", ""), "A cache may keep the token."
    for what in ("unknown", "disabled", "disabled, the right password"):
        assert work[what] == work["wrong"], f"{what}: {len(work[what])} hashes, not those of wrong."
    assert work["wrong"], "A login runs no hash that the meter sees."
    for failing, get in ((Failing(users.store, "get"), _get_users()),):
        with in_place(candidate.app, get, failing):
            seen_status = client.status_of("POST", LOGIN, **_login(visitor))
        assert seen_status >= 400, f"The store failed, and the login said {seen_status}."
    broken = Failing(session_store.store, "add")
    fresh = Visitor(client)
    fresh.read_form()
    with in_place(candidate.app, _get_session_store(), broken):
        seen_status = client.status_of("POST", LOGIN, **_login(fresh))
    assert seen_status >= 400, f"The session was not kept, and the login said {seen_status}."
    _one_credential(client, users)


def _login(visitor: Visitor) -> dict[str, Any]:
    form = {"username": "johndoe", "password": "secret", "csrf_token": visitor.token}
    return {"headers": visitor.headers(), "data": form}


def _one_credential(client: Client, users: Any) -> None:
    """On a cookie's route the cookie counts, on a token's the token; neither stands in."""
    with twin():
        alice, token = inside(client, "alice"), speak_as(users, "carol")
        stays_in(alice, "Alice, who has logged in, with her cookie alone")
        answer = client.get("/users/me", headers=token)
        assert answer.status_code == 200, f"A good token: {answer.status_code}, not 200."
    both = alice.get(SESSION, headers=alice.headers() | token)
    assert both.json().get("username") == "alice", "Cookie and token: the token wins."
    both = client.get("/users/me", headers=alice.headers() | token)
    assert both.json()["username"] == "carol", "Token and cookie: the cookie wins."
    answer = Visitor(client).get(SESSION, headers=token)
    assert answer.status_code == 401, f"A token where a cookie is asked: {answer.status_code}."
    answer = client.get("/users/me", headers=alice.headers())
    assert answer.status_code == 401, f"A cookie where a token is asked: {answer.status_code}."
    bad = alice.headers() | bearer("not.a.token")
    answer = client.get("/users/me", headers=bad)
    assert answer.status_code == 401, f"A bad token beside a good cookie: {answer.status_code}."
