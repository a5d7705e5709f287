"""Lesson 03: login. Four tests of what you build, then mallory.

For maintainers
Goal: the token endpoint tells right from wrong, and nothing else: not who exists, not who is
disabled, not how long a hash takes; and a storm of logins does not stop the service.
Teach: equal work, one refusal, hashing off the event loop, few hashes at once, no-store.
Do not teach: attempt limits (lesson 10), refresh grants (05), reading the token back (04).
"""

import json
import logging
import os
import time
from collections.abc import Callable
from typing import Any

import bcrypt
import pytest

from lessons.harness.client import Client
from lessons.harness.hostile import HOSTILE_PASSWORDS, take_apart
from lessons.harness.meter import Meter
from lessons.harness.verdicts import only_raises, twin

attack = pytest.mark.attack
todo = pytest.mark.todo

UNKNOWN = "nobody"


def login(client: Client, username: str, password: str) -> Any:
    """Post the OAuth2 form that the Authorize button of /docs posts."""
    form = {"grant_type": "password", "username": username, "password": password}
    return client.post("/token", data=form)


def let_in(client: Client, username: str = "johndoe", password: str = "secret") -> Any:
    """Log in with the right password: the twin of every refusal below."""
    answer = login(client, username, password)
    assert answer.status_code == 200, f"The right password: {answer.status_code}, not 200."
    return answer


def refused(answer: Any) -> tuple[int, bytes, list[tuple[str, str]]]:
    """Return all that mallory sees of a refusal."""
    assert answer.status_code == 401, f"Expected 401, got {answer.status_code}."
    return answer.status_code, answer.content, sorted(answer.headers.items())


@pytest.fixture
def five_rounds(configure: Callable[..., None]) -> None:
    """Settings under which the demo people's hashes, of cost 4, are outdated."""
    configure(BCRYPT_ROUNDS="5")


# --- build ----------------------------------------------------------------------------------


@todo(2, "authenticate_user")
def test_only_the_right_password_authenticates(candidate: Any, users: Any) -> None:
    """authenticate_user gives back the person, or None: for a wrong password, for nobody."""
    person = candidate.authenticate_user(users, "johndoe", "secret")
    assert person is not None, "The right password was refused."
    name = getattr(person, "username", None)
    assert name == "johndoe", f"authenticate_user returned {person!r:.40}, not johndoe."
    for name, password in (
        ("johndoe", "Secret"),
        ("johndoe", " secret"),
        ("johndoe", "secret "),
        ("johndoe", ""),
        (UNKNOWN, "secret"),
        ("", ""),
    ):
        assert candidate.authenticate_user(users, name, password) is None, (
            f"{name!r} came in with {password!r}."
        )


@todo(3, "login")
def test_a_login_gives_a_token(candidate: Any, client: Client, users: Any) -> None:
    """POST /token answers as RFC 6749 section 5.1 has it, in whatever case the name is typed."""
    from solutions.tokens import decode_token

    answer = let_in(client, "JohnDoe").json()
    fields = {"access_token", "token_type", "expires_in"}
    assert set(answer) - {"scope"} == fields, f"The answer has {', '.join(answer)}."
    assert answer["token_type"].lower() == "bearer", f"token_type is {answer['token_type']!r}."
    assert answer["expires_in"] == 1800, "`expires_in` is in seconds: 30 minutes are 1800."
    claims = decode_token(answer["access_token"])
    assert claims["sub"] == "johndoe", "`sub` is the name as it is stored."
    life = claims["exp"] - time.time()
    assert abs(life - 1800) <= 5, f"The answer says 1800 seconds, and the token lives {life:.0f}."
    assert claims.get("stamp") == users.get("johndoe").security_stamp, (
        "The claim `stamp` is the user's security_stamp."
    )


@todo(3, "login")
def test_a_wrong_password_is_a_401(client: Client) -> None:
    """A refusal is a 401 that says how to log in: WWW-Authenticate (RFC 9110 section 11.6.1)."""
    let_in(client)
    answer = login(client, "johndoe", "wrong")
    assert answer.status_code == 401, f"Expected 401, got {answer.status_code}."
    assert answer.headers.get("www-authenticate", "").lower().startswith("bearer"), (
        "The header WWW-Authenticate: Bearer is missing."
    )
    assert answer.json() == {"detail": "Incorrect username or password"}, f"It says {answer.text}."


@todo(3, "login")
def test_who_registers_can_log_in(client: Client) -> None:
    """The steps fit together: register with lesson 01, log in here."""
    password = "trombone + 7 \u00fc"
    client.post("/register", json={"username": "erin", "password": password})
    let_in(client, "erin", password)


# --- attack ---------------------------------------------------------------------------------


@attack
@todo(2, "authenticate_user")
def test_every_refusal_reads_the_same(client: Client) -> None:
    """The words "no such user" or "account disabled" are a list of accounts (CWE-204).

    Same status, same body, same headers for unknown, wrong and disabled (ASVS 6.3.8).
    """
    with twin():
        let_in(client)
    cases = {
        "wrong password": ("johndoe", "wrong"),
        "unknown": (UNKNOWN, "secret"),
        "disabled, right password": ("bob", "secretbob"),
        "disabled, wrong password": ("bob", "wrong"),
        "impossible name": ("no such name!", "secret"),
        "full-width letters": ("\uff4aohndoe", "secret"),
        "space after the name": ("johndoe ", "secret"),
        "1,000 letters and control characters": ("johndoe" * 142 + "\r\n\x00", "secret"),
    }
    first = None
    for name, (username, password) in cases.items():
        answer = login(client, username, password)
        first = first or refused(answer)
        assert refused(answer) == first, f"{name}: {answer.text}, unlike the first refusal."


@attack
@todo(2, "authenticate_user")
def test_unknown_user_costs_as_much_as_a_known_one(client: Client, meter: Meter) -> None:
    """If "no such user" answers faster, mallory gets a list of accounts (CWE-208).

    Counted in hashes, not in seconds: a known, an unknown and a disabled name cost the same.
    """
    with twin(), meter.counting() as first:
        let_in(client)
        login(client, UNKNOWN, "warm-up")
    with twin():
        with meter.counting() as known:
            login(client, "johndoe", "wrong")
        assert known, (
            "The meter saw no hash for a wrong password. It knows bcrypt, argon2, scrypt, PBKDF2."
        )
    for who in (UNKNOWN, "no such name!", "bob"):
        with meter.counting() as other:
            login(client, who, "wrong")
        assert sorted(known) == sorted(other), f"johndoe: {_work(known)}. {who}: {_work(other)}."
    hashed = {run.password for run in first}  # among them the dummy's, which opens nothing
    texts = {each.decode() if isinstance(each, bytes) else each for each in hashed}
    for text in texts - {"secret", "warm-up"}:
        refused(login(client, UNKNOWN, text))


def _work(hashes: list[Any]) -> str:
    return " and ".join(str(run) for run in hashes) or "no hash at all"


@attack
@todo(2, "authenticate_user")
def test_a_disabled_account_s_password_is_not_confirmed(
    five_rounds: None, client: Client, meter: Meter
) -> None:
    """Bob is disabled. If his right password costs or says something else, mallory has it.

    She tries it elsewhere: people use one password twice (CWE-204, CWE-208).
    """
    with twin():
        let_in(client)
    login(client, UNKNOWN, "warm-up")
    seen = []  # bob's hash has cost 4, so it is outdated
    for password in ("wrong", "secretbob"):
        with meter.counting() as hashes:
            answer = login(client, "bob", password)
        seen.append((*refused(answer), len(hashes)))
    assert seen[0] == seen[1], (
        f"Hashes for his wrong password: {seen[0][-1]}, for his right one: {seen[1][-1]}."
    )


@attack
@todo(3, "login")
def test_a_login_does_not_stop_the_others(client: Client, meter: Meter) -> None:
    """A hash on the event loop stops every other request while it lasts (CWE-400)."""
    with twin(), meter.counting() as known:
        let_in(client)
    with meter.counting() as unknown:
        login(client, UNKNOWN, "wrong")
    for username, hashes in {"johndoe": known, UNKNOWN: unknown}.items():
        assert hashes, "The meter saw no hash. It knows bcrypt, argon2, scrypt and PBKDF2."
        assert not any(run.on_event_loop for run in hashes), (
            f"The password of {username} was hashed on the event loop; everybody else waited."
        )


@attack
@todo(3, "login")
def test_a_storm_of_logins_hashes_few_at_once(client: Client, meter: Meter) -> None:
    """Forty hashes at once on two cores: none is done sooner, and all other requests starve.

    As many at once as there are cores (OWASP API4:2023).
    """
    with twin():
        let_in(client)
        login(client, UNKNOWN, "warm-up")
    few = max(os.cpu_count() or 2, 4)
    both = [{"data": {"username": name, "password": "wrong"}} for name in ("johndoe", UNKNOWN)]
    with meter.counting() as hashes, meter.holding(limit=few) as gate:
        answers = client.together("POST", "/token", both * (few // 2 + 2), gate.watch)
    assert {answer.status_code for answer in answers} == {401}, "A wrong password was not a 401."
    assert not any(run.on_event_loop for run in hashes), "They were hashed on the event loop."
    assert gate.held <= few, f"{gate.held} hashes at once on {os.cpu_count()} cores."


@attack
@todo(3, "login")
def test_a_misdirected_password_is_not_repeated(client: Client) -> None:
    """A 422 that quotes the input puts the password into logs and trackers (CWE-209).

    A password in the URL stands in every access log (CWE-598).
    """
    with twin():
        let_in(client)
    secret = "secret"
    both = {"username": "johndoe", "password": secret}
    for send in ({"data": {"password": secret}}, {"json": both}, {"params": both}, {}):
        answer = client.post("/token", **send)
        where = ", ".join(send) or "nothing"
        assert 400 <= answer.status_code < 500, f"{where}: {answer.status_code}, not a 4xx."
        at = answer.text.find(secret)
        shown = answer.text[max(at - 25, 0) : at + len(secret)]
        assert at < 0, f"The answer repeats the password: ...{shown}..."


@attack
@todo(3, "login")
def test_the_answer_is_not_cached(client: Client) -> None:
    """A token in a proxy's cache is a login for the next one who asks (RFC 6749 section 5.1)."""
    with twin():
        answer = let_in(client)
    assert "no-store" in answer.headers.get("cache-control", ""), (
        "Cache-Control: no-store is missing."
    )


@attack
@todo(2, "authenticate_user")
def test_a_login_replaces_an_old_hash(
    five_rounds: None, candidate: Any, users: Any, client: Client, meter: Meter
) -> None:
    """Old cheap hashes stay cheap for ever unless the login replaces them.

    Only the right password does, and never over a password changed in the meantime.
    """
    weak = users.get("johndoe").hashed_password
    with twin():
        with meter.counting() as hashes:
            let_in(client)
        fresh = users.get("johndoe").hashed_password
        let_in(client)
    assert not any(run.on_event_loop for run in hashes), "The new hash ran on the event loop."
    assert fresh != weak, "A hash of cost 4 stayed, while the settings say 5."
    assert users.get("johndoe").hashed_password == fresh, "A hash that was fine was replaced."
    users.replace_hash("johndoe", fresh, weak)
    login(client, "johndoe", "wrong")
    assert users.get("johndoe").hashed_password == weak, "A wrong password replaced the hash."

    class Meanwhile(type(users)):  # type: ignore[misc]
        """The person changes the password while the old one is being verified."""

        def get(self, username: str) -> Any:
            person = super().get(username)
            changed = bcrypt.hashpw(b"changed", bcrypt.gensalt(4)).decode()
            super().replace_hash(username, weak, changed)
            return person

    racing = Meanwhile([users.get("johndoe")])
    with only_raises("authenticate_user"):
        candidate.authenticate_user(racing, "johndoe", "secret")
    stored = type(users).get(racing, "johndoe").hashed_password
    assert bcrypt.checkpw(b"changed", stored.encode()), "The rehash undid a password change."


@attack
@todo(2, "authenticate_user")
def test_hostile_passwords_do_not_tell_who_exists(
    candidate: Any, client: Client, users: Any, meter: Meter
) -> None:
    """A 500 for johndoe and a 401 for nobody is a list of accounts (ASVS 16.5.3, CWE-204)."""
    with twin():
        let_in(client)
        login(client, UNKNOWN, "warm-up")
    for name, password in HOSTILE_PASSWORDS.items():
        seen = {}
        for username in ("johndoe", UNKNOWN):
            with meter.counting() as hashes:
                if name in ("a lone surrogate", "1 MB"):  # hard to send, or slow
                    with only_raises("authenticate_user"):
                        person = candidate.authenticate_user(users, username, password)
                    assert person is None, f"{username} came in with {name}."
                    seen[username] = "refused"
                else:
                    answer = login(client, username, password)
                    assert answer.status_code in (401, 422), f"{name}: {answer.status_code}."
                    seen[username] = f"{answer.status_code} {answer.text}"
            seen[username] += f" after {len(hashes)} hashes"
            assert name != "1 MB" or not hashes, "A password of 1 MB was hashed."
        assert seen["johndoe"] == seen[UNKNOWN], (
            f"{name}. johndoe: {seen['johndoe']}. {UNKNOWN}: {seen[UNKNOWN]}."
        )


@attack
@todo(3, "login")
def test_the_token_and_the_log_hold_no_secret(
    client: Client, users: Any, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture
) -> None:
    """Tokens can be read by anyone, and logs by too many (CWE-312, CWE-532)."""
    caplog.set_level(logging.DEBUG)
    password = "trombone-plus-seven"
    with twin():
        client.post("/register", json={"username": "erin", "password": password})
        let_in(client, "erin", password)
    login(client, "erin", "trombone-plus-six")
    person = users.change("erin", email="erin@example.com")
    token = let_in(client, "erin", password).json()["access_token"]
    claims = take_apart(token)[1]
    extra = set(claims) - {"sub", "stamp", "exp", "nbf", "iat", "iss", "aud", "jti", "type"}
    assert not extra, f"The token holds {', '.join(sorted(extra))}, readable by anyone."
    printed = capsys.readouterr()
    log = caplog.text + printed.out + printed.err
    for name, secret in {
        "password": password,
        "hash": person.hashed_password,
        "e-mail address": person.email,
    }.items():
        assert secret not in json.dumps(claims), f"The token holds the {name}."
        _not_in_log(log, secret, name)
    _not_in_log(log, "trombone-plus-six", "password with a typing error")
    _not_in_log(log, token, "token")


def _not_in_log(log: str, secret: str, name: str) -> None:
    line = next((line for line in log.splitlines() if secret in line), None)
    assert line is None, f"The log holds the {name}: {line}"
