"""Lesson 10: hardening. Four tests of what you build, then mallory.

For maintainers
Goal: what the lessons before have built stands in the open: guesses are counted, answers say to
browsers what they may do with them, and what happened is written down, also when mallory types.
Teach: where a wrapper has to stand so that it sees every answer, who may say an address, to count
before the check and on what, refusing when the counters are down, logs that nobody forges.
Do not teach: counting in Redis, TLS, proxies (the text shows them, `tests/` try them), captchas,
firewalls, alarms, logs of reading.
"""

import asyncio
import json
import logging
import re
import secrets
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from contextvars import ContextVar
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from inspect import unwrap
from itertools import combinations, product
from operator import itemgetter
from typing import Any
from urllib.parse import quote

import pytest

from lessons.harness.any_answer import Pairs, noting_what_comes_out, turns_for
from lessons.harness.audit_lines import Lines, at_the_root, audit_lines, nobody_else
from lessons.harness.bare import (
    OWN,
    START,
    Bare,
    Turn,
    answer_of,
    answer_of_all_kinds,
    asked_of_all_kinds,
    scope_of,
)
from lessons.harness.brought_ids import (
    COOKIES,
    NAMES,
    OF_VENDORS,
    QUERY,
    SENT,
    is_brought,
    names_among,
    one_of_each_shape,
)
from lessons.harness.client import Client
from lessons.harness.clock import FAR_WEST, all_clocks_stand, at, later, zone
from lessons.harness.counted import (
    ALICE,
    SAMPLES,
    alike,
    bits_in,
    chance_names,
    chance_places,
    close_names,
    close_places,
    counts_of,
    keys_of,
    names_amid,
    names_within,
    possible_names,
    texts_in,
)
from lessons.harness.counted import HOME as AT_HOME
from lessons.harness.elsewhere import (
    CAN_FORK,
    elsewhere,
    other_surroundings,
    run_elsewhere,
    run_in_a_fork,
)
from lessons.harness.failing import (
    DOWN,
    Failing,
    Late,
    Slow,
    StoreDown,
    Watched,
    an_hour_of_the_loop,
    in_place,
)
from lessons.harness.front import Place, guesses_until_refused, names, places
from lessons.harness.hops import strangers, walks
from lessons.harness.lifelike import TEXTS
from lessons.harness.memory import is_changed, remembered
from lessons.harness.meter import Meter
from lessons.harness.people import PASSWORDS, bearer, speak_as
from lessons.harness.randomness import Tape, bytes_drawn, bytes_that_count, drawing_from
from lessons.harness.routes import served
from lessons.harness.scripted import Scripted
from lessons.harness.trap import Trap, listening
from lessons.harness.verdicts import only_raises, twin
from lessons.harness.visitors import ACCOUNT, LOGIN, LOGOUT, Visitor, cookies_set_by
from lessons.harness.wire import CALLER

asvs = pytest.mark.asvs
attack = pytest.mark.attack
todo = pytest.mark.todo

HOME, CAFE = "203.0.113.7", "198.51.100.77"
MINUTE = timedelta(minutes=1)
FIELDS = {"what", "who", "whom", "outcome", "address", "request_id", "at"}
ERIN = {"username": "erin", "password": "trombone + seven"}
CORS, HSTS = "access-control-", "strict-transport-security"
KNOWN = {"content-length", "content-type", "cache-control", "set-cookie", "location", "allow"}
KNOWN |= {"www-authenticate", "vary", "retry-after", "access-control-allow-origin"}
KNOWN |= {"access-control-allow-methods", "access-control-allow-headers"}
KNOWN |= {"access-control-max-age", "access-control-expose-headers"}
FORMS = {"A login", "A logout"}  # as browsers send them
CHANGED = {"scheme": "https", "path": "/", "headers": [], "client": None, "root_path": "/docs"}
OURS = {"content-security-policy", "referrer-policy", "x-content-type-options", "x-request-id"}
ASKED_BEFORE = {
    "origin": "https://mallory.example",
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization, x-api-key",
    "access-control-request-private-network": "true",
    "access-control-request-local-network": "true",
    "access-control-request-credentials": "true",
    "sec-fetch-mode": "cors",
    "sec-fetch-dest": "iframe",
    "sec-purpose": "prefetch",
    "service-worker": "script",
    "x-requested-with": "XMLHttpRequest",
    "accept": "text/html",
    "upgrade-insecure-requests": "1",
    "cookie": "a=1",
}
SPELLINGS = ("alice", "Alice", "je\u017fs", "a/b")  # these four from everywhere
SPELLINGS += ("ALICE", "jess", "JESS", "Je\u017fS", "je\u00df", "je\u1e9e", "office", "o\ufb03ce")
SPELLINGS += (
    "OFFICE",
    "of\ufb01ce",
    "o\ufb00ice",
    "waffle",
    "wa\ufb04e",
    "wa\ufb00le",
    "waf\ufb02e",
)
SPELLINGS += ("ffi", "\ufb03", "FFI", "fit", "\ufb01t")  # the second is one letter
SPELLINGS += ("first", "fir\ufb05", "fir\ufb06", "\ufb01rst", "mark", "mar\u212a", "MAR\u212a")
SPELLINGS += ("stra\u00dfe", "strasse", "STRA\u1e9eE", "admin", "root", "carol", "johndoe", "test")
SPELLINGS += ("none", "None", "null", "unknown", "impossible", "invalid", "nobody", "anonymous")
SPELLINGS += ("other", "others", "---", "...", "___", "000", "name", "bad", "default", "empty")
SPELLINGS += (
    "guest",
    "user",
    "any",
    "all",
    "nil",
    "n.a.",
    "undefined",
    "misc",
    "no-name",
    "-none-",
)
SPELLINGS += ("", "x", "x" * 64_000, "\uff41lice", "alice\u0301", "al\u0131ce", "al\u0130ce")
SPELLINGS += (" alice", "alice ", "alice\x00", "alice\u00ad", "al\u0456ce", "a|b", "a b", "%61lice")
SPELLINGS += ("al.ice", "al_ice", "al-ice", "alice.", "alice@shop.example", "\ud800", "a" * 33)
ODD_PEERS = ("169.254.169.254", "100.64.0.1", "0.0.0.0", "fe80::1", "fd00::6", "fd00:0:0:1::5")
ODD_PEERS += ("2001:db8::1", "2001:db8::2", "2001:db8:0:1::1", "64:ff9b::1", "224.0.0.1", "8.8.8.8")
ODD_HOPS = (*ODD_PEERS[:4], "127.0.0.1", "::1", "::", "224.0.0.1", "255.255.255.255", "192.0.0.1")
METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "QUERY")
STATUSES = (200, 201, 204, 206, 301, 302, 303, 304, 307, 308, 400, 401, 403, 404, 405, 413, 418)
STATUSES += (421, 422, 426, 429, 500, 502, 503, 599)
PATHS = ("/health", "/healthz", "/livez", "/readyz", "/ping", "/status", "/metrics", "/favicon.ico")
PATHS += ("/robots.txt", "/static/a.css", "/.well-known/security.txt", "/docs", "/token", "/api/x")
AGENTS = (b"kube-probe/1.31", b"ELB-HealthChecker/2.0", b"GoogleHC/1.0", b"curl/8.5.0", b"", b"Go")
PEERS = (HOME, "127.0.0.1", "::1", "10.250.0.5", "192.168.1.1", "172.16.0.1", "fd00::5", None)
APART = [("198.51.7.21", "eve"), ("8.51.7.21", "eve19"), ("98.51.7.21", "eve1")]
APART += [("198.51.7.22", "eve1"), ("1.1.1.12", "ivy"), ("1.1.1.1", "2ivy")]
APART += [("2001:db8:9::1", "ivy"), ("2001:db8:9:1::1", "ivy"), ("1.1.1.1", "1.1.1.1")]
APART += [("10.0.0.12", "1.1.1"), ("12.0.0.1", "1.10"), ("1.1.1.1", "ivy2"), ("1.1.1.12", "1.1.1")]
WHOM = "zither-4712"
ENOUGH_DRAWN = 14  # bytes of an id: as in a UUID
AT_ONCE = 100  # attempts
LEAST_DRAWN = 8  # bytes: as in an id of 16 characters
WRAPPED = "with_headers(app)"
NOT_WALKED = ("app", "routers", "__builtins__")  # large, and made before the first request
BRINGERS = [f"1{number}1" for number in range(5)]  # what the requests differ in that bring it
MANY = 12_000
WRITTEN = ("The log", "The output", "The error output", "What was printed", "The syslog")
QUOTED = secrets.token_hex(8)  # in errors of the counters; no other text has it
ENOUGH, ENOUGH_FOR_PLACES = 120, 60  # bits of a key: as of a digest, of the /64 of a line


@pytest.fixture
def web(client: Client, settings: Any) -> Client:
    """The app over https."""
    client.speak_https()
    client.keep_no_cookies()
    return client


@pytest.fixture(autouse=True)
def _keep_the_screen_clean() -> Iterator[None]:
    """An app that finds no handler at the audit log prints it."""
    with audit_lines():
        yield


@pytest.fixture
def audit(candidate: Any) -> Iterator[Lines]:
    """What the app writes to its audit log."""
    with audit_lines() as lines:
        yield lines


def _get_counters() -> Any:
    from solutions.support.counters import get_counters

    return get_counters


def has_functions() -> bool:
    """Tell whether the file has this lesson's functions: naive.py has other ones."""
    return hasattr(sys.modules["solutions.hardening"], "begin_attempt")


def last(audit: Lines) -> dict[str, Any]:
    """Return the event that was written last."""
    events = audit.events
    assert events, "Nothing stands in the audit log."
    return events[-1]


def proxy_of(settings: Any, number: int = 5) -> str:
    """Return the address of a proxy of ours."""
    return str(settings.trusted_proxies.partition("/")[0].rpartition(".")[0] + f".{number}")


def new_proxy(settings: Any) -> str:
    """Return the address of a proxy of ours in IPv6."""
    return str(settings.trusted_proxies.split()[1].partition("/")[0] + "5")


# --- build ----------------------------------------------------------------------------------


@todo(1, "with_headers")
def test_answers_have_headers_and_an_id(web: Client, users: Any) -> None:
    """A page, a list for those inside, and a refusal have the headers, and an id of their own."""
    seen = set()
    for url, headers in (
        (LOGIN, {}),
        ("/users/me", speak_as(users, "johndoe")),
        ("/users/me", {}),
        ("/account", {}),
    ):
        answer = web.get(url, headers=headers)
        _is_covered(answer, f"GET {url}")
        seen.add(answer.headers["x-request-id"])
    assert len(seen) == 4, "Two requests have one X-Request-ID."
    assert answer.headers.get("location") == LOGIN, "A header of the answer is lost."


def _is_covered(answer: Any, what: str, https: bool = True) -> None:
    """Assert that an answer has each header once, as it should be."""
    expected = {"x-content-type-options": "nosniff", "referrer-policy": "same-origin"}
    for name in (*expected, "content-security-policy", "x-request-id"):
        found = answer.headers.get_list(name)
        assert len(found) == 1, f"{what}, a {answer.status_code}: {len(found)} headers {name}."
    for name, value in expected.items():
        said = answer.headers[name].strip().lower()
        assert said == value, f"{what}: {name} is {said}, not {value}."
    assert _directives(answer).get("frame-ancestors") == "'none'", (
        f"{what}: another site may frame it: {answer.headers['content-security-policy']}."
    )
    assert len(answer.headers["x-request-id"]) >= 16, f"{what}: the X-Request-ID is too short."
    hsts = answer.headers.get_list("strict-transport-security")
    assert len(hsts) == int(https), (
        f"{what}, over {'https' if https else 'http'}: {len(hsts)} headers HSTS."
    )
    age = re.search(r"(?:^|;)\s*max-age\s*=\s*\"?(\d+)", hsts[0], re.I) if hsts else None
    assert not https or (age and int(age[1]) >= 31_536_000), f"{what}: HSTS says {hsts}."


def _directives(answer: Any) -> dict[str, str]:
    """Return a policy's directives. Of two of one name the first counts, as in a browser."""
    found: dict[str, str] = {}
    for part in answer.headers["content-security-policy"].split(";"):
        name, _, value = part.strip().partition(" ")
        found.setdefault(name.lower(), value.strip())
    return found


@todo(2, "client_address")
def test_an_address_is_what_our_proxies_have_heard(
    web: Client, candidate: Any, audit: Lines, settings: Any
) -> None:
    """It is that of the socket, or the one that a proxy of ours has heard."""
    proxy, other, sixth = proxy_of(settings), proxy_of(settings, 77), new_proxy(settings)
    for peer, forwarded, expected in (
        (HOME, (), HOME),
        (proxy, (HOME,), HOME),
        (proxy, (f"{HOME}, {other}",), HOME),
        (sixth, (f"{HOME}, {other} , {proxy}",), HOME),
        (proxy, ("2001:db8::7",), "2001:db8::7"),
    ):
        said = _address(web, candidate, audit, peer, *forwarded)
        what = f"From {peer}, {' and '.join(forwarded) or 'nothing'} forwarded"
        assert said == expected, f"{what}: the address is {said or None!r}, not {expected!r}."


def _address(web: Client, candidate: Any, audit: Lines, peer: Any, *forwarded: str) -> str:
    """Return which address a request has: by the function, or where there is none by its event."""
    if has_functions():
        from solutions.support.addresses import read_address

        try:
            found = candidate.client_address(read_address(peer or ""), list(forwarded))
        except RecursionError:
            count = ",".join(forwarded).count(",") + 1
            raise AssertionError(
                f"Of {count} hops each is a call inside of the one before: RecursionError."
            ) from None
        return str(found or "")
    audit.text = ""
    web.post("/revoke", **Place(web, peer, forwarded).sent(data={"token": "x"}))
    return str(last(audit)["address"])


@todo(3, "write_event")
def test_a_change_is_an_event(web: Client, users: Any, audit: Lines) -> None:
    """A change, and the attempt of one, is a line: who, what, whom, outcome, where, when, id."""
    home, carol = Place(web, HOME), speak_as(users, "carol")
    answer = home.ask("POST", "/register", json=ERIN)
    assert answer.status_code == 201
    event = _event(audit, "register", "", "erin")
    assert event["request_id"] == answer.headers["x-request-id"], (
        "The event has another id than X-Request-ID of the answer."
    )
    home.ask("PATCH", "/admin/users/johndoe", json={"role": "admin"}, headers=carol)
    _event(audit, "account", "carol", "johndoe")
    erin = speak_as(users, "erin")
    home.ask("PATCH", "/admin/users/carol", json={"role": "user"}, headers=erin)
    _event(audit, "account", "erin", "carol", "refused")
    home.ask("PATCH", "/admin/users/carol", json={"role": "user"})
    _event(audit, "account", "", "carol", "refused")
    key = {"name": "report", "scopes": ["me"], "expires_in_days": 3}
    made = home.ask("POST", "/api-keys", json=key, headers=erin).json()
    _event(audit, "key", "erin", made["id"])
    home.ask("DELETE", f"/api-keys/{made['id']}", headers=erin)
    _event(audit, "key-end", "erin", made["id"])
    home.ask("GET", "/users/me", headers=erin)
    home.ask("GET", LOGIN)
    assert not audit.text, f"To read something is no event: {audit.text}"


def _event(
    audit: Lines, what: str, who: str, whom: str | None, outcome: str = "ok"
) -> dict[str, Any]:
    """Assert that one event has been written since the last, and what it says; return it."""
    said, audit.text = audit.events, ""
    assert len(said) == 1, f"{what}: {len(said)} events, not one."
    assert set(said[0]) == FIELDS, f"The event has the fields {', '.join(sorted(said[0]))}."
    expected = {"what": what, "who": who, "outcome": outcome, "address": HOME}
    expected |= {} if whom is None else {"whom": whom}
    for name, value in expected.items():
        assert said[0][name] == value, f"{what}: `{name}` is {said[0][name]!r}, not {value!r}."
    when = datetime.fromisoformat(said[0]["at"])
    assert when.utcoffset() == timedelta(0), f"`at` is {said[0]['at']}, and that is not UTC."
    assert abs(when - datetime.now(UTC)) < MINUTE, f"`at` is {when}, not now."
    return said[0]


@todo(4, "begin_attempt")
@asvs("6.3.1", "6.3.4")
def test_too_many_wrong_passwords_are_refused_for_a_while(web: Client, settings: Any) -> None:
    """After so many wrong ones a 429 says when to come back. Then it goes on. So at /login."""
    home, most = Place(web, HOME), settings.attempts_per_login
    for number in range(most):
        assert home.guess() == 400, f"Wrong password {number + 1} of {most} is no 400."
    answer = home.log_in(password="wrong")
    assert answer.status_code == 429, (
        f"Wrong password {most + 1}, {most} are allowed: {answer.status_code}, not 429."
    )
    wait = _wait_of(answer)
    assert 0 < wait <= settings.attempts_minutes * 60, f"Retry-After is {wait}."
    assert set(answer.json()) == {"error", "error_description"}, f"The 429 is {answer.text}."
    assert Place(web, CAFE).log_in("alice").status_code == 200, "Alice cannot log in elsewhere."
    with later(timedelta(seconds=wait)):
        status = home.guess()
        assert status == 400, (
            f"Retry-After said {wait} seconds: then a wrong password is a {status}, not a 400."
        )
        assert home.log_in().status_code == 200, "Later the right password is refused."
    browser = Visitor(web)
    for _ in range(most):
        assert browser.try_login("carol", "wrong").status_code == 401
    answer = browser.try_login("carol", "wrong")
    assert answer.status_code == 429, f"{LOGIN}, one too many: {answer.status_code}, not 429."
    _wait_of(answer)


def _wait_of(answer: Any) -> int:
    """Return what Retry-After says."""
    said = answer.headers.get("retry-after", "")
    assert said.isdecimal(), f"The {answer.status_code} has Retry-After {said!r}, and no seconds."
    return int(said)


# --- attack ---------------------------------------------------------------------------------


@attack
@todo(1, "with_headers")
def test_no_answer_comes_without_the_headers(
    web: Client, candidate: Any, users: Any, settings: Any
) -> None:
    """Mallory frames an error page, or has a browser guess what it is (CWE-1021, CWE-693).

    Errors are answers, too: 404, 405, 413, 422, 429, 500, and those of a stream (ASVS 3.4.3 to
    3.4.6). None may be kept for others because of them, none opens CORS or sets a cookie.
    """
    with twin():
        _is_covered(web.get(LOGIN), f"GET {LOGIN}")
    _whatever_answers(web, candidate, settings)
    origin = settings.cors_origins.split()[0]
    _add_odd_routes(candidate.app)
    with noting_what_comes_out() as inside:
        kinds = _all_kinds(web, users, settings)
    for what, answer in kinds.items():
        _is_covered(answer, what)
        _adds_nothing_else(answer, what)
        if has_functions():
            _adds_only_ours(answer, what, inside)
    assert _starts(web, candidate.app), "The app does not start: what is not http is lost."
    for url in ("/stream", "/nowhere", LOGIN):
        plain = Place(web, HOME).ask("GET", url, scope={"scheme": "http"})
        _is_covered(plain, f"GET {url}", https=False)
    behind = Place(web, proxy_of(settings), (HOME,))
    secure = {"headers": {"X-Forwarded-Proto": "https"}, "scope": {"scheme": "http"}}
    _is_covered(behind.ask("GET", LOGIN, **secure), "Behind a proxy that has heard https")
    assert not web.get("/nowhere", headers={"Origin": "https://mallory.example"}).headers.get(
        "access-control-allow-origin"
    ), "Every answer has Access-Control-Allow-Origin, for mallory's pages, too."
    seen = web.get("/nowhere", headers={"Origin": origin}).headers
    assert seen.get("access-control-allow-origin") == origin, "CORS does not know its origin."
    assert _directives(web.get(LOGIN)).get("default-src") == "'none'", (
        "The page of /login lets everything in: default-src is not 'none'."
    )


def _bare(candidate: Any) -> Bare:
    from solutions.support.audit import current_request_id

    headers_of = unwrap(candidate.headers_of)  # not each call is a step of the test
    return Bare(candidate.with_headers, current_request_id.get, headers_of)


def _whatever_answers(web: Client, candidate: Any, settings: Any) -> None:
    """Any app, any request: the answer gets the headers of `headers_of`, and is left as it was."""
    if not has_functions():
        return
    asked = [(name.encode(), value.encode()) for name, value in ASKED_BEFORE.items()]
    host = (b"host", b"workbook.test")
    plain = [answer_of(status, b"one", b"two") for status in STATUSES]
    turns = [Turn(scope_of(method=method, headers=[host, *asked])) for method in METHODS]
    turns += [Turn(scope_of(headers=[host, *asked]), answer) for answer in plain]
    turns += [Turn(scope_of(path=path, raw_path=path.encode())) for path in PATHS]
    turns += [Turn(scope_of(headers=[host, (b"user-agent", each)])) for each in AGENTS]
    for peer in (*PEERS, proxy_of(settings), new_proxy(settings)):
        for scheme in ("http", "https"):
            turns.append(Turn(scope_of(client=peer and (peer, 9), scheme=scheme, headers=asked)))
    brought = [(name.lower().encode(), b"brought-4711") for name in NAMES]
    turns.append(Turn(scope_of(headers=[host, *brought])))
    turns.append(Turn(scope_of(), answer_of_all_kinds(), asked=asked_of_all_kinds()))
    bare = _bare(candidate)
    _take_each(web, bare, turns)
    _the_app_learns_what_happens_around_it(web, candidate)
    _its_errors_go_on(web, candidate)
    _any_route_may_answer(web, candidate)
    _an_answer_may_serve_twice(web, candidate)
    for kind in ("websocket", "lifespan", "odd"):
        said = [{"type": f"{kind}.accept", "headers": list(OWN)}]
        said += [{"type": f"{kind}.http.response.start", "status": 403, "headers": list(OWN)}]
        said += answer_of_all_kinds()
        turn = Turn(scope_of(type=kind), said, asked=asked_of_all_kinds())
        web.run(bare.take(turn))
        assert turn.is_same and turn.sent == said, f"{kind}: it does not go on as it is."


def _the_app_learns_what_happens_around_it(web: Client, candidate: Any) -> None:
    """A visitor has gone, or the server stops; and what stands around the app is said to it."""
    around, seen = ContextVar("around", default=""), list[str]()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(around.get())
        try:
            await send(answer_of()[0])
            await asyncio.Event().wait()
        except (OSError, asyncio.CancelledError) as error:
            seen.append(type(error).__name__)
            raise

    async def ask(is_gone: bool) -> None:
        async def send(message: Any) -> None:
            if is_gone:
                raise OSError("The client has gone.")

        around.set("the word of whoever stands around")
        asked = asyncio.create_task(wrapped(scope_of(), send, send))
        for _ in range(9):
            await asyncio.sleep(0)
        asked.cancel()
        await asyncio.wait([asked], timeout=2)

    wrapped = candidate.with_headers(app)
    for is_gone, name, what in (
        (True, "OSError", "The server cannot send any more, and says so"),
        (False, "CancelledError", "The server gives a request up"),
    ):
        seen.clear()
        web.run(ask(is_gone))
        assert seen[1:] == [name], f"{what}: the app does not learn it, and goes on."
        assert seen[0], "A context variable that was set around the app is not set inside."


def _its_errors_go_on(web: Client, candidate: Any) -> None:
    """Whoever stands around an app learns that it has failed, also in the middle of an answer."""

    async def fail(scope: Any, receive: Any, send: Any) -> None:
        for message in answer_of(200, b"one")[: scope["begun"]]:
            await send(message)
        raise StoreDown

    async def learns_it(begun: int) -> bool:
        async def send(message: Any) -> None:
            pass

        try:
            await wrapped(scope_of(begun=begun), send, send)
        except StoreDown:
            return True
        return False

    wrapped = candidate.with_headers(fail)
    for begun in range(4):
        assert web.run(learns_it(begun)), (
            f"An app fails after {begun} messages, and its error ends in with_headers: who stands "
            "around it learns nothing, and no log does."
        )


def _take_each(web: Client, bare: Bare, turns: list[Turn]) -> None:
    """Take turns one after the other, all in one task, and look whether each is as it was."""

    async def take_all() -> None:
        for turn in turns:
            await bare.take(turn)

    web.run(take_all())
    for turn in turns:
        _is_left_as_it_was(turn)


def _is_left_as_it_was(turn: Turn) -> None:
    scope = turn.scope
    (status,) = (each["status"] for each in turn.answer if each["type"] == START)
    what = f"{scope['method']} {scope['path']}, a {status}, {scope['scheme']}, {scope['client']}"
    assert turn.is_same, f"{what}: the app gets another request than the one that came."
    passed = [each["type"] for each in turn.sent]
    for message in turn.answer:
        assert message["type"] in passed, f"{what}: a message {message['type']} does not go on."
    assert not turn.kept_back, f"{what}: a part of the answer is kept back, so streams wait."
    for given, sent in zip(turn.answer, turn.sent, strict=True):
        changed = {"headers": sent["headers"]} if given["type"] == START else {}
        assert sent == given | changed, f"{what}: a message {given['type']} goes on as another one."
    assert turn.inside or turn.id_at_the_end == turn.request_id, (
        f"{what}: when all was sent the id is {turn.id_at_the_end!r}. What fails then is logged so."
    )
    ours = {name.lower(): value for name, value in turn.ours.items()}
    said = turn.headers()
    found = [pair for pair in said if pair[0] in ours]
    assert sorted(found) == sorted(ours.items()), f"{what}: of our headers it has {found}."
    others = [pair for pair in said if pair[0] not in ours]
    own = [pair for pair in turn.own() if pair[0] not in ours]
    assert _by_name(others) == _by_name(own), (
        f"{what}: beside ours it has {others}, and the app said {own}."
    )


def _by_name(pairs: list[Any]) -> list[Any]:
    """Sort headers by their names: the order of one name's values counts (RFC 9110, 5.3)."""
    return sorted(pairs, key=itemgetter(0))


def _any_route_may_answer(web: Client, candidate: Any) -> None:
    """Each route with many statuses, and other things by chance: ours come, and no more."""
    turns = list(turns_for(sorted(served(candidate.app))))
    _take_each(web, _bare(candidate), turns)
    for turn in turns:
        names = {name.lower() for name in turn.ours}
        expected = OURS | ({HSTS} if turn.scope["scheme"] == "https" else set())
        assert names == expected, f"`headers_of` has the headers {', '.join(sorted(names))}."


def _an_answer_may_serve_twice(web: Client, candidate: Any) -> None:
    """An app may keep an answer and send it to many, also at once: all of it is its own."""
    from fastapi.responses import JSONResponse

    kept = JSONResponse({}, headers={"Referrer-Policy": "unsafe-url", "Vary": "accept"})
    same = answer_of(200, b"one")

    async def say(scope: Any, receive: Any, send: Any) -> None:
        for message in same:
            await send(message)

    for what, app, own in (
        ("one Response", kept, lambda: kept.raw_headers),
        ("one message", say, lambda: same),
    ):
        before = deepcopy(own())
        found = web.run(_asked_at_once(candidate.with_headers(app)))
        assert len({each[b"x-request-id"] for each in found.values()}) == len(found), (
            f"An app answers many with {what}: two of them get one X-Request-ID."
        )
        for name, headers in found.items():
            assert (HSTS.encode() in headers) == name.startswith("https"), (
                f"An app answers over https and http with {what}: HSTS of the one is the other's."
            )
        assert own() == before, f"An app answers many with {what}, and what it keeps changes."


async def _asked_at_once(app: Any) -> dict[str, dict[bytes, bytes]]:
    """Return the headers of answers of an app that begin all over again while one waits."""
    found: dict[str, dict[bytes, bytes]] = {}

    async def hear() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def ask(name: str, may_go_on: asyncio.Event) -> None:
        async def send(message: Any) -> None:
            await may_go_on.wait()
            if message["type"] == START:
                found[name] = dict(message["headers"])

        await app(scope_of(scheme=re.split(r"\W", name)[0]), hear, send)

    now, later = asyncio.Event(), asyncio.Event()
    now.set()
    slow = asyncio.create_task(ask("https, slow", later))
    await asyncio.sleep(0)
    for name in ("http", "http again", "https", "http after https"):
        await asyncio.create_task(ask(name, now))
    later.set()
    await slow
    return found


def _starts(web: Client, app: Any) -> bool:
    """Tell whether an app does what it does before it serves: a server asks it to."""
    said: list[str] = []

    async def receive() -> dict[str, Any]:
        return {"type": "lifespan.shutdown" if said else "lifespan.startup"}

    async def send(message: Any) -> None:
        said.append(message["type"])

    web.run(app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, receive, send))
    return "lifespan.startup.complete" in said


def _add_odd_routes(app: Any) -> None:
    from fastapi import Response
    from fastapi.responses import StreamingResponse

    async def parts() -> Any:
        yield b"one"
        yield b"two"

    async def stream() -> Response:
        return StreamingResponse(parts())

    async def framed() -> Response:
        headers = {"Content-Security-Policy": "frame-ancestors *", "X-Request-ID": "mine"}
        return Response("ok", headers=headers | {"Referrer-Policy": "unsafe-url"})

    async def broken(word: str = "") -> Response:
        raise ValueError(f"could not parse {word}")

    app.router.routes.insert(0, app.router.route_class("/stream", stream, methods=["GET"]))
    app.router.routes.insert(0, app.router.route_class("/framed", framed, methods=["GET"]))
    app.router.routes.insert(0, app.router.route_class("/broken", broken, methods=["GET", "POST"]))


def _all_kinds(web: Client, users: Any, settings: Any) -> dict[str, Any]:
    """Return an answer of each kind that the app has."""
    huge = b"x" * (settings.max_body_bytes + 1)
    other_host = {"Host": "mallory.example"}
    asked = {"Origin": settings.cors_origins.split()[0], "Access-Control-Request-Method": "POST"}
    browser = Visitor(web)
    return {
        "A login": browser.log_in("johndoe"),
        "A page for who is in": browser.read_form(ACCOUNT),
        "A logout": browser.post(LOGOUT),
        "An unknown path": web.get("/nowhere"),
        "An unknown method": web.request("PUT", LOGIN),
        "HEAD": web.request("HEAD", LOGIN),
        "A body that is too large": web.post("/register", content=huge),
        "A bad registration": web.post("/register", json={"username": "x"}),
        "A refused token": web.get("/users/me", headers=bearer("not.a.token")),
        "A forged form": web.post(LOGOUT),
        "A good answer": web.get("/users/me", headers=speak_as(users, "johndoe")),
        "A stream": web.get("/stream"),
        "A route with headers of its own": web.get("/framed"),
        "An error that nobody foresaw": web.seen("GET", "/broken"),
        "A document in production": web.get("/docs"),
        "Another host": web.get(LOGIN, headers=other_host),
        "What CORS asks before": web.request("OPTIONS", "/token", headers=asked),
        "A provider that is not there": web.get("/login/nobody"),
    }


def _adds_only_ours(answer: Any, what: str, inside: dict[str, Pairs]) -> None:
    """Assert that an answer has what the app inside has said, and our headers, and no others."""
    said = [(name.lower(), value) for name, value in answer.headers.raw]
    others = [pair for pair in said if pair[0].decode() not in OURS | {HSTS}]
    own = inside.get(answer.headers["x-request-id"])
    assert own is not None, f"{what}: the X-Request-ID is not the id that the app has."
    own = [pair for pair in own if pair[0].decode() not in OURS | {HSTS}]
    assert _by_name(others) == _by_name(own), (
        f"{what}: beside ours it has {others}, and the app said {own}."
    )
    odd = {name.decode() for name, _ in own} - KNOWN
    assert not odd, f"{what}: it has the header {', '.join(odd)}, which nothing here needs."


def _adds_nothing_else(answer: Any, what: str) -> None:
    kept = answer.headers.get("cache-control", "")
    assert not re.search(r"public|immutable|max-age=[\"']?0*[1-9]", kept, re.I), (
        f"{what}: Cache-Control is {kept}. A cache gives it to others."
    )
    sets = answer.headers.get("set-cookie")
    assert not sets or what in {"HEAD", *FORMS}, f"{what}: it sets a cookie."
    server = answer.headers.get("server") or answer.headers.get("x-powered-by")
    assert not server, f"{what}: it says which program answers: {server}."
    if what not in {"What CORS asks before", *FORMS}:
        opened = [name for name in answer.headers if name.lower().startswith(CORS)]
        assert not opened, f"{what}: it has the header {opened[0]}, and nobody sent an Origin."


@attack
@todo(1, "with_headers")
def test_an_error_says_nothing_but_its_id(
    web: Client, candidate: Any, settings: Any, capfd: Any
) -> None:
    """Mallory reads in a traceback how we work, and in the log what others typed (CWE-209).

    The id of a 500 stands in the log beside its frames. No visitor chooses an id (ASVS 16.5.1).
    """
    _add_odd_routes(candidate.app)
    secret = "trombone-4711"
    with listening(capfd) as trap:
        answer = web.seen("GET", f"/broken?word={secret}")
    assert answer.status_code == 500, f"A route that raises: {answer.status_code}, not 500."
    for word in (secret, "ValueError", "Traceback", "parse", ".py"):
        assert word not in answer.text, f"The 500 says {answer.text:.80}."
    request_id = answer.headers.get("x-request-id", "")
    assert request_id, "The 500 has no X-Request-ID."
    assert request_id in answer.text, "The 500 does not say its id, for the people who read it."
    records = [text for _, text in trap.pieces if request_id in text]
    assert any("broken" in text for text in records), (
        "No record of the log has the id of the 500 and the function where it came from."
    )
    assert not any(secret in text for text in records), (
        "The log beside the id quotes the error's message, and with it the input."
    )
    own = {"X-Request-ID": "mallory-" + "1" * 24, "X-Correlation-ID": "mallory"}
    ids = [request_id]
    for _ in range(3):
        ids.append(web.get(LOGIN, headers=own).headers["x-request-id"])
    assert "mallory" not in " ".join(ids), "A visitor chose the X-Request-ID."
    ids += _ids_of_those_who_send_one(web, candidate, settings)
    with at(datetime.now(UTC), stands=True):
        ids += [web.get("/nowhere").headers["x-request-id"] for _ in range(6)]
    assert len(set(ids)) == len(ids), "Two requests have one X-Request-ID."
    if has_functions():
        _nothing_is_kept_of_a_request(web, candidate)
    _overlapping_requests_stay_apart(web, candidate)
    _what_happens_meanwhile_changes_nothing(web, candidate)


def _ids_of_those_who_send_one(web: Client, candidate: Any, settings: Any) -> list[str]:
    """Return the ids of requests that bring ids along, also where a proxy of ours hands them on."""
    ids = []
    peers = (proxy_of(settings), new_proxy(settings), HOME, "127.0.0.1", "::1", "10.250.0.5")
    for number, peer in enumerate(peers):
        place = Place(web, peer, (HOME,))
        for sent in SENT[number : number + 1] if has_functions() else SENT:
            own = dict.fromkeys(("X-Request-ID", "X-Correlation-ID", "traceparent"), sent)
            said = place.ask("GET", "/nowhere", headers=own).headers["x-request-id"]
            _is_not_sent(said, peer)
            ids.append(said)
    if has_functions():
        ids += _ids_in_all_headers(web, candidate, peers)
        ids += _ids_amid_others(web, candidate)
        _another_process_has_other_ids()
        _few_bytes_are_not_all(web, candidate)
        _a_fork_has_other_ids(web, candidate)
    return ids


def _is_not_sent(request_id: str, peer: str) -> None:
    assert not is_brought(request_id), f"From {peer}: a visitor chose the id, or a part of it."


def _ids_in_all_headers(web: Client, candidate: Any, peers: tuple[str, ...]) -> list[str]:
    """Return the ids of requests with each header and each value; from proxies each alone, too.

    Of the texts in the file each may be a header that it reads.
    """
    bare, ids, size = _bare(candidate), [], len(SENT)
    vendors = [*OF_VENDORS.items()]
    mixed = [
        [(name, SENT[(at + first) % size]) for at, name in enumerate(NAMES)]
        for first in range(size)
    ]
    lone = [[(name, value)] for name in NAMES for value in SENT]
    requests = [(peer, headers) for peer in peers for headers in (*mixed, vendors)]
    for number, headers in enumerate((*lone, *([pair] for pair in vendors))):
        requests.append((peers[number % 2], headers))
    sent = [(peer, {"headers": [_raw(pair) for pair in headers]}) for peer, headers in requests]
    read = names_among(texts_in(sys.modules["solutions.hardening"]))
    for number, value in enumerate(one_of_each_shape()):
        of_all = product(map(str.encode, {*read, *OF_VENDORS}), [value.encode()])
        sent.append((peers[number % 2], {"headers": [*of_all]}))
    for value in SENT:
        own: dict[str, Any] = {"headers": [_raw(("cookie", COOKIES.format(value)))]}
        own |= {"path": f"/{value}", "raw_path": f"/{value}".encode()}
        sent.append((peers[0], own | {"query_string": QUERY.format(value).encode()}))

    async def take_all() -> None:  # one task: an id of before is still in its context
        for peer, own in sent:
            turn = Turn(scope_of(client=(peer, 9), **own))
            ids.append((await bare.take(turn)).request_id)
            said = dict(turn.headers())["x-request-id"]
            assert said == ids[-1], f"The app has the id {ids[-1]}, and its answer {said}."
            _is_not_sent(said, peer)

    web.run(take_all())
    return ids


def _raw(pair: tuple[str, str]) -> tuple[bytes, bytes]:
    return pair[0].encode(), pair[1].encode()


def _ids_amid_others(web: Client, candidate: Any) -> list[str]:
    """Return the ids of requests that begin where an id is set: another's, or by whomever."""
    from solutions.support.audit import current_request_id

    bare, before = _bare(candidate), ["m" * 5, *SENT]
    inner = [Turn(scope_of(), meanwhile=[Turn(scope_of())]) for _ in range(3)]
    turns = [*inner, *(each.meanwhile[0] for each in inner), Turn(scope_of(), meanwhile=inner[:])]

    async def take_after(earlier: str) -> Turn:
        current_request_id.set(earlier)
        return await bare.take(Turn(scope_of()))

    async def take_all() -> None:  # as tasks: what is set there stays there
        await asyncio.create_task(bare.take(turns[-1]))
        for each in before:
            turns.append(await asyncio.create_task(take_after(each)))

    web.run(take_all())
    ids = [turn.request_id for turn in turns]
    assert not {*ids} & {*before}, "A request has the id that was set before it began."
    assert len({*ids}) == len(ids), "A request that begins amid another one has its id."
    for turn in turns:
        _is_left_as_it_was(turn)
    return ids


def _another_process_has_other_ids() -> None:
    """In two containers a process may have one number, and they start at one time."""
    from solutions.support.audit import current_request_id

    ids: list[str] = []

    async def take_some(module: Any) -> list[str]:
        bare = Bare(module.with_headers, current_request_id.get, module.headers_of)
        return [(await bare.take(Turn(scope_of()))).request_id for _ in range(20)]

    with all_clocks_stand():
        for _ in range(3):
            with elsewhere("solutions.hardening", nullcontext()) as module:
                ids += run_elsewhere(take_some(module))
    assert len({*ids}) == len(ids), (
        "Another process, or this one after a start, gives the same ids once more."
    )


def _few_bytes_are_not_all(web: Client, candidate: Any) -> None:
    """Of ids by 32 bits of chance two are alike on the first day. A clock or a count may help."""
    bare, tape = _bare(candidate), Tape()

    def take() -> str:
        return str(web.run(bare.take(Turn(scope_of()))).request_id)

    few = bytes_that_count(take)
    if not 0 < few < LEAST_DRAWN:
        return
    ids, now = list[str](), datetime.now(UTC)
    with drawing_from(tape.draw):
        for second in range(2):
            with at(now + timedelta(seconds=second), stands=True):
                ids.append(tape.play(take))
    assert ids[0] != ids[1], (
        f"{8 * few} bits of chance make an id, whatever its length: of {2 ** (4 * few):,} requests "
        "two are alike."
    )


def _a_fork_has_other_ids(web: Client, candidate: Any) -> None:
    """A server may load the app, and then fork: what was drawn before is the same in each worker.

    Whoever draws for each request needs no fork to show it.
    """
    bare = _bare(candidate)

    async def take_some() -> list[str]:
        return [(await bare.take(Turn(scope_of()))).request_id for _ in range(3)]

    drawn = bytes_drawn(lambda: web.run(take_some()))
    if drawn >= 3 * ENOUGH_DRAWN or not CAN_FORK:
        return
    with all_clocks_stand():
        there = run_in_a_fork(lambda: asyncio.run(take_some()))
        here = web.run(take_some())
    assert not {*there} & {*here}, (
        "Where a server forks, two workers give the same ids: what was drawn before is in both."
    )


def _nothing_is_kept(call: Callable[[str], Any]) -> None:
    """Call with what requests bring; nothing of it may stay in the module, whatever it is for."""
    kept = remembered(sys.modules["solutions.hardening"], call, BRINGERS, NOT_WALKED)
    assert kept is None, (
        f"What a request brings is kept, and a million of them fill the memory (CWE-770): {kept}."
    )


def _nothing_is_kept_of_a_request(web: Client, candidate: Any) -> None:
    bare, module = _bare(candidate), sys.modules["solutions.hardening"]

    def take(number: str) -> None:
        headers = [_raw((name, f"{number}-{'x' * 99}")) for name in ("user-agent", *NAMES)]
        web.run(bare.take(Turn(scope_of(path=f"/{number}", headers=headers))))

    with pytest.MonkeyPatch.context() as patch:  # to be found in the module
        patch.setattr(module, WRAPPED, bare.app, raising=False)
        _nothing_is_kept(take)


def _overlapping_requests_stay_apart(web: Client, candidate: Any) -> None:
    """One waits for its body while others go through: ids and headers are each one's own."""
    if not has_functions():
        return
    bare = _bare(candidate)
    for slow, quick in (("https", "http"), ("http", "https"), ("https", "https")):
        turns = [Turn(scope_of(scheme=slow), may_go_on=asyncio.Event())]
        turns += [Turn(scope_of(scheme=quick)), Turn(scope_of(scheme=quick, path="/docs"))]
        turns += [Turn(scope_of(scheme=slow, path="/docs"), may_go_on=asyncio.Event())]
        web.run(bare.take_all(turns))
        for turn in turns:
            _is_left_as_it_was(turn)
            assert turn.ours["X-Request-ID"] == turn.request_id
            has_hsts = "strict-transport-security" in dict(turn.headers())
            assert has_hsts == (turn.scope["scheme"] == "https"), (
                f"Of requests at once one over {turn.scope['scheme']} has another's headers."
            )
        assert len({turn.request_id for turn in turns}) == 4, "Requests at once share an id."


def _what_happens_meanwhile_changes_nothing(web: Client, candidate: Any) -> None:
    """An app asks itself, changes its scope, or lets a task of its own answer: like a queue."""
    if not has_functions():
        return
    bare, docs, http = _bare(candidate), {"path": "/docs"}, {"scheme": "http"}
    inmost = Turn(scope_of(**http), answer_of(404))
    inner = [Turn(scope_of(**docs), inside=[inmost]), Turn(scope_of(**http), by_another=True)]
    turns = [Turn(scope_of(), inside=[*inner]), inmost, *inner]
    turns += [Turn(scope_of(), by_another=True), Turn(scope_of(**docs), by_another=True)]
    turns += [Turn(scope_of(), changes=docs | http), Turn(scope_of(**docs | http), changes=CHANGED)]
    amid = [Turn(scope_of(**docs)), Turn(scope_of(**http))]
    parts = [Turn(scope_of(), answer_of(500), inside=[each]) for each in amid]
    waiting = [Turn(scope_of(**each), may_go_on=asyncio.Event()) for each in (http, docs, {})]
    for turn in waiting:
        turn.inside, turn.by_another = [Turn(scope_of(**docs), answer_of(302, b"one"))], True
    for begun in (turns[:1], turns[4:5], turns[5:6], turns[6:7], turns[7:], parts):
        for turn in begun:
            web.run(bare.take(turn))
    web.run(bare.take_all(waiting))
    turns += [*parts, *amid, *waiting, *(turn.inside[0] for turn in waiting)]
    for turn in turns:
        what = "asks itself" if turn.inside else "changes its scope"
        what = "lets a task of its own answer" if turn.by_another else what
        said = dict(turn.headers()).get("x-request-id")
        assert said == turn.request_id, (
            f"An app {what}, and its answer has the id {said!r}: not that of its request."
        )
        found = [pair for pair in turn.headers() if pair not in turn.own()]
        ours = [(name.lower(), value) for name, value in turn.ours.items()]
        assert sorted(found) == sorted(ours), (
            f"An app {what}, and its answer has other headers than its request was to get."
        )
        _is_left_as_it_was(turn)
    ids = {turn.request_id for turn in turns}
    assert len(ids) == len(turns), "An app asks itself, or two are at once: two have one id."


def _ids_stay_apart(web: Client, audit: Lines) -> None:
    """Requests under way at once keep each its own id."""
    audit.text = ""
    sends = [Place(web, f"192.0.2.{number}").sent(data={"token": "x"}) for number in range(1, 7)]
    answers = web.together("POST", "/revoke", sends)
    ids = {each.headers["x-request-id"] for each in answers}
    assert len(ids) == len(sends), "Of six requests at once two have one id."
    said = {each["request_id"]: each["address"] for each in audit.events}
    for number, answer in enumerate(answers, 1):
        address = said.get(answer.headers["x-request-id"])
        assert address == f"192.0.2.{number}", (
            f"An event of 192.0.2.{number} says {address}, or has another request's id."
        )


@attack
@todo(1, "with_headers")
def test_only_who_may_gets_to_the_app(
    web: Client, users: Any, settings: Any, configure: Callable[..., None]
) -> None:
    """A script of mallory's page reads alice's data, a password goes over plain http (CWE-942).

    Only CORS_ORIGINS may read, exactly those. Other hosts are 400, http is refused, documents are
    not there in production (ASVS 3.4.2, 12.2.1, 13.4.5).
    """
    origins, alice = settings.cors_origins.split(), speak_as(users, "alice")
    with twin():
        for origin in origins:
            for url in ("/users/me", "/nowhere", "/docs"):
                answer = web.get(url, headers={**alice, "Origin": origin})
                assert answer.headers.get("access-control-allow-origin") == origin, url
                exposed = answer.headers.get("access-control-expose-headers", "").lower()
                for name in ("retry-after", "x-request-id"):
                    assert name in exposed, f"A script of ours cannot read {name}."
        answer = web.get(LOGIN, headers={"Host": settings.allowed_hosts.split()[1]})
        assert answer.status_code == 200, f"A host of ours: {answer.status_code}, not 200."
    for origin in (
        *("https://mallory.example", "null", "*", origins[0] + ".mallory.example"),
        *(origins[0].replace("https", "http"), origins[0].upper(), origins[0] + "/"),
        *(origins[0] + ":8443", "https://mallory.example/" + origins[0], ""),
    ):
        for answer in (
            web.get("/users/me", headers={**alice, "Origin": origin}),
            web.request(
                "OPTIONS",
                "/users/me",
                headers={"Origin": origin, "Access-Control-Request-Method": "GET"},
            ),
        ):
            allowed = answer.headers.get("access-control-allow-origin")
            assert not allowed, f"The origin {origin!r} may read: {allowed}."
    for host in ("mallory.example", settings.allowed_hosts.split()[1] + ".mallory.example", ""):
        answer = web.get(LOGIN, headers={"Host": host, "Origin": origins[0]})
        assert answer.status_code == 400, f"The host {host!r}: {answer.status_code}, not 400."
        assert answer.headers.get("access-control-allow-origin") == origins[0]
    for url in ("/docs", "/redoc", "/openapi.json", "/docs/oauth2-redirect"):
        answer = web.get(url)
        assert answer.status_code == 404, f"GET {url} in production: {answer.status_code}."
    _http_is_refused(web, settings)


def _http_is_refused(web: Client, settings: Any) -> None:
    plain = {"scope": {"scheme": "http"}}
    said = {"headers": {"X-Forwarded-Proto": "https"}}
    mallory, ours = Place(web, HOME), Place(web, proxy_of(settings), (HOME,))
    assert ours.ask("GET", LOGIN, **plain, **said).status_code == 200, (
        "A proxy of ours has heard https, and GET /login is no 200."
    )
    for what, answer in {
        "over http": mallory.ask("GET", LOGIN, **plain),
        "over http, where mallory says it is https": mallory.ask("GET", LOGIN, **plain, **said),
        "over http at a proxy of ours": ours.ask("GET", LOGIN, **plain),
    }.items():
        assert 400 <= answer.status_code < 500, f"GET {LOGIN} {what}: {answer.status_code}."
        assert not cookies_set_by(answer), f"GET {LOGIN} {what} sets a cookie."


@attack
@todo(2, "client_address")
def test_nobody_chooses_an_address(
    web: Client, candidate: Any, audit: Lines, settings: Any
) -> None:
    """With a header of her own in each request mallory is somebody new each time (CWE-348).

    Only proxies of ours are believed, hop by hop from the right, and no further (ASVS 4.1.3).
    """
    proxy, other, odd = proxy_of(settings), proxy_of(settings, 200), "2001:db8::bad:1"
    with twin():
        assert _address(web, candidate, audit, proxy, HOME) == HOME, (
            "A proxy of ours is not believed."
        )
    forged = ", ".join(f"10.9.{number // 250}.{number % 250}" for number in range(1000))
    longest = "2001:0db8:0000:0000:0000:0000:0000:0bad"  # a thousand of these are 41 KB
    for peer, forwarded, expected, what in (
        (CAFE, (HOME,), CAFE, "a header of mallory's own"),
        (CAFE, (f"{HOME}, {proxy}",), CAFE, "a header with a proxy of ours in it"),
        (proxy, (f"{HOME}, {CAFE}",), CAFE, "a hop in front of hers"),
        (proxy, (f"{HOME}, {CAFE}, {other}",), CAFE, "a hop in front of hers, two proxies"),
        (proxy, (HOME, CAFE), CAFE, "a line of her own before the proxy's"),
        (proxy, (f"{HOME}, {CAFE}", other), CAFE, "two lines, and two proxies"),
        (proxy, (f"{HOME}, unknown",), proxy, "a hop that is no address"),
        (proxy, (f"{HOME}, , {other}",), other, "an empty hop"),
        (proxy, (f"{HOME}, {CAFE}:99",), proxy, "a hop with a port"),
        (proxy, (), proxy, "no header"),
        (proxy, ("",), proxy, "an empty header"),
        (proxy, (HOME, ""), proxy, "an empty header after the one of the proxy"),
        (proxy, (HOME, "", other), other, "an empty header between two"),
        (proxy, (f"{other}",), other, "nobody but proxies"),
        (proxy, (f"{CAFE}, {other}, {proxy}, {other}",), CAFE, "four proxies"),
        (f"::ffff:{proxy}", (HOME,), HOME, "a proxy that has its address in IPv6"),
        (proxy, (f"::ffff:{CAFE}",), CAFE, "an IPv4 address in IPv6"),
        (proxy, (f"0000:0000:0000:0000:0000:ffff:{CAFE}",), CAFE, "such an address in full"),
        (proxy, (odd,), odd, "an address in IPv6"),
        (proxy, (f"{HOME},{CAFE}\t,\t{other}",), CAFE, "tabs"),
        *(
            (proxy, (f"{', '.join(forged.split(', ')[:size])}, {CAFE}",), CAFE, f"{size} hops more")
            for size in (18, 19, 20, 21, 30, 63, 64, 99, 100, 255, 256, 998)
        ),
        (proxy, (", ".join([CAFE, *[other] * 60]),), CAFE, "60 proxies"),
        (proxy, (", ".join([CAFE, *[other] * 1100]),), CAFE, "1100 proxies"),
        (proxy, (", ".join([longest] * 1000 + [CAFE]),), CAFE, "1000 long hops more"),
        (proxy, (f"{'9' * 50_000}, {CAFE}",), CAFE, "a hop of 50 KB in front of hers"),
        (proxy, (f"{HOME}, {'9' * 50_000}, {other}",), other, "a hop of 50 KB after hers"),
        (proxy, (f"{',' * 60_000}{CAFE}",), CAFE, "60,000 commas"),
        (proxy, (*[HOME] * 3000, CAFE), CAFE, "3000 lines of her own"),
        *((proxy, (f"{HOME}, {hop}",), hop, f"the hop {hop}") for hop in ODD_HOPS),
        (None, (HOME,), "", "no socket's address"),
        ("", (HOME,), "", "an empty address"),
        ("testclient", (HOME,), "", "a socket without a number"),
    ):
        said = _address(web, candidate, audit, peer, *forwarded)
        assert said == expected, (
            f"{what}: the address is {said or None!r}, not {expected or None!r}."
        )
    _each_hop_counts_where_it_stands(settings)


def _each_hop_counts_where_it_stands(settings: Any) -> None:
    from solutions.support.addresses import read_address

    if not has_functions():
        return
    module = sys.modules["solutions.hardening"]
    find = module.client_address
    proxies = [proxy_of(settings), new_proxy(settings)]
    for peer, lines, expected in [*walks(proxies, 400), *strangers(proxies)]:
        given = [*lines]
        said = str(find(read_address(peer), given))
        assert given == [*lines], "client_address changes the list of lines that it is given."
        assert said == expected, (
            f"From {peer} with the lines {lines!a:.200}: the address is {said}, not {expected}."
        )
    ours = read_address(proxies[0])
    called = list[Any]()
    with pytest.MonkeyPatch.context() as patch:
        if split := getattr(module, "hops_of", None):
            patch.setattr(module, "hops_of", lambda lines: called.append(0) or split(lines))
        find(ours, [", ".join([HOME, *proxies * 400])])
    assert len(called) < 9, f"Of 801 hops the line is split {len(called)} times: hops times hops."
    with other_surroundings():
        assert find(ours, [HOME]) == ours, "Nobody is in TRUSTED_PROXIES, and anybody is believed."
    _nothing_is_kept(lambda number: find(ours, [f"2001:db8::{number}, {number * 99}, {number}"]))
    _nothing_is_kept(lambda number: find(ours, [f"{HOME}, 2001:db8::{number}, {proxies[1]}"]))


def _a_header_buys_no_guesses(web: Client, settings: Any) -> None:
    most, allowed = settings.attempts_per_login, 0
    for number in range(2 * most):
        headers = {"X-Real-IP": f"198.18.1.{number}", "Forwarded": f"for=198.18.2.{number}"}
        mallory = Place(web, "192.0.2.99", (f"198.18.0.{number}",))
        form = {"username": "alice", "password": "wrong"}
        answer = mallory.ask("POST", "/token", data=form, headers=headers)
        allowed += answer.status_code != 429
    assert allowed == most, f"With a new X-Forwarded-For each time: {allowed} guesses, not {most}."


@attack
@todo(4, "begin_attempt")
@asvs("6.3.1")
def test_fifty_at_once_get_no_more_guesses(
    web: Client, candidate: Any, meter: Meter, settings: Any
) -> None:
    """Mallory sends fifty guesses at once. Who counts after the check lets all in (CWE-367).

    An attempt is counted before any hash (ASVS 6.3.1, CWE-307): the work is spared as well.
    """
    with twin():
        assert Place(web, HOME).guess("carol") == 400, "A first wrong password is no 400."
        with meter.counting() as one:
            assert Place(web, HOME).guess("carol") == 400, "A second wrong password is no 400."
    at_hand = list(zip(range(50), places(web), names(), strict=False))
    for what, sends, most in (
        ("at one name from one address", [(HOME, "alice")] * 50, settings.attempts_per_login),
        (
            "at one name from fifty addresses",
            [(place.address, "johndoe") for _, place, _ in at_hand],
            settings.attempts_per_name,
        ),
        (
            "at fifty names from one address",
            [(CAFE, name) for _, _, name in at_hand],
            settings.attempts_per_address,
        ),
    ):
        for turns in (0, 3) if most == settings.attempts_per_login else (3,):
            with in_place(candidate.app, _get_counters(), Slow(_fresh_counters(), turns)):
                tries = [Place(web, address).tried(name, turns=3) for address, name in sends]
                _most_are_refused(web.run(_at_once(tries)), most, what)
    store = Slow(_fresh_counters())
    with in_place(candidate.app, _get_counters(), store), meter.counting() as hashes:
        forms = [{"username": "alice", "password": f"no-{number}"} for number in range(50)]
        answers = web.together("POST", "/token", [Place(web, HOME).sent(data=f) for f in forms])
    most, what = settings.attempts_per_login, "at the token endpoint"
    assert len(hashes) == most * len(one), (
        f"Fifty guesses {what}: {len(hashes) // len(one)} are hashed, not {most}."
    )
    _most_are_refused(answers, most, what)


async def _at_once(attempts: list[Any]) -> list[Any]:
    return await asyncio.gather(*attempts)


def _most_are_refused(answers: list[Any], most: int, what: str) -> None:
    checked = sum(each.status_code == 400 for each in answers)
    refused = sum(each.status_code == 429 for each in answers)
    assert (checked, refused) == (most, 50 - most), (
        f"Fifty guesses {what}: {checked} are answered and {refused} are 429, not {most} "
        f"and {50 - most}."
    )


def _fresh_counters() -> Any:
    from solutions.support.counters import MemoryCounters

    return MemoryCounters()


@attack
@todo(4, "begin_attempt")
@asvs("6.3.1", "6.3.4")
def test_a_success_begins_anew_with_that_name_only(
    web: Client, candidate: Any, users: Any, settings: Any
) -> None:
    """Mallory has an account. She logs in between two guesses, and her guesses are forgotten.

    Or a refused attempt counts as a success (CWE-307). It clears nothing, nor does a failure.
    """
    most, counters = settings.attempts_per_login, Watched(_fresh_counters())
    place, spare = places(web), names()
    with in_place(candidate.app, _get_counters(), counters):
        home = next(place)
        with twin():
            assert home.log_in("alice").status_code == 200, "Alice cannot log in."
        for log_in in (home.attempt, lambda *_: home.log_in("alice").status_code):
            for _ in range(most - 1):
                assert home.attempt("alice") == 400, "After a success old failures still count."
            assert log_in("alice", True) == 200, "Alice remembers, and is refused."
        cleared = [call for call in counters.calls if call.name == "clear"]
        assert {call.args[0].name for call in cleared} <= {"login"}, (
            "A success clears more than the count of this name from this address."
        )
        home = next(place)
        assert guesses_until_refused(home, "alice", 2 * most) == most
        before = len(counters.calls)
        for number in range(3 * most):
            status = home.attempt("alice", True) if number else home.log_in("alice").status_code
            assert status == 429, f"After {most} wrong ones the right password: {status}, not 429."
        _clear_nothing(counters, before, "A refused attempt")
        fresh = [home.attempt(next(spare)) for _ in range(settings.attempts_per_address - most)]
        assert set(fresh) == {400}, "Refused attempts count against others at the address."
        assert home.guess(next(spare)) == 429, "A refusal has cleared the count of the address."
        _clear_nothing(counters, before, "A refused or failed attempt")
    _nothing_is_kept_beside_the_counters(web, candidate)
    _own_logins_buy_nothing(web, settings, place, spare)
    _nothing_is_bought_at_the_other_doors(web, users, settings, place)


def _nothing_is_kept_beside_the_counters(web: Client, candidate: Any) -> None:
    """What they say counts, each time anew: they may be cleared, or are shared with others."""
    from solutions.support.addresses import read_address

    if not has_functions():
        return
    home, same = read_address(HOME), Scripted()

    def begin(*answers: int | Exception) -> tuple[int, str]:
        same.answers, same.hits = list(answers), []
        try:
            return 0, candidate.begin_attempt(same, "alice", home)
        except Exception as error:
            headers = getattr(error, "headers", None) or {}
            return getattr(error, "status_code", 500), headers.get("Retry-After", "")

    _, pair = begin()
    for seconds in (1, 7, 60, 899, 100_000):
        for before in range(3):
            said = begin(*[0] * before, seconds)
            assert said == (429, str(seconds)), (
                f"The counters say {seconds}, and begin_attempt {_ended(*said)}: not 429 with "
                f"Retry-After {seconds}."
            )
            asked = len(same.hits)
            assert asked == before + 1, f"Refused at count {before + 1}: {asked} are asked."
            said = begin()
            assert said == (0, pair), f"The counters are cleared, and who was refused gets {said}."
    for before in range(3):
        for _ in range(12):
            said = begin(*[0] * before, StoreDown("down"))
            wait = str(candidate.RETRY_AFTER_SECONDS)
            more = "" if said[0] != 503 else f" with Retry-After {wait}"
            assert said == (503, wait), (
                f"The counters are down, and begin_attempt {_ended(*said)}: not 503{more}."
            )
        assert begin() == (0, pair), "They are back, and alice is out."
    assert not same.cleared, "An attempt clears a count."
    _nothing_is_kept_of_an_attempt(web)
    _attempts_at_once_stay_apart(web, candidate)


def _nothing_is_kept_of_an_attempt(web: Client) -> None:
    """Nor of one that is refused, or at an impossible name of 64 KB."""
    from solutions.support.addresses import read_address

    begin = sys.modules["solutions.hardening"].begin_attempt

    async def try_all(number: str) -> None:
        for name in (f"erin{number}", f"{number} {'x' * 999}"):
            for answers in ((), (9,), (0, 9), (StoreDown("down"),)):  # an error keeps its frames
                with suppress(Exception):
                    await begin(Scripted(*answers), name, read_address(f"2001:db8:{number}::1"))

    _nothing_is_kept(lambda number: web.run(try_all(number)))
    _nothing_typed_is_logged(web)


def _nothing_typed_is_logged(web: Client) -> None:
    """Some type their password as a name, and mallory a line of the log: whatever the end is."""
    from solutions.support.addresses import read_address

    begin = sys.modules["solutions.hardening"].begin_attempt

    async def try_all() -> None:
        for name in (WHOM, f"{WHOM} and nine\nINFO alice ok"):
            for answers in ((), (9,), (0, 9), (0, 0, 9), (StoreDown("down"),)):
                with suppress(Exception):
                    await begin(Scripted(*answers), name, read_address(HOME))

    with listening() as trap:
        web.run(try_all())
    trap.refuse({"name that was typed": WHOM})


def _ended(status: int, said: str) -> str:
    """Return how a call of `begin_attempt` ended: it returned a key, or raised."""
    return f"raised a {status} with Retry-After {said or 'missing'}" if status else "returned a key"


def _attempts_at_once_stay_apart(web: Client, candidate: Any) -> None:
    from solutions.support.addresses import read_address

    many = [(name, read_address(peer)) for name in ("alice", "bob") for peer in (HOME, CAFE)]
    alone = [candidate.begin_attempt(Scripted(), *each) for each in many]
    begin = sys.modules["solutions.hardening"].begin_attempt

    async def together() -> list[str]:
        counters = Scripted()
        return await asyncio.gather(*(begin(counters, *each) for each in many))

    assert web.run(together()) == alone, "Of attempts at once one has another's key."


def _clear_nothing(counters: Watched, before: int, what: str) -> None:
    cleared = [call for call in counters.calls[before:] if call.name == "clear"]
    assert not cleared, f"{what} clears the count of {cleared[0].args[1]!r}."


def _own_logins_buy_nothing(
    web: Client, settings: Any, place: Iterator[Place], spare: Iterator[str]
) -> None:
    home, allowed = next(place), 0
    for _ in range(settings.attempts_per_address):
        home.attempt("carol", True)
        allowed += home.attempt(next(spare)) == 400
    expected = settings.attempts_per_address // 2
    assert allowed == expected, (
        f"With a login of her own between: {allowed} guesses at new names, not {expected}."
    )
    allowed = 0
    allowed += next(place).log_in("bob").status_code == 400  # disabled: never a success
    for _ in range(2 * settings.attempts_per_name):
        allowed += next(place).attempt("bob") == 400
    assert allowed == settings.attempts_per_name, (
        f"Guesses at bob from many addresses: {allowed}, not {settings.attempts_per_name}."
    )


def _nothing_is_bought_at_the_other_doors(
    web: Client, users: Any, settings: Any, place: Iterator[Place]
) -> None:
    most = settings.attempts_per_login
    home, token = next(place), speak_as(users, "johndoe")
    change = {"current_password": "wrong", "new_password": "bassoon + eight"}
    home.ask("POST", "/users/me/password", json=change, headers=token)
    guesses_until_refused(home, "johndoe", most - 1)
    change["current_password"] = PASSWORDS["johndoe"]
    answer = home.ask("POST", "/users/me/password", json=change, headers=token)
    assert answer.status_code == 429, (
        f"/users/me/password after {most} wrong ones: {answer.status_code}, not 429."
    )
    assert home.log_in("johndoe").status_code == 429, "The token endpoint counts by itself."
    browser = Visitor(web)
    browser.try_login("johndoe", "wrong")
    guesses_until_refused(Place(web, CALLER[0]), "johndoe", most - 1)
    answer = browser.try_login("johndoe", PASSWORDS["johndoe"])
    assert answer.status_code == 429, (
        f"{LOGIN} after {most} wrong ones, the right one: {answer.status_code}, not 429."
    )
    assert not cookies_set_by(answer), "The 429 sets a cookie."


@attack
@todo(4, "begin_attempt")
@asvs("6.3.1")
def test_alice_gets_in_while_mallory_guesses(web: Client, settings: Any) -> None:
    """Mallory guesses at alice until alice is locked out, by purpose (CWE-645).

    A count for each name and address, then a wider one for the address, then for the name. Whom
    the first one stops is not counted by the others (ASVS 6.3.1).
    """
    most, place, spare = settings.attempts_per_login, places(web), names()
    mallory, alice = next(place), next(place)
    assert guesses_until_refused(mallory, "alice", 3 * most) == most
    for _ in range(settings.attempts_per_name + settings.attempts_per_address):
        assert mallory.attempt("alice") == 429, f"After {most} wrong passwords she may go on."
    assert alice.log_in("alice").status_code == 200, "Alice is locked out where she lives."
    rest = settings.attempts_per_address - most
    allowed = guesses_until_refused(mallory, spare, 3 * settings.attempts_per_address)
    assert allowed == rest, (
        f"{most} guesses at alice, then at new names from there: {allowed} more, not {rest}."
    )
    answer = mallory.log_in("johndoe")
    assert answer.status_code == 429, f"The address has had its share: {answer.status_code}."
    for _ in range(settings.attempts_per_name):
        mallory.attempt("johndoe")
    assert alice.log_in("johndoe").status_code == 200, (
        "What is refused by its address is counted against the name: johndoe is locked out."
    )
    for name, used in (("alice", most + 1), ("johndoe", 1)):  # alice's own logins are among them
        tries = range(settings.attempts_per_name + 3)
        allowed = sum(next(place).attempt(name) == 400 for _ in tries)
        expected = settings.attempts_per_name - used
        assert allowed == expected, (
            f"From ever new addresses: {allowed} more guesses at {name}, not {expected}."
        )
    _refusals_say_when(web, settings)


def _refusals_say_when(web: Client, settings: Any) -> None:
    """Retry-After is true for each limit, whenever one asks."""
    seconds = settings.attempts_minutes * 60
    place, spare, most = Place(web, "192.0.2.55"), names(), settings.attempts_per_login
    start = datetime.now(UTC).replace(microsecond=0)
    with at(start, stands=True):
        guesses_until_refused(place, "carol", most + 1)
    with at(start + timedelta(seconds=seconds // 3), stands=True), zone(FAR_WEST):
        answer = place.log_in("carol")
        kept = answer.headers.get("cache-control", "")
        assert "no-store" in kept, f"The 429 has Cache-Control {kept!r}, not no-store."
        wait, left = _wait_of(answer), seconds - seconds // 3
        assert left <= wait <= left + 1, f"Retry-After is {wait}, and {left} s are left."
        guesses_until_refused(place, spare, 2 * settings.attempts_per_address)
    with at(start + timedelta(seconds=seconds - 1), stands=True):
        assert place.guess("carol") == 429, "It opens a second too early."
    with at(start + timedelta(seconds=seconds + 1), stands=True):
        assert place.guess("carol") == 400, "When the time is over it is not open."


@attack
@todo(4, "begin_attempt")
@asvs("6.3.1")
def test_another_spelling_is_no_other_count(web: Client, candidate: Any, settings: Any) -> None:
    """`Alice`, `ALICE`: one account, and three counts (CWE-178). Or a /64 has 2**64 addresses.

    An impossible name is one of many, and all of them share a count. A key is short, and no two
    meet in one (CWE-400).
    """
    _a_header_buys_no_guesses(web, settings)
    _keys_are_one_to_one(web, candidate, settings)
    most, counters = settings.attempts_per_login, Watched(_fresh_counters())
    impossible = ["x" * 64_000, "a/b", "x", "", " alice", "alice\u2028", "\U0001f984" * 9, "a|b"]
    impossible += ["alice/", "johndoe/198.51.0.1", "al\u0456ce", "alice\x00", "a" * 33, "a b c"]
    with in_place(candidate.app, _get_counters(), counters):
        _share(web, most, "198.51.7.1", ["alice", "ALICE", "Alice", "aLiCe", "alic\u0065"] * 2)
        _share(web, most, "198.51.7.2", ["mark", "MAR\u212a", "Mar\u212a", "mARK"] * 2)
        _share(web, most, "198.51.7.3", [name for name in impossible if name])
        _share(web, most, "198.51.7.4", ["nobody-there"] * 2 * most)
        _share(web, most, [f"2001:db8:7:7::{number}" for number in range(1, 9)], ["johndoe"])
        _share(web, most, [f"2001:db8:7:8:{number}:1::9" for number in range(1, 9)], ["bob"])
        _share(web, most, ["198.51.7.5", "::ffff:198.51.7.5", "::ffff:c633:705"] * 3, ["erin"])
        _share(web, most, [None, "", "testclient", "/run/x.sock"] * 2, ["frank"])
        for number, ours in enumerate(
            (proxy_of(settings, 9), "::1")  # of others: _keys_are_one_to_one
        ):
            _share(web, most, ours, [f"gina-{number}"])  # nobody's address has no limit
        keys = [call.args[1] for call in counters.calls if call.name == "hit"]
        longest = max(map(len, keys))
        assert longest < 300, f"A key has {longest} letters: names of 64 KB fill the memory."


def _keys_are_one_to_one(web: Client, candidate: Any, settings: Any) -> None:
    """All spellings of an account have its keys, nobody else has, and all three are counted."""
    from solutions.stores.users import fold_username
    from solutions.support.addresses import network_of, read_address
    from solutions.support.counters import limit_of

    if not has_functions():
        return
    peers = [*(peer or "" for peer in PEERS), *ODD_PEERS, proxy_of(settings), new_proxy(settings)]
    keys: dict[tuple[str, Any], tuple[str, str]] = {}
    owners: dict[tuple[str, str], Any] = {}
    typed = [(name, each) for name in SPELLINGS[:4] for each in peers]
    typed += [(name, each) for name in SPELLINGS[4:] for each in peers[:2]]
    begin = sys.modules["solutions.hardening"].begin_attempt
    candidate.begin_attempt(Scripted(), ALICE, AT_HOME)
    counted = web.run(counts_of(begin, [(name, read_address(peer)) for name, peer in typed]))
    expected = [limit_of(kind) for kind in ("login", "address", "name")]
    for (name, peer), (pair, hits) in zip(typed, counted, strict=True):
        who, where, what = fold_username(name), network_of(read_address(peer)), f"{name:.20}"
        limits = [limit for limit, _ in hits]
        assert limits == expected, (
            f"{what!a} from {peer or 'nowhere'} is counted by {[each.name for each in limits]}."
        )
        assert pair == hits[0][1], f"{what!a}: the key returned is not the one counted."
        for (limit, key), whose in zip(hits, ((who, where), where, who), strict=True):
            assert isinstance(key, str) and len(key) < 300, f"A key is {key!a:.40}."
            first = owners.setdefault((limit.name, key), whose)
            if first != whose:
                both = f"{_called(limit.name, first)} and {_called(limit.name, whose)}"
                raise AssertionError(f"{both[0].upper()}{both[1:]} share the key {key!a:.60}.")
            attempt = f"{what!a} from {peer or 'nowhere'}"
            known, before = keys.setdefault((limit.name, whose), (key, attempt))
            assert known == key, (
                f"{before} and {attempt} have two {limit.name} counts: "
                f"both are {_called(limit.name, whose)}."
            )
    apart = [(read_address(address), name) for address, name in APART]
    pairs = [keys[0] for keys in web.run(keys_of(begin, [(name, at) for at, name in apart]))]
    for first, second in combinations(range(len(apart)), 2):
        assert pairs[first] != pairs[second], (
            f"{APART[first]} and {APART[second]} are counted as one pair."
        )
    _keys_keep_their_signs(web, begin)
    _keys_lose_nothing(web, begin)
    _keys_are_the_same_everywhere(web, begin)
    _no_possible_name_is_an_impossible_one(web, begin)


def _called(kind: str, whose: Any) -> str:
    """Return in words who has a key: a name, a place, or the two."""
    if kind == "login":
        return f"{_called('name', whose[0])} at {_called('address', whose[1])}"
    if kind == "address":
        return f"the place {whose}"
    return f"the name {whose!a:.40}" if whose else "an impossible name"


def _keys_keep_their_signs(web: Client, begin: Any) -> None:
    """Without its dots or colons, or with others, a name or a place is somebody else's."""
    from solutions.support.addresses import network_of

    attempts, owners = alike(), dict[tuple[str, str], Any]()
    for (name, address), found in zip(attempts, web.run(keys_of(begin, attempts)), strict=True):
        place = network_of(address)
        for kind, key, who in zip(
            ("login", "address", "name"), found, ((name, place), place, name), strict=True
        ):
            first = owners.setdefault((kind, key), who)
            assert first == who, f"{first} and {who} have one key for their {kind}: {key!a:.60}."


def _keys_lose_nothing(web: Client, begin: Any) -> None:
    """Whoever tries names by the billion finds none that shares a key with alice."""
    names, places = [*chance_names(), *close_names()], [*chance_places(), *close_places()]
    by_name = web.run(keys_of(begin, [(name, AT_HOME) for name in names]))
    by_place = web.run(keys_of(begin, [(ALICE, place) for place in places]))
    for kind, number, others, found, least in (
        ("login", 0, names, by_name, ENOUGH),
        ("name", 2, names, by_name, ENOUGH),
        ("login", 0, places, by_place, ENOUGH_FOR_PLACES),
        ("address", 1, places, by_place, ENOUGH_FOR_PLACES),
    ):
        seen: dict[str, Any] = {}
        for other, keys in zip(others, found, strict=True):
            first = seen.setdefault(keys[number], other)
            assert first == other, f"{first} and {other} have one key for their {kind}."
        bits = bits_in(keys[number] for keys in found[:SAMPLES])
        assert bits >= least, (
            f"A key for a {kind}, {found[0][number]!a:.60}, has {bits:.0f} bits: mallory finds "
            "somebody who shares it with alice."
        )


def _keys_are_the_same_everywhere(web: Client, begin: Any) -> None:
    """Processes that count in one place know an attempt by the same keys, today and next year."""
    attempts: list[Any] = [
        (ALICE, AT_HOME),
        ("a/b", None),
        *zip(names(), chance_places()[:3], strict=False),
    ]
    here = web.run(keys_of(begin, attempts))
    with other_surroundings():
        later = web.run(keys_of(begin, attempts))
    with other_surroundings("development"), elsewhere("solutions.hardening") as module:
        there = run_elsewhere(keys_of(module.begin_attempt, attempts))
    for (name, _), one, same, other in zip(attempts, here, later, there, strict=True):
        assert one == same, (
            f"{name!a}: with another secret, setting, folder or time zone it counts by another "
            "key, and all guesses are forgotten."
        )
        assert one == other, (
            f"{name!a}: another process, or this one after a start, counts by another key: "
            "guesses times processes."
        )


def _no_possible_name_is_an_impossible_one(web: Client, begin: Any) -> None:
    """All impossible names share a key. Whoever has it as a name is locked out by them."""
    impossible = ("a/b", AT_HOME)
    ((pair, _, alone),) = web.run(keys_of(begin, [impossible]))
    found = possible_names(sys.modules["solutions.hardening"]) | names_within(alone)
    found |= names_within(pair) | web.run(names_amid(begin, impossible))
    possible = sorted(found)
    for name, (other, _, own) in zip(
        possible, web.run(keys_of(begin, [(name, AT_HOME) for name in possible])), strict=True
    ):
        assert other != pair and own != alone, (
            f"Impossible names share their key with {name!r}, and that is a possible name."
        )


def _share(web: Client, most: int, addresses: Any, typed: list[str]) -> None:
    """Assert that all these have one count, which is fresh: after so many guesses it is full."""
    addresses = addresses if isinstance(addresses, list) else [addresses]
    size = max(len(addresses), len(typed), most + 1)
    statuses = [
        Place(web, addresses[each % len(addresses)]).attempt(typed[each % len(typed)])
        for each in range(size)
    ]
    allowed = statuses.count(400)
    shown = sorted({f"{name:.20}" for name in typed})[:3], sorted(map(str, addresses))[:3]
    assert allowed == most, f"{shown[0]!a} from {shown[1]}: {allowed} guesses, not {most}."
    assert statuses[:most] == [400] * most, f"{shown[0]!a}: refused too early."


@attack
@todo(4, "begin_attempt")
@asvs("6.3.1")
def test_without_its_counters_nobody_guesses(
    web: Client, candidate: Any, users: Any, meter: Meter, settings: Any
) -> None:
    """Mallory overloads the counters, and then guesses as she likes: it fails open (CWE-636).

    Counters that are down or do not answer are a 503 within five seconds (ASVS 16.5.3).
    """
    get, place = _get_counters(), places(web)
    with twin():
        assert next(place).log_in("alice").status_code == 200
    errors: list[Exception] = [
        _named(StoreDown, f"down: {QUOTED}"),
        TimeoutError(f"late: {QUOTED}"),
    ]
    errors += [ConnectionError(), OSError(f"no route to {QUOTED}"), RuntimeError("closed", QUOTED)]
    errors += [ValueError(f"MOVED {QUOTED}"), KeyError(QUOTED), AttributeError(f"pool {QUOTED}")]
    errors += [Exception(f"READONLY {QUOTED}"), AssertionError("odd"), NotADirectoryError()]
    errors += [EOFError()]
    for number, error in enumerate(errors):
        for skip in (0, 1, 2) if number < 3 else (number % 3,):
            store = Failing(_fresh_counters(), "hit", error, times=9, skip=skip)
            with in_place(candidate.app, get, store), meter.counting() as hashes:
                for is_right in (True, False):
                    answer = _login(next(place), is_right, whole=number == 0)
                    what = f"{_kind_of(error)} at count {skip + 1}"
                    if store.failed:
                        _is_unavailable(answer, what)
                    elif skip == 0:
                        raise AssertionError(f"{what}: nobody asked the counters.")
            assert store.failed, f"{what}: nobody asked the counters so often."
            assert not hashes or skip, f"{what}: the password is checked nevertheless."
    for skip in range(3):
        store, what = Late(_fresh_counters(), skip), f"Counters that hang at count {skip + 1}"
        with in_place(candidate.app, get, store), meter.counting() as hashes:
            _is_unavailable(next(place).log_in("alice"), what)
            assert not hashes, f"{what}: the password is checked nevertheless."
    with in_place(candidate.app, get, Failing(_fresh_counters(), "hit", times=9)):
        answer = Visitor(web).try_login("alice", PASSWORDS["alice"])
        _is_unavailable(answer, f"{LOGIN} without counters")
        change = {"current_password": PASSWORDS["alice"], "new_password": "bassoon + eight"}
        token = speak_as(users, "alice")
        answer = web.post("/users/me/password", json=change, headers=token)
        _is_unavailable(answer, "/users/me/password without counters")
        assert web.get("/users/me", headers=token).status_code == 200, (
            "Who is inside needs no counters, and is out."
        )
    assert next(place).log_in("alice").status_code == 200, "They are back, and alice is out."
    _whatever_they_raise_is_a_503(web)
    _who_gives_up_is_let_go(web)


def _whatever_they_raise_is_a_503(web: Client) -> None:
    """Also what FastAPI answers with: a 429 of theirs, a 200. Nothing of an error is told."""
    from fastapi import HTTPException
    from starlette.exceptions import HTTPException as OfStarlette

    from solutions.support.doors import TryLater

    if not has_functions():
        return
    module = sys.modules["solutions.hardening"]
    odd = {"X-Odd": QUOTED, "Retry-After": "77"}
    errors = [HTTPException(status, QUOTED, odd) for status in (200, 401, 418, 429, 503)]
    errors += [OfStarlette(429, QUOTED, odd), OfStarlette(500)]
    errors += [TryLater(429, QUOTED, 77), TryLater(503, QUOTED, 78)]
    errors += [_named(HTTPException, 429, headers=odd)]
    errors += [_named(each, "x") for each in (Exception, StoreDown, TimeoutError, OSError)]
    errors += [ExceptionGroup(QUOTED, [_named(RuntimeError)])]
    asked = [(error, count) for error in errors for count in (1, 2, 3)]

    async def end_of(error: Exception, count: int) -> Any:
        try:
            return await module.begin_attempt(Scripted(*[0] * (count - 1), error), ALICE, AT_HOME)
        except Exception as end:
            return end

    async def ends() -> list[Any]:
        return await asyncio.gather(*(end_of(*each) for each in asked))

    for (error, count), end in zip(asked, web.run(ends()), strict=True):
        status = f" {error.status_code}" if isinstance(error, OfStarlette) else ""
        what = f"The counters raise {_kind_of(error)}{status} at count {count}"
        assert end is not error, f"{what}, and begin_attempt lets it out: not a 503 of its own."
        said = (getattr(end, "status_code", None), getattr(end, "headers", {}))
        assert said[0] == 503, f"{what}, and begin_attempt ends with {end!r:.60}, not a 503."
        told = f"{end.detail} {said[1]}"
        assert QUOTED not in told, f"{what}, and the 503 tells its text or its class: {told}"
        wait = said[1].get("Retry-After")
        assert wait == str(module.RETRY_AFTER_SECONDS), f"{what}: the 503 has Retry-After {wait}."


def _named(kind: type[Exception], *args: Any, **kwargs: Any) -> Any:
    """Return an error of a class of its own, whose name stands nowhere else; so its cause."""
    error = type(f"Odd{QUOTED}", (kind,), {"__module__": f"db{QUOTED}"})(*args, **kwargs)
    error.__cause__ = OSError(QUOTED)
    error.add_note(QUOTED)
    return error


def _kind_of(error: Exception) -> str:
    """Return the name of an error's class, or of what it is a kind of."""
    return next(name for kind in type(error).__mro__ if QUOTED not in (name := kind.__name__))


def _who_gives_up_is_let_go(web: Client) -> None:
    """A request that is cancelled, by a server that stops, ends as cancelled: it gets no 503.

    Neither that nor a 503 leaves a hit behind that still waits.
    """
    from solutions.support.addresses import read_address

    if not has_functions():
        return
    begin = sys.modules["solutions.hardening"].begin_attempt

    async def given_up_at(count: int, by_time: bool) -> tuple[asyncio.Task[str], bool]:
        counters, before = Scripted(waits_at=count), asyncio.all_tasks()
        attempt = asyncio.create_task(begin(counters, "alice", read_address(HOME)))
        await counters.is_waiting.wait()
        stranger = asyncio.create_task(begin(Scripted(), "erin", read_address(CAFE)))
        for _ in range(30):
            await asyncio.sleep(0)
        assert stranger.done(), (
            f"The counters hang at count {count} for one attempt, and somebody else's waits for it."
        )
        if by_time:
            await an_hour_of_the_loop(20, seconds=4)
            assert attempt.done(), (
                f"The counters hang at count {count} for 4 seconds, and the attempt still waits: "
                "COUNTER_SECONDS is 3."
            )
        else:
            attempt.cancel()
        with suppress(Exception, asyncio.CancelledError):
            await attempt
        for _ in range(5):  # whoever asks in a task of their own
            await asyncio.sleep(0)
        assert not counters.cleared, (
            f"Given up at count {count}, and a count begins anew: whoever hangs up guesses on."
        )
        is_left = not counters.was_ended or asyncio.all_tasks() > before
        counters.may_go_on.set()
        await asyncio.sleep(0)
        return attempt, is_left

    async def waiting_at_once() -> int:
        counters = [Scripted(waits_at=1) for _ in range(AT_ONCE)]
        attempts = [asyncio.create_task(begin(c, "alice", read_address(HOME))) for c in counters]
        for _ in range(5):
            await asyncio.sleep(0)
        await an_hour_of_the_loop(50)
        left = [each for each in attempts if not each.done()]
        for each in left:
            each.cancel()
        await asyncio.gather(*attempts, return_exceptions=True)
        return len(left)

    async def answered_late(count: int) -> Any:
        counters = Scripted(waits_at=count)
        attempt = asyncio.create_task(begin(counters, "alice", read_address(HOME)))
        await counters.is_waiting.wait()
        await an_hour_of_the_loop(20, seconds=2)
        counters.may_go_on.set()
        await asyncio.wait([attempt], timeout=2)
        return asyncio.CancelledError() if attempt.cancelled() else attempt.exception()

    for count in (1, 2, 3):
        error = web.run(answered_late(count))
        assert error is None, f"Count {count} is answered after 2 seconds of 3: {error!r:.60}."
    left = web.run(waiting_at_once())
    assert not left, (
        f"Of {AT_ONCE} attempts at once at counters that hang {left} still wait after their time: "
        "one waits for another."
    )
    for count in (1, 2, 3):
        attempt, is_left = web.run(given_up_at(count, by_time=False))
        assert attempt.cancelled(), (
            f"Cancelled at count {count}, begin_attempt does not end as cancelled: it has caught "
            "CancelledError."
        )
        assert not is_left, f"Cancelled at count {count}, and its hit still waits for an answer."
        _, is_left = web.run(given_up_at(count, by_time=True))
        assert not is_left, (
            f"The counters hang at count {count}, and after the 503 the hit still waits: each "
            "attempt leaves a task and a connection behind."
        )


def _login(place: Place, is_right: bool, whole: bool) -> Any:
    """Return how a login of alice ends: of a whole request, or of what is around the check."""
    if whole:
        return place.log_in("alice", "" if is_right else "wrong")
    return place.client.run(place.tried("alice", is_right))


def _is_unavailable(answer: Any, what: str) -> None:
    assert answer.status_code == 503, f"{what}: {answer.status_code}, not 503."
    assert answer.headers.get("retry-after", "").isdecimal(), f"{what}: no Retry-After."
    assert not answer.headers.get("set-cookie"), f"{what}: the 503 sets a cookie."
    said = f"{answer.text} {answer.headers}".lower()
    assert QUOTED not in said and DOWN not in said, f"{what}, and the 503 quotes it: {answer.text}"


@attack
@todo(3, "write_event")
def test_nobody_writes_the_audit_log_but_us(web: Client, users: Any, audit: Lines) -> None:
    """A line break in a name is a line of mallory's own in the log; a `%` loses it (CWE-117).

    Each event is one line of ASCII, and reads back as it was typed (ASVS 16.4.1).
    """
    home, kept = Place(web, HOME), speak_as(users, "johndoe")
    with twin():
        home.ask("PATCH", "/admin/users/erin", json={"disabled": True}, headers=kept)
        assert last(audit)["whom"] == "erin", "What was refused is no event."
    names = (
        *('a"b', "a\\", 'a", "outcome": "ok', "{}", "{whom}", "a'b", '"'),
        *("\\u0041", "\\u00e9", "\\n"),
        *("a\nb", "a\r\nINFO login ok", "a\tb", "\x00", "\x1b[2J", "\x7f", "\x85", "a\x0cb"),
        *("a\u2028b", "a\u2029b", "\u202egnp", "\ufeffbob", "\u00e9", "e\u0301", "\U0001f984"),
        *("%s", "%d %(who)s", "100%", "%", "%%", "$HOME", "${jndi:ldap://x}", "`id`", "<b>"),
        *("%61lice", "a%0ab", "a+b", "a%2bb", "&lt;", "&amp;lt;", "&#10;", "=1+1", "a b ", " a"),
        *("Alice", "ALICE", "a,b;c|d", "null", "true", "1", "1e9", "None", "[]", "a/../b"),
    )
    for number, name in enumerate(names):
        audit.text = ""
        if has_functions() and ("/" in name or number % 4):
            write_event_of(name)
        elif "/" in name:
            continue
        else:
            home.ask("PATCH", f"/admin/users/{quote(name, safe='')}", headers=kept)
        text = audit.text
        assert text.isascii(), f"The line of {name!a} is not ASCII."
        event = last(audit)
        assert len(audit.events) == 1, f"The name {name!a} makes {len(audit.events)} lines."
        assert event["whom"] == name, f"{name!a} was typed, and `whom` is {event['whom']!a}."
        assert (event["what"], event["outcome"]) == ("account", "refused"), f"{name!a}: {text}"
        pairs = json.loads(text, object_pairs_hook=list)
        fields = [field for field, _ in pairs]
        assert sorted(fields) == sorted(FIELDS), f"{name!a}: the line has the fields {fields}."
    _odd_paths_and_successes(web, audit)


def write_event_of(name: str) -> None:
    """Write the event of a change of an account that was refused, as the app does."""
    from solutions.support.audit import Event

    event = Event("account", "johndoe", name, "refused", HOME, "4711" * 8, datetime.now(UTC))
    with only_raises("write_event", OSError):  # of a disk that is full
        sys.modules["solutions.hardening"].write_event(event)


def _odd_paths_and_successes(web: Client, audit: Lines) -> None:
    for path, whom in (
        ("/admin/users/a%0Ab", "a\nb"),
        ("/admin/users/%2561lice", "%61lice"),
        ("/admin/users/a+b", "a+b"),
        ("/admin/users/%F0%9F%A6%84", "\U0001f984"),
    ):
        audit.text = ""
        web.request("PATCH", path, json={"disabled": True})
        event = last(audit)
        assert event["whom"] == whom, f"PATCH {path}: `whom` is {event['whom']!a}."
    _events_of_odd_values(audit)
    with nobody_else(audit):
        _whatever_is_typed_comes_back(audit)
    _ids_stay_apart(web, audit)


def _events_of_odd_values(audit: Lines) -> None:
    """Events of which a database, say, has made something odd, come through as well."""
    from solutions.support.audit import Event

    module = sys.modules["solutions.hardening"]
    for value in ("\ud800", "a\udfffb", "x" * 10_000, ""):
        audit.text = ""
        moment = datetime(2031, 2, 3, 4, 5, 6, 789, UTC)
        event = Event("login", value, value, "ok", value, value, moment)
        if (write := getattr(module, "write_event", None)) is None:
            return
        with zone(FAR_WEST):
            write(event)
        said = last(audit)
        for name in ("who", "whom", "address", "request_id"):
            assert said[name] == value, f"An event with {name}={value[:9]!a}: {said[name][:9]!a}."
        when = datetime.fromisoformat(said["at"])
        assert when == moment, f"An event of {moment} says {said['at']}."
        assert said["at"] == moment.isoformat(), (
            f"`at` is {said['at']!r}, and `isoformat()` makes {moment.isoformat()!r}."
        )


def _whatever_is_typed_comes_back(audit: Lines) -> None:
    """Also what looks like an address, a number, a secret or a value, in each field of a text."""
    from solutions.support.audit import EVENTS, Event

    if not has_functions():
        return
    write, moment = sys.modules["solutions.hardening"].write_event, datetime(2031, 2, 3, tzinfo=UTC)
    kinds, outcomes = sorted({*EVENTS.values(), "reuse", "link"}), ("refused", "ok", "limited")
    for number, text in enumerate(TEXTS):
        amid, outcome = f"a {text} b", outcomes[number % 3]
        what = f"PUT /{text}" if number % 2 else kinds[number % len(kinds)]
        events = [Event("login", text, text, "refused", text, text, moment)]
        events += [Event(what, amid, text, outcome, amid, amid, moment)]
        audit.text = ""
        for event in events:
            write(event)
        lines = audit.events
        assert len(lines) == len(events), f"{text!a:.40} makes {len(lines)} lines of {len(events)}."
        for event, said in zip(events, lines, strict=True):
            odd = [name for name in FIELDS - {"at"} if said[name] != getattr(event, name)]
            assert not odd, (
                f"An event with {odd[0]}={getattr(event, odd[0])!a:.60} is written with "
                f"{said[odd[0]]!a:.60}."
            )


@attack
@todo(3, "write_event")
def test_the_log_knows_each_login_and_no_secret(
    web: Client, users: Any, audit: Lines, settings: Any, capfd: Any
) -> None:
    """Whoever reads a log, a backup of it or the screen of an operator, is alice (CWE-532).

    Each login, refresh, theft and logout is an event (ASVS 16.3.1). No log holds a password, a
    token, a key or the id of a session (ASVS 16.2.5).
    """
    _no_event_is_lost(web, audit, settings)
    _a_line_is_all_that_is_written(web, audit, capfd)
    if has_functions():
        _what_could_not_be_written_is_over(audit)
    audit.text = ""
    with listening(capfd) as trap:
        secrets = _a_day_of_erin(web, users, audit, trap)
        secrets |= _an_hour_of_alice(web, audit, trap)
        secrets |= _guesses(web, audit, trap, settings.attempts_per_login)
    if has_functions():
        _whoever_acts_is_named(web, users, audit)
    trap.refuse(
        secrets
        | {
            "signing key": settings.signing_key,
            "hash": users.get("alice").hashed_password,
        }
    )


def _whoever_acts_is_named(web: Client, users: Any, audit: Lines) -> None:
    """Whose token it is, however it is written, before whose session; to look changes neither."""
    from solutions.stores.sessions import open_session_store

    browser, john, place = Visitor(web), speak_as(users, "johndoe"), Place(web, HOME)
    browser.read_form()
    browser.log_in("alice")
    both = john | {"Cookie": browser.cookie}
    small = {"Authorization": f"bearer {john['Authorization'].partition(' ')[2]}"}
    seen = [each.last_seen for each in web.run(open_session_store().owned_by("alice"))]
    for what, headers, who in (
        ("a token", john, "johndoe"),
        ("`bearer` in small letters", small, "johndoe"),
        ("johndoe's token, and the cookie of alice", both, "johndoe"),
        ("a cookie alone, which opens nothing here", {"Cookie": browser.cookie}, ""),
        ("`Authorization` of one word", {"Authorization": "Bearer"}, ""),
        ("no token behind `Bearer`", {"Authorization": "Bearer x"}, ""),
        ("another scheme", {"Authorization": "Basic YTpi"}, ""),
        ("two keys", {**john, "X-API-Key": "x", "x-api-key": "y"}, None),
    ):
        audit.text = ""
        answer = place.ask("PATCH", "/admin/users/erin", json={"disabled": True}, headers=headers)
        assert answer.status_code < 500, f"PATCH with {what}: {answer.status_code}."
        assert audit.text, f"PATCH with {what}: {answer.status_code}, and no event."
        said = last(audit)["who"]
        assert who in (said, None), f"PATCH with {what}: `who` is {said!r}, not {who!r}."
    now = [each.last_seen for each in web.run(open_session_store().owned_by("alice"))]
    assert now == seen, "A request that was refused counts as a use of the session it brought."


def _no_event_is_lost(web: Client, audit: Lines, settings: Any) -> None:
    """Each event is a line, and at once, however many were like it."""
    from solutions.support.audit import EVENTS, Event

    place, answers = Place(web, "192.0.2.201"), []
    audit.text = ""
    for _ in range(settings.attempts_per_login + (3 if has_functions() else 12)):
        answers.append(place.log_in("bob", "wrong").headers["x-request-id"])
        said = [event["request_id"] for event in audit.events]
        assert said == answers, f"After {len(answers)} equal guesses the log has {len(said)} lines."
    if not has_functions():
        return
    write = sys.modules["solutions.hardening"].write_event

    async def write_again(event: Any, times: int) -> None:
        kept = {name: getattr(event, name) for name in FIELDS - {"at"}}
        for time in range(times):
            audit.text = ""
            write(event)
            lines, what = audit.events, f"{event.what}, {event.outcome}"
            assert len(lines) == 1, f"{what}, time {time + 1}: {len(lines)} lines."
            found = {name: lines[0][name] for name in kept}
            assert found == kept, f"{what}: {found} is written of {kept}."

    events = []
    moment = datetime(2031, 2, 3, 4, 5, 6, tzinfo=UTC)
    addresses = [HOME, "", "127.0.0.1", "::1", proxy_of(settings), "10.250.0.5"]
    for number, what in enumerate(sorted({*EVENTS.values(), "reuse", "link", "POST /own"})):
        for outcome in ("ok", "refused", "limited", "failed"):
            who, address = ("", "alice", "admin")[number % 3], addresses[number % 6]
            event = Event(what, who, "johndoe", outcome, address, "4711" * 8, moment)
            times = {"limited": 40, "refused": 20}.get(outcome, 5) if what == "login" else 2
            events.append((event, times))

    async def write_all() -> None:
        for each in events:
            await write_again(*each)

    with nobody_else(audit):
        web.run(write_all())
        _no_event_is_one_too_many(audit)


def _no_event_is_one_too_many(audit: Lines) -> None:
    """Whoever keeps a number of the events may stop at one: then thousands are written.

    All from one place in one minute, as of mallory's guesses, and then a login.
    """
    from solutions.support.audit import Event, audit_log

    module, moment = sys.modules["solutions.hardening"], datetime(2031, 2, 3, 4, 5, 6, tzinfo=UTC)

    def write(name: str = "alice", outcome: str = "limited") -> None:
        module.write_event(Event("login", "", name, outcome, HOME, "4711" * 8, moment))

    _nothing_is_kept(lambda number: write(f"{number} {'x' * 99}"))
    audit.text = ""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "vars(audit_log)", vars(audit_log), raising=False)
        if not is_changed(module, write, NOT_WALKED):
            return
    for number in range(MANY):
        audit.text = ""
        write()
        assert audit.text, f"{number:,} equal events are written, and the next one is lost."
    audit.text = ""
    write("alice", "ok")
    assert last(audit)["outcome"] == "ok", "Of many events at last a login is written wrongly."


def _a_line_is_all_that_is_written(web: Client, audit: Lines, capfd: Any) -> None:
    """Also while an error is handled, whose message quotes what somebody typed."""
    from solutions.support.audit import Event, audit_log

    if not has_functions():
        return
    write, said = sys.modules["solutions.hardening"].write_event, "xylophone-4711"
    moment = datetime(2031, 2, 3, 4, 5, 6, tzinfo=UTC)
    write_event_of(WHOM)
    assert audit.by == {audit_log.name}, f"An event is written to the log {max(audit.by)!r}."
    with at_the_root() as lines:
        write_event_of(WHOM)
        is_sent_on = audit_log.propagate and not audit_log.handlers
    assert is_sent_on, "An event changes where the audit log goes: a service had sent it elsewhere."
    assert lines.events, "A service collects its logs at the root, and the event is not there."

    async def write_amid_an_error(event: Any) -> None:
        try:
            raise ValueError(f"could not parse\n{said}")
        except ValueError:
            write(event)

    for outcome in ("ok", "refused", "limited", "failed"):
        event = Event("login", "", WHOM, outcome, HOME, "4711" * 8, moment)
        audit.text = ""
        with listening(capfd) as trap:
            web.run(write_amid_an_error(event))
        assert len(audit.text.splitlines()) == 1 and said not in audit.text, (
            f"The event of a request that has failed is not one line: {audit.text[-200:]!a}"
        )
        assert last(audit)["whom"] == WHOM, f"The event that is written is {audit.text!a}."
        for place, text in trap.pieces:
            assert said not in text, f"{place} has the message of an error that was handled."
            assert "Traceback" not in text and 'File "' not in text, f"{place} has frames."
        line = audit.text.strip()
        places = [
            place
            for place, text in trap.pieces
            if place in WRITTEN and (WHOM in text or line in text)
        ]
        assert places == ["The log"], f"An event is written more than once: {', '.join(places)}."


def _what_could_not_be_written_is_over(audit: Lines) -> None:
    """A disk is full for a moment: the next event is a line, and the one before is not in it."""
    from solutions.support.audit import audit_log

    class Full(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise OSError("No space left on device")

    full = Full()
    audit.text = ""
    with nobody_else(audit):
        audit_log.handlers.insert(0, full)
        with suppress(OSError):
            write_event_of("full")
        audit_log.handlers.remove(full)
        write_event_of(WHOM)
    said = [event["whom"] for event in audit.events]
    assert said[-1:] == [WHOM] and len(said) < 2, (
        f"After one event could not be written, the next one is written as {said}."
    )


def _a_day_of_erin(web: Client, users: Any, audit: Lines, trap: Trap) -> dict[str, str]:
    home, password, new = Place(web, HOME), ERIN["password"], "bassoon + eight"

    def event(*expected: Any) -> None:
        trap.take("The audit log", audit.text)
        _event(audit, *expected)

    home.ask("POST", "/register", json=ERIN)
    event("register", "", "erin")
    tokens = home.log_in("erin", password).json()
    event("login", "", "erin", "ok")
    home.guess("Erin")
    event("login", "", "Erin", "refused")
    first = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    second = home.ask("POST", "/token", data=first).json()
    event("refresh", "", "erin")
    home.ask("POST", "/token", data=first)
    event("reuse", "", "erin", "refused")
    home.ask("POST", "/token", data=first | {"refresh_token": "unknown"})
    event("refresh", "", "", "refused")
    home.ask("POST", "/revoke", data={"token": second["refresh_token"]})
    event("logout", "", "erin")
    access = bearer(tokens["access_token"])
    key = {"name": "report", "scopes": ["me"], "expires_in_days": 3}
    made = home.ask("POST", "/api-keys", json=key, headers=access).json()
    event("key", "erin", made["id"])
    web.get("/api/protected", headers={"X-API-Key": made["key"]})
    change = {"current_password": "wrong", "new_password": new}
    home.ask("POST", "/users/me/password", json=change, headers=access)
    event("password", "erin", "erin", "refused")
    change["current_password"] = password
    answer = home.ask("POST", "/users/me/password", json=change, headers=access)
    assert answer.status_code == 204, f"A change of a password: {answer.status_code}, not 204."
    event("password", "erin", "erin")
    return {
        "password of erin": password,
        "new password": new,
        "access token": tokens["access_token"],
        "refresh token": tokens["refresh_token"],
        "second refresh token": second["refresh_token"],
        "API key": made["key"].removeprefix("faw_"),
    }


def _an_hour_of_alice(web: Client, audit: Lines, trap: Trap) -> dict[str, str]:
    browser = Visitor(web)
    browser.read_form()

    def send(url: str, **form: str) -> None:
        sent = {"headers": browser.headers(), "data": {"csrf_token": browser.token} | form}
        browser._send("POST", url, sent | {"scope": {"client": (HOME, 1)}})
        trap.take("The audit log", audit.text)

    send(LOGIN, username="alice", password="wrong")
    _event(audit, "login", "", "alice", "refused")
    send(LOGIN, username="alice", password=PASSWORDS["alice"])
    _event(audit, "login", "", "alice")
    browser._token = None
    secrets = {"session id": browser.cookies["__Host-session"], "CSRF token": browser.token}
    send("/account/sessions")
    _event(audit, "session-end", "alice", None)
    send(LOGOUT, csrf_token="forged")
    _event(audit, "logout", "alice", None, "refused")
    send(LOGOUT)
    _event(audit, "logout", "alice", None)
    return secrets


def _guesses(web: Client, audit: Lines, trap: Trap, most: int) -> dict[str, str]:
    wrong, home = "accordion-and-nine", Place(web, HOME)
    for _ in range(most + 1):
        home.guess("johndoe", wrong)
    trap.take("The audit log", audit.text)
    said = last(audit)["what"], last(audit)["outcome"]
    assert said == ("login", "limited"), f"A 429 is {said[1]!r} in the log, and a {said[0]!r}."
    return {"wrong password": wrong}
