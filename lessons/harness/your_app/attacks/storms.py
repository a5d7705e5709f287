"""Lesson 10: a great deal of one thing. These come last: what they do, the app remembers."""

import secrets
import time
from dataclasses import dataclass
from typing import Any

import httpx2

from lessons.harness.your_app.attacks import attack
from lessons.harness.your_app.findings import NotTried, Success
from lessons.harness.your_app.site import Person, Visit

TRIES, FEWER = 30, 20  # a person forgets a password less often
SLOW = 0.2  # seconds for a guess
BODY = 20_000_000
FIELDS = 200
LOCKED = (403, 423, 429)


@attack(
    "huge-body",
    "the app reads 20 MB from anybody",
    lesson="10",
    level="hardening",
    authority="CWE-400",
    storms=True,
)
def huge_body(visit: Visit) -> Success | None:
    visit.known()
    login = visit.about.login
    if login.form is None and login.body is None:
        raise NotTried("its login has no body")
    # A form in many fields: of one, most frameworks read no more than a megabyte.
    parts = FIELDS if login.form is not None else 1
    more = {f"more{number}": "a" * (BODY // parts) for number in range(parts)}
    wrong = visit.try_login(visit.new_person())
    answer = visit.try_login(visit.new_person(), more=more)
    if answer.extensions.get("hang"):
        # A server that has heard enough closes the connection.
        return None if not visit.site.target.in_process else Success("it gives no answer", "leak")
    if answer.status_code >= 500:
        return Success(f"a {answer.status_code}", "leak")
    is_as_wrong = answer.status_code == wrong.status_code and answer.text == wrong.text
    if answer.status_code in (413, 431) or (answer.status_code == 400 and not is_as_wrong):
        return None
    return Success(f"it reads all of it, and answers {answer.status_code}, not 413")


@dataclass(frozen=True)
class Guessed:
    """Somebody whose password was guessed at, and how the app took it."""

    person: Person
    guesses: int
    last: httpx2.Response

    @property
    def is_stopped(self) -> bool:
        return self.last.status_code in LOCKED


def _guess(visit: Visit, person: Person) -> Guessed:
    """Guess wrong until the app has enough, or it is plain that it never has."""
    begin = time.perf_counter()
    answers = [_wrong(visit, person)]
    most = FEWER if time.perf_counter() - begin > SLOW else TRIES
    while len(answers) < most and answers[-1].status_code not in LOCKED:
        answers.append(_wrong(visit, person))
    return Guessed(person, len(answers), answers[-1])


def _wrong(visit: Visit, person: Person, **changes: Any) -> httpx2.Response:
    return visit.try_login(person, "Wrong-" + secrets.token_hex(8), waits=False, **changes)


def _guessed(visit: Visit) -> Guessed:
    """Guess at somebody's password, once a run: the app remembers it."""
    if isinstance(visit.site.guessed, Guessed):
        return visit.site.guessed
    if not visit.site.can_make_people:
        raise NotTried("it would lock an account that it did not make: describe [register]")
    person = visit.log_in(visit.make_somebody()).person
    visit.site.guessed = _guess(visit, person)
    return visit.site.guessed


@attack(
    "no-attempt-limit",
    "passwords can be guessed as often as mallory likes",
    lesson="10",
    level="hardening",
    authority="ASVS 6.3.1",
    storms=True,
)
def no_attempt_limit(visit: Visit) -> Success | None:
    guessed = _guessed(visit)
    if guessed.is_stopped:
        return None
    if visit.ticket(guessed.person, visit.try_login(guessed.person, waits=False)):
        return Success(f"after {guessed.guesses} wrong passwords the right one logs in")
    return None


@attack(
    "spoofed-address",
    "a header makes mallory somebody new to the limiter",
    lesson="10",
    level="hardening",
    authority="CWE-348",
    storms=True,
)
def spoofed_address(visit: Visit) -> Success | None:
    guessed = _guessed(visit)
    if not guessed.is_stopped:
        raise NotTried("there is no limit to get around, see no-attempt-limit")
    if _wrong(visit, guessed.person).status_code not in LOCKED:
        guessed = _guess(visit, guessed.person)  # from this attack's own address
    for name in ("X-Forwarded-For", "X-Real-IP", "Forwarded", "CF-Connecting-IP"):
        address = f"203.0.113.{secrets.randbelow(250) + 1}"
        value = f"for={address}" if name == "Forwarded" else address
        answer = _wrong(visit, guessed.person, headers={name: value})
        if answer.status_code not in LOCKED:
            return Success(f"with {name} the next guess is answered {answer.status_code}")
    return None
