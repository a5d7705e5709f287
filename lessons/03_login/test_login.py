"""Lesson 03: login. Four tests of what you build, then mallory.

For maintainers
Goal: the token endpoint tells right from wrong, and nothing else: not who exists, not who is
disabled, not how long a hash takes. A token is for the one who was verified, as they were then. A
storm of logins does not stop the service.
Teach: equal work, one refusal, only the hash off the event loop, few hashes at once, no-store.
Do not teach: attempt limits (lesson 10), refresh grants (05), reading the token back (04).
"""

import json
import os
import re
import sys
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import timedelta
from itertools import permutations
from typing import Any
from urllib.parse import urlencode

import pytest

from lessons.harness.answers import says, surplus_headers
from lessons.harness.client import Client
from lessons.harness.clock import FAR_EAST, pauses, zone
from lessons.harness.failing import Before, Failing, Slow, Watched, in_place
from lessons.harness.hostile import HOSTILE_PASSWORDS, take_apart
from lessons.harness.literals import texts_in
from lessons.harness.memory import remembered
from lessons.harness.meter import Meter
from lessons.harness.people import PASSWORDS, bearer
from lessons.harness.reads import reading
from lessons.harness.routes import served
from lessons.harness.side_doors import Contract, side_doors, with_door
from lessons.harness.storm import at_a_standstill, log_in_late
from lessons.harness.trap import holds, listening, told_apart
from lessons.harness.verdicts import only_raises, twin

asvs = pytest.mark.asvs
attack = pytest.mark.attack
todo = pytest.mark.todo

UNKNOWN = "nobody"
STRANGER = "stranger"  # of whom nobody has heard in this test, as of johndoe after a login
COMMON = ("", "dummy", "password", "secret", "wrong", "correct horse battery staple")
MANY = 21  # wrong passwords for one name; who counts them may not say whose name there is
TEMPTING = (  # passwords in which there is much to misread
    "trombone &lt;b&gt; 7%2B +\\x",
    '"Tuba <i> u\u0308 \u00fc \uff34 \u200b"',
    " a bassoon\n",
)
CORES = os.cpu_count() or 2


def form(username: str, password: str) -> dict[str, Any]:
    """Return what a client sends to log in."""
    return {"data": {"username": username, "password": password}}


def login(client: Client, username: str, password: str) -> Any:
    """Post the OAuth2 form that the Authorize button of /docs posts."""
    data = {"grant_type": "password", "username": username, "password": password}
    return client.post("/token", data=data)


def let_in(client: Client, username: str = "johndoe", password: str = "secret") -> Any:
    """Log in with the right password: the twin of every refusal below."""
    answer = login(client, username, password)
    assert answer.status_code == 200, f"The right password: {answer.status_code}, not 200."
    return answer


def refused(answer: Any) -> tuple[int, bytes, list[tuple[str, str]]]:
    """Return all that mallory sees of a refusal."""
    assert answer.status_code == 401, f"Expected 401, got {answer.status_code}."
    return seen(answer)


def seen(answer: Any) -> tuple[int, bytes, list[tuple[str, str]]]:
    """Return all that mallory sees of an answer."""
    return answer.status_code, answer.content, sorted(answer.headers.items())


def claims_of(answer: Any) -> dict[str, Any]:
    """Return the claims of the token in an answer."""
    return take_apart(answer.json()["access_token"])[1]


@pytest.fixture
def outdated(older_hashes: dict[str, str], users: Any) -> None:
    """The demo people's hashes are of a time when a cheaper one was enough."""
    for name, hashed in older_hashes.items():
        users.change(name, hashed_password=hashed)


# --- build ----------------------------------------------------------------------------------


@todo(2, "authenticate_user")
def test_only_the_right_password_authenticates(candidate: Any, users: Any) -> None:
    """authenticate_user gives back the person, or None: for a wrong password, for nobody."""
    person = candidate.authenticate_user(users, "johndoe", "secret")
    assert person is not None, "The right password was refused."
    name = getattr(person, "username", None)
    assert name == "johndoe", f"authenticate_user returned {person!r:.40}, not johndoe."
    for name, password in (
        ("johndoe", "wrong"),
        ("johndoe", "Secret"),
        ("johndoe", " secret"),
        ("johndoe", "secret "),
        ("johndoe", ""),
        ("johndoe", "johndoe"),
        ("johndoe", "secretalice"),
        (UNKNOWN, "secret"),
        ("", ""),
    ):
        assert candidate.authenticate_user(users, name, password) is None, (
            f"{name!r} came in with {password!r}."
        )


@todo(3, "login")
def test_a_login_gives_a_token(
    client: Client, users: Any, settings: Any, later: Callable[..., Any]
) -> None:
    """POST /token answers as RFC 6749 section 5.1 has it, in whatever case the name is typed."""
    from solutions.tokens import decode_token

    for days, place in (
        (0, "UTC0"),
        (40, FAR_EAST),
    ):  # the time of a login is not that of the start
        with later(timedelta(days=days)), zone(place):
            answer = let_in(client, "JohnDoe").json()
            fields = {"access_token", "token_type", "expires_in"}
            assert set(answer) - {"scope"} == fields, f"The answer has {', '.join(answer)}."
            assert answer["token_type"].lower() == "bearer", f"It says {answer['token_type']!r}."
            due = settings.access_token_expire_minutes * 60
            assert answer["expires_in"] == due, (
                f"`expires_in` is {answer['expires_in']}: it is in seconds, and the settings say "
                f"{due}."
            )
            claims = take_apart(answer["access_token"])[1]
            life = claims["exp"] - time.time()
            assert abs(life - due) <= 5, (
                f"The answer says {due} seconds, and the token lives {life:.0f}."
            )
            assert decode_token(answer["access_token"]) == claims
            assert claims["sub"] == "johndoe", "`sub` is the name as it is stored."
            assert claims.get("stamp") == users.get("johndoe").security_stamp, (
                "The claim `stamp` is the user's security_stamp."
            )


@todo(3, "login")
@asvs("6.2.8")
def test_a_wrong_password_is_a_401(client: Client, users: Any, settings: Any, meter: Meter) -> None:
    """A refusal is a 401 that says how to log in: WWW-Authenticate (RFC 9110 section 11.6.1).

    A password is checked as it came: another one that is nearly the same is wrong.
    """
    from solutions.hashing import hash_password

    def choose(password: str) -> None:
        users.change("johndoe", hashed_password=hash_password(password))

    let_in(client)
    for password in ("wrong", users.get("johndoe").hashed_password, settings.signing_key):
        answer = login(client, "johndoe", password)
        assert answer.status_code == 401, f"Expected 401, got {answer.status_code}."
    assert answer.headers.get("www-authenticate", "").lower().startswith("bearer"), (
        "The header WWW-Authenticate: Bearer is missing."
    )
    says(answer, {"detail": "Incorrect username or password"}, "The refusal")
    for password in TEMPTING:
        with meter.counting() as hashes:
            login(client, "johndoe", password)
        choose(password)
        let_in(client, "johndoe", password)
        for other in sorted({_text(run.password) for run in hashes} - {password}):
            choose(other)
            answer = login(client, "johndoe", password)
            assert answer.status_code == 401, f"{password!a} let in, and {other!a} is right."


def _text(password: str | bytes) -> str:
    return password.decode("utf-8", "replace") if isinstance(password, bytes) else password


@todo(3, "login")
def test_who_registers_can_log_in(client: Client) -> None:
    """The steps fit together: register with lesson 01, log in here."""
    password = "trombone + seven \u00fc"
    client.post("/register", json={"username": "erin", "password": password})
    let_in(client, "erin", password)


# --- attack ---------------------------------------------------------------------------------


@attack
@todo(2, "authenticate_user")
@asvs("6.3.8")
def test_every_refusal_reads_the_same(client: Client, users: Any) -> None:
    """The words "no such user" or "account disabled" are a list of accounts (CWE-204).

    Same status, same body, same headers for unknown, wrong and disabled (ASVS 6.3.8).
    """
    with twin():
        for name in ("johndoe", "alice", "carol"):
            let_in(client, name, PASSWORDS[name])
    users.change("alice", disabled=True)
    users.change("carol", disabled=True)
    cases = {
        "wrong password": ("johndoe", "wrong"),
        "unknown": (UNKNOWN, "secret"),
        **{f"disabled {name}, right password": (name, PASSWORDS[name]) for name in DISABLED},
        "disabled, wrong password": ("bob", "wrong"),
        "impossible name": ("no such name!", "secret"),
        "the e-mail address for the name": ("johndoe@example.com", "secret"),
        "full-width letters": ("\uff4aohndoe", "secret"),
        "space after the name": ("johndoe ", "secret"),
        "1,000 letters and control characters": ("johndoe" * 142 + "\r\n\x00", "secret"),
    }
    first = None
    for name, (username, password) in cases.items():
        answer = login(client, username, password)
        first = first or refused(answer)
        assert refused(answer) == first, f"{name}: {answer.text}, unlike the first refusal."
    _check_headers(answer)


DISABLED = ("bob", "alice", "carol")


def _check_headers(answer: Any) -> None:
    said = surplus_headers(answer)
    assert not said, said[0]


@attack
@todo(2, "authenticate_user")
@asvs("6.3.8")
def test_unknown_user_costs_as_much_as_a_known_one(
    candidate: Any, client: Client, users: Any, meter: Meter
) -> None:
    """If "no such user" answers faster, mallory gets a list of accounts (CWE-208).

    Counted in hashes, not in seconds: a known, an unknown and a disabled name cost the same.
    """
    with twin(), meter.counting() as first:
        let_in(client)
        login(client, UNKNOWN, "warm-up")
    with twin():
        with meter.counting() as known, pauses() as waits:
            login(client, "johndoe", "wrong")
        assert known, (
            "The meter saw no hash for a wrong password. It knows bcrypt, argon2, scrypt, PBKDF2."
        )
    for who in (UNKNOWN, "no such name!", "bob", "alice", "carol", "johndoe", UNKNOWN):
        with meter.counting() as other, pauses() as others_waits:
            login(client, who, "wrong")
        assert sorted(known) == sorted(other), f"johndoe: {_work(known)}. {who}: {_work(other)}."
        assert waits == others_waits, f"johndoe waits {waits} seconds, {who} {others_waits}."
    with meter.counting() as again:
        let_in(client)
    assert again, "The second login with the right password was not verified."
    hashed = {run.password for run in first}  # among them the dummy's, which opens nothing
    users.change("carol", hashed_password="")  # as of somebody who has no password
    for text in sorted({_text(each) for each in hashed} - {"secret", "warm-up"}):
        for who in (UNKNOWN, "bob", "carol"):
            refused(login(client, who, text))
    _is_nobody_s(candidate.get_dummy_hash())
    told = {}
    for who in ("johndoe", STRANGER):
        with meter.counting() as hashes, pauses() as waits:
            for _ in range(MANY):
                login(client, who, "wrong")
        told[who] = f"{len(hashes)} hashes and {sum(waits):.1f} seconds of waiting"
    assert told["johndoe"] == told[STRANGER], (
        f"{MANY} wrong passwords cost johndoe {told['johndoe']}, {STRANGER} {told[STRANGER]}."
    )
    let_in(client)


def _is_nobody_s(dummy: Any) -> None:
    from solutions.hashing import verify_password

    assert isinstance(dummy, str), f"get_dummy_hash must return a hash, not {dummy!r}."
    for text in (*TEMPTING, *COMMON, *texts_in(sys.modules["solutions.login"])):
        assert not verify_password(text, dummy), f"The dummy's password is {text!a}, no secret."


def _work(hashes: list[Any]) -> str:
    return " and ".join(str(run) for run in hashes) or "no hash at all"


@attack
@todo(2, "authenticate_user")
@asvs("6.3.8")
def test_a_disabled_account_s_password_is_not_confirmed(
    outdated: None, client: Client, meter: Meter
) -> None:
    """Bob is disabled. If his right password costs or says something else, mallory has it.

    She tries it elsewhere: people use one password twice (CWE-204, CWE-208).
    """
    with twin():
        let_in(client)
    login(client, UNKNOWN, "warm-up")
    told = []  # bob's hash is outdated
    for password in ("wrong", "secretbob"):
        with meter.counting() as hashes:
            answer = login(client, "bob", password)
        told.append((*refused(answer), len(hashes)))
    assert told[0] == told[1], (
        f"Hashes for his wrong password: {told[0][-1]}, for his right one: {told[1][-1]}."
    )


@attack
@todo(2, "authenticate_user")
def test_a_login_does_not_stop_the_others(
    outdated: None, client: Client, users: Any, meter: Meter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hash on the event loop stops every other request while it lasts (CWE-400).

    One inside a transaction stops everybody who has something to write.
    """
    waited = []
    transaction = users.store.transaction

    @asynccontextmanager
    async def watched() -> AsyncIterator[None]:
        before = len(hashes)
        async with transaction():
            yield
        waited.extend(hashes[before:])

    monkeypatch.setattr(users.store, "transaction", watched)
    for username, password in {"johndoe": "secret", UNKNOWN: "wrong"}.items():
        with meter.counting() as hashes:
            answer = login(client, username, password)
        with twin():
            assert answer.status_code in (200, 401), f"A login was answered {answer.status_code}."
        assert hashes, "The meter saw no hash. It knows bcrypt, argon2, scrypt and PBKDF2."
        assert not any(run.on_event_loop for run in hashes), (
            f"The password of {username} was hashed on the event loop; everybody else waited."
        )
        assert not waited, f"The password of {username} was hashed inside a transaction."


@attack
@todo(2, "authenticate_user")
def test_a_storm_of_logins_hashes_few_at_once(
    client: Client, meter: Meter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forty hashes at once on two cores: none is done sooner, and all other requests starve.

    As many at once as there are cores, and whoever finds no room is told so: it is a 503, not a
    wrong password, and the same for everybody (OWASP API4:2023).
    """
    from solutions.support import threads

    with twin():
        let_in(client)
        login(client, UNKNOWN, "warm-up")
    few = max(CORES, 4)
    monkeypatch.setattr(threads, "WAITING_PER_THREAD", 2)
    room = max(few, threads.THREADS * 3) + 2
    crowd = [form(name, "wrong") for name in ("johndoe", UNKNOWN)] * (room // 2 + 1)
    late = [("johndoe", "wrong"), (UNKNOWN, "wrong"), ("bob", "secretbob"), ("johndoe", "secret")]
    with meter.counting() as hashes, meter.holding(limit=few) as gate:
        answers = log_in_late(client, gate, crowd, [form(*each) for each in late])
    most = threads.THREADS * threads.WAITING_PER_THREAD
    assert gate.queued <= most, (
        f"{gate.queued} logins waited for the given hashing threads. `run_hashing` lets {most} "
        "wait here, and answers the others 503."
    )
    assert not any(run.on_event_loop for run in hashes), "They were hashed on the event loop."
    assert gate.held <= few, f"{gate.held} hashes at once on {os.cpu_count()} cores."
    told = {answer.status_code for answer in answers[: len(crowd)]}
    assert told <= {401, 503}, f"A wrong password in a storm was answered {told}."
    busy, *others, right = answers[len(crowd) :]
    for (name, _), other in zip(late[1:], others, strict=False):
        assert seen(other) == seen(busy), (
            f"johndoe is told {busy.status_code}, {name} {other.status_code}: not the same."
        )
    if busy.status_code == 503:
        assert seen(right) == seen(busy), "With the right password the full queue has room."
    else:
        assert right.status_code == 200, f"The right password: {right.status_code} in a storm."


@attack
@todo(3, "login")
@asvs("6.3.4")
def test_only_the_form_logs_in(client: Client, candidate: Any) -> None:
    """A 422 that quotes the input puts the password into logs and trackers (CWE-209).

    A password in the URL stands in every access log (CWE-598). A cookie or a header that counts is
    a second door, and nobody guards it.
    """
    both = {"username": "johndoe", "password": "secret"}
    with twin():
        token = let_in(client).json()["access_token"]
    basic = {"Authorization": "Basic " + b64encode(b"johndoe:secret").decode()}
    names = ("X-User", "X-User-Id", "Remote-User", "X-Remote-User", "X-Forwarded-User", "From")
    coded = "application/x-www-form-urlencoded; charset="
    doors: dict[str, dict[str, Any]] = {
        "no name": {"data": {"password": "secret"}},
        "JSON": {"json": both},
        "the URL": {"params": both},
        "nothing": {},
        "a multipart form": {"files": {name: (None, both[name]) for name in both}},
        **{
            f"a form in {charset}": {
                "content": urlencode(both).encode(charset),
                "headers": {"Content-Type": coded + charset},
            }
            for charset in ("utf-16", "latin-1")
        },
    }
    wrong = form("johndoe", "wrong")
    doors |= {
        "HTTP Basic": {"headers": basic},
        "HTTP Basic and a wrong form": {"headers": basic, **wrong},
        "a token and a wrong form": {"headers": bearer(token), **wrong},
        "a token and no password": {"headers": bearer(token), "data": {"username": "johndoe"}},
        "the URL and a wrong form": {"params": both, **wrong},
        "cookies and a wrong form": {
            "headers": {"Cookie": f"username=johndoe; password=secret; token={token}"},
            **wrong,
        },
        "a proxy's headers and a wrong form": {
            "headers": dict.fromkeys(names, "johndoe") | {"X-Forwarded-For": "127.0.0.1"},
            **wrong,
        },
    }
    for where, send in doors.items():
        _stays_shut(where, client.post("/token", **send))
    with reading() as reads:
        let_in(client)
        expected = refused(login(client, "johndoe", "wrong"))
    for what, door in side_doors(reads, MEANT, ["johndoe", "secret", token, "1"]):
        answer = client.post("/token", **with_door(wrong, door))
        assert seen(answer) == expected, f"With {what} the refusal of a wrong password differs."
        _is_for_johndoe(client.post("/token", **with_door({"data": both}, door)), what)
    _is_for_johndoe(client.post("/token", data=both | {"sub": "carol", "role": "x"}), "a sub")
    words = texts_in(sys.modules["solutions.login"])
    for word in ("carol", *(each for each in words if re.fullmatch(r"[\w.:-]+", each))):
        fields = dict.fromkeys(("scope", "client_id", "client_secret", "remember"), word)
        fields["scope"] = " ".join([*ASKED, word])
        _is_for_johndoe(client.post("/token", data=both | fields), f"the fields {fields}")
    for two in permutations(("johndoe", "carol")):  # each order: one may be verified, one greeted
        _is_for_johndoe(client.post("/token", data=both | {"username": list(two)}), f"{two}")
    for two in permutations(("secret", "wrong")):
        twice = {"username": ["carol", "johndoe"], "password": list(two)}
        _is_for_johndoe(client.post("/token", data=twice), f"{twice}")
    other = {"username": "johndoe", "password": "wrong"}
    for path in sorted({path for _, path in served(candidate.app)}):
        _gives_no_token(path, client.post(path, json=other, params=other))
        for method in ("GET", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE"):
            answer = client.request(method, path, params=both, headers=basic)
            _gives_no_token(path, answer)
            if path == "/token":
                _stays_shut(f"{method} /token", answer)


ASKED = ("offline_access", "openid", "remember_me", "long", "admin")


def _is_for_johndoe(answer: Any, what: str) -> None:
    """Assert that an answer is a refusal, or the token that johndoe gets for the form alone."""
    from solutions.support.settings import get_settings

    if answer.status_code == 200:
        claims, due = claims_of(answer), get_settings().access_token_expire_minutes * 60
        assert claims["sub"] == "johndoe", (
            f"With {what} johndoe's password gives a token for {claims['sub']}."
        )
        life = claims["exp"] - time.time()
        assert abs(life - due) <= 5, f"With {what} the token lives {life:.0f} seconds, not {due}."
        said = answer.json()["expires_in"]
        assert said == due, f"With {what} `expires_in` is {said}, not {due}."


def _gives_no_token(path: str, answer: Any) -> None:
    everything = answer.text + str(answer.headers)
    assert "eyJ" not in everything, f"{path} gives a token to whoever does not send the form."


MEANT = Contract(form={"grant_type", "username", "password", "scope", "client_id", "client_secret"})


def _stays_shut(where: str, answer: Any) -> None:
    assert 400 <= answer.status_code < 500, f"{where}: {answer.status_code}, not a 4xx."
    at = answer.text.find("secret")
    shown = answer.text[max(at - 25, 0) : at + len("secret")]
    assert at < 0, f"The answer repeats the password: ...{shown}..."


@attack
@todo(3, "login")
@asvs("10.1.1")
def test_the_answer_is_not_cached(client: Client) -> None:
    """A token in a proxy's cache is a login for the next one who asks (RFC 6749 section 5.1).

    One in a cookie is sent by every page of the world that links here (CWE-352).
    """
    with twin():
        answer = let_in(client)
    assert "no-store" in answer.headers.get("cache-control", ""), (
        "Cache-Control: no-store is missing."
    )
    _check_headers(answer)


class Meanwhile(Before):
    """A store behind which something happens as soon as somebody has been looked up."""

    def __init__(self, store: Any, event: Callable[[], Coroutine[Any, Any, None]]) -> None:
        super().__init__(store)
        self._ahead = [event]

    async def _after(self, name: str) -> None:
        if name == "get" and self._ahead:
            await self._ahead.pop()()


@attack
@todo(2, "authenticate_user")
def test_a_login_replaces_an_old_hash(
    outdated: None, candidate: Any, users: Any, client: Client, meter: Meter
) -> None:
    """Old cheap hashes stay cheap for ever unless the login replaces them.

    Only the right password does, before the answer, and never over a password changed in the
    meantime.
    """
    from solutions.stores.users import get_users

    for name in ("alice", "carol", "johndoe"):
        weak = users.get(name).hashed_password
        slow = Slow(users.store, turns=20)
        with twin(), meter.counting() as hashes, in_place(candidate.app, get_users, slow):
            let_in(client, name, PASSWORDS[name])
        fresh = users.get(name).hashed_password
        assert not any(run.on_event_loop for run in hashes), "The new hash ran on the event loop."
        assert fresh != weak, f"{name}'s old hash stayed, or was replaced after the answer only."
    with twin():
        let_in(client)
    assert users.get("johndoe").hashed_password == fresh, "A hash that was fine was replaced."
    users.replace_hash("johndoe", fresh, weak)
    login(client, "johndoe", "wrong")
    assert users.get("johndoe").hashed_password == weak, "A wrong password replaced the hash."

    async def change_password() -> None:
        await users.store.replace_hash("johndoe", weak, fresh)

    racing = users.another(Meanwhile(users.store, change_password))
    with only_raises("authenticate_user"):
        candidate.authenticate_user(racing, "johndoe", "secret")
    stored = users.get("johndoe").hashed_password
    assert stored == fresh, "The rehash undid a password change."
    for changes in ({"role": "degraded", "email": "new@example.com"}, {"disabled": True}):
        users.change("johndoe", hashed_password=weak, disabled=False)
        _only_the_hash_is_replaced(candidate, users, changes)


def _only_the_hash_is_replaced(candidate: Any, users: Any, changes: dict[str, Any]) -> None:
    """Assert that what changes while an old hash is replaced stays changed."""
    changed: list[Any] = []

    async def change() -> None:
        await users.store.change("johndoe", **changes)
        changed.append(await users.store.get("johndoe"))

    racing = users.another(Meanwhile(users.store, change))
    with only_raises("authenticate_user"):
        candidate.authenticate_user(racing, "johndoe", "secret")
    any_hash = {"hashed_password": users.get("johndoe").hashed_password}
    assert [users.get("johndoe")] == [each.model_copy(update=any_hash) for each in changed], (
        f"The rehash undid what was changed meanwhile: {', '.join(changes)}."
    )


@attack
@todo(2, "authenticate_user")
@asvs("6.3.8")
def test_hostile_passwords_do_not_tell_who_exists(
    candidate: Any, client: Client, users: Any, meter: Meter
) -> None:
    """A 500 for johndoe and a 401 for nobody is a list of accounts (ASVS 16.5.3, CWE-204).

    Nor does a damaged or an empty hash crash, or let anybody in.
    """
    with twin():
        let_in(client)
        login(client, UNKNOWN, "warm-up")
    for name, password in HOSTILE_PASSWORDS.items():
        told = {}
        for username in ("johndoe", UNKNOWN):
            with meter.counting() as hashes:
                if name in ("a lone surrogate", "1 MB"):  # hard to send, or slow
                    with only_raises("authenticate_user"):
                        person = candidate.authenticate_user(users, username, password)
                    assert person is None, f"{username} came in with {name}."
                    told[username] = "refused"
                else:
                    answer = login(client, username, password)
                    assert answer.status_code in (401, 422), f"{name}: {answer.status_code}."
                    told[username] = f"{answer.status_code} {answer.text}"
            told[username] += f" after {len(hashes)} hashes"
            if name == "1 MB":  # a short stand-in may be hashed: the same for every password
                with meter.counting() as others:
                    candidate.authenticate_user(users, username, "b" * len(password))
                both = [[run.password for run in each] for each in (hashes, others)]
                assert both[0] == both[1], "A password of 1 MB was hashed."
        assert told["johndoe"] == told[UNKNOWN], (
            f"{name}. johndoe: {told['johndoe']}. {UNKNOWN}: {told[UNKNOWN]}."
        )
    for hashed in ("", "!", "$2b$12$"):
        users.change("alice", hashed_password=hashed)
        for password in (hashed, "", "secretalice"):
            with only_raises("authenticate_user"):
                person = candidate.authenticate_user(users, "alice", password)
            assert person is None, f"With the hash {hashed!r} alice came in by {password!r}."


@attack
@todo(2, "authenticate_user")
def test_a_token_is_for_the_one_who_was_verified(
    outdated: None, client: Client, candidate: Any, users: Any, meter: Meter
) -> None:
    """Two log in at once, and mallory gets the other one's token (CWE-362).

    Or the old password, while it is hashed, is changed, and still gives a token that is good. Or
    the store fails, and nobody was verified at all (CWE-636).
    """
    from solutions.stores.users import get_users

    people = [("johndoe", "secret"), ("johndoe", "wrong"), ("alice", "secretalice")]
    people += [(UNKNOWN, "secretcarol"), ("carol", "secretcarol")]
    old = users.get("johndoe").hashed_password
    with (
        twin(),
        meter.holding(limit=CORES) as gate,
        in_place(candidate.app, get_users, Watched(Slow(users.store))) as watched,
    ):
        sends = [form(*each) for each in people]
        answers = client.together("POST", "/token", sends, at_a_standstill(gate, len(sends)))
    for (name, password), answer in zip(people, answers, strict=True):
        if PASSWORDS.get(name) != password:
            refused(answer)
            continue
        assert answer.status_code == 200, f"{name} was refused in a crowd."
        claims, person = claims_of(answer), users.get(name)
        assert claims["sub"] == name, f"{name} got the token of {claims['sub']}."
        assert claims["stamp"] == person.security_stamp, f"{name} got another one's stamp."
    _check_the_past(candidate, client, users, old)
    for method in sorted({call.name for call in watched.calls}):
        for name in ("johndoe", UNKNOWN):
            users.change("johndoe", hashed_password=old)
            with in_place(candidate.app, get_users, Failing(users.store, method)) as store:
                status = client.status_of("POST", "/token", **form(name, "secret"))
            assert status >= 500 or not store.failed, (
                f"`users.{method}` failed, and {name} is answered {status}."
            )


def _check_the_past(candidate: Any, client: Client, users: Any, old: str) -> None:
    """Assert that a proof from before a change gives no token that is good after it."""
    from solutions.stores.users import get_users

    store = users.store
    other = users.get("alice").model_copy(update={"username": "johndoe"})

    async def change_password() -> None:
        await store.change("johndoe", hashed_password=other.hashed_password)

    async def disable_and_enable() -> None:
        await store.change("johndoe", disabled=True)
        await store.change("johndoe", disabled=False)

    async def register_anew() -> None:
        await store.remove("johndoe")
        await store.add(other)

    fresh = users.get("johndoe").hashed_password
    for name, hashed, event in (
        ("it was changed", fresh, change_password),
        ("it was changed", old, change_password),
        ("the account was disabled and enabled again", fresh, disable_and_enable),
        ("somebody else registered the name", fresh, register_anew),
    ):
        users.change("johndoe", hashed_password=hashed)
        with in_place(candidate.app, get_users, Meanwhile(store, event)):
            answer = login(client, "johndoe", "secret")
        if answer.status_code != 200:
            refused(answer)
            continue
        stamp = users.get("johndoe").security_stamp
        assert claims_of(answer)["stamp"] != stamp, (
            f"While a password was hashed, {name}. Yet it gives a token that is good afterwards."
        )


@attack
@todo(3, "login")
def test_the_token_and_the_log_hold_no_secret(client: Client, candidate: Any, users: Any) -> None:
    """Tokens can be read by anyone, and logs by too many (CWE-312, CWE-532).

    What the program remembers of a password is there for the next hole in it (CWE-316).
    """
    from solutions.stores.users import get_users

    password, wrong = "kvzw trombone + qxjk", "zjqv bassoon + wkxv"
    with listening() as trap:
        with twin():
            client.post("/register", json={"username": "erin", "password": password})
            let_in(client, "erin", password)
        person = users.change("erin", email="erin@example.com")
        asked = {"scope": "admin", "client_id": "mallory", "client_secret": "mallory"}
        answer = client.post("/token", data={"username": "erin", "password": password, **asked})
        for name in ("erin", UNKNOWN):
            login(client, name, wrong)
        with in_place(candidate.app, get_users, Failing(users.store, "get")):
            client.status_of("POST", "/token", **form("erin", password))
        users.change("erin", disabled=True)
        login(client, "erin", password)
    claims = claims_of(answer)
    extra = set(claims) - {"sub", "stamp", "exp", "nbf", "iat", "iss", "aud", "jti", "type"}
    assert not extra, f"The token holds {', '.join(sorted(extra))}, readable by anyone."
    secrets = {"password": password, "hash": person.hashed_password}
    for name, secret in (secrets | {"e-mail address": person.email}).items():
        how = holds(json.dumps(claims), secret, name == "password")
        assert how is None, f"The token holds the {name}, {how}."
    token = answer.json()["access_token"]
    trap.refuse(secrets | {"password with a typing error": wrong, "token": token})
    parts = [part for each in (password, wrong) for part in (each[:4], each[-4:])]
    log = " ".join(text for _, text in trap.pieces).lower()
    told = [part for part in parts if part in log]
    assert not told, f"The log holds a part of a password: {told}."
    users.change("erin", disabled=False)
    told = told_apart(lambda each: login(client, "erin", each), wrong, wrong[::-1])
    assert told is None, f"{told} is logged for one wrong password and not for another one."
    several = [f"{wrong} {each}" for each in range(6)]
    kept = remembered(
        sys.modules["solutions.login"],
        lambda each: login(client, "erin", each),
        [*several, password],
    )
    assert kept is None, f"The program remembers passwords: {kept}."
