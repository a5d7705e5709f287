"""Lesson 03: what a login tells, and what it takes."""

import re
import secrets
from dataclasses import replace
from typing import Any

import httpx2

from lessons.harness.your_app.attacks import attack
from lessons.harness.your_app.description import Action
from lessons.harness.your_app.findings import NotTried, Success
from lessons.harness.your_app.site import Person, Visit, cookies_of, said

CHANGING = re.compile(r"[\w-]{16,}|[0-9a-f]{8,}|\d+")  # ids, times, numbers of tries
ADMINS = re.compile(r"admin|super|root|staff|\*", re.IGNORECASE)


def told_apart(
    one: tuple[Person, httpx2.Response], other: tuple[Person, httpx2.Response]
) -> str | None:
    """Return how the answers to two people differ, but for their names, numbers and ids."""
    first, second = one[1], other[1]
    if first.status_code != second.status_code:
        return f"{first.status_code} for who has an account, {second.status_code} for nobody"
    if _without_names(*one) != _without_names(*other):
        return f"{_words(first)!r} for who has an account, {_words(second)!r} for nobody"
    for name in ("www-authenticate", "location"):
        if _plain(first.headers.get(name, ""), one[0]) != _plain(
            second.headers.get(name, ""), other[0]
        ):
            return f"the header {name} differs"
    if {each.name for each in cookies_of(first)} != {each.name for each in cookies_of(second)}:
        return "the cookies that it sets differ"
    return None


def _without_names(person: Person, answer: httpx2.Response) -> str:
    return _plain(answer.text, person)


def _plain(text: str, person: Person) -> str:
    for name in (person.email, person.username):
        text = text.replace(name, "NAME") if name else text
    return CHANGING.sub("N", text)


def _words(answer: httpx2.Response) -> str:
    return " ".join(answer.text.split())[:80]


@attack(
    "account-list",
    "the login says who has an account",
    lesson="03",
    level="leak",
    authority="ASVS 6.3.8",
)
def account_list(visit: Visit) -> Success | None:
    person = visit.known()
    stranger = visit.new_person()
    wrong = "Wrong-" + secrets.token_hex(8)
    known, unknown = visit.try_login(person, wrong), visit.try_login(stranger, wrong)
    for each in (known, unknown):
        if each.status_code == 429:
            raise NotTried("its limiter answers before the login does")
    difference = told_apart((person, known), (stranger, unknown))
    return Success(difference) if difference else None


@attack(
    "account-list-by-time",
    "the login takes longer for who has an account",
    lesson="03",
    level="leak",
    authority="CWE-208",
)
def account_list_by_time(visit: Visit) -> Success | None:
    person, stranger = visit.known(), visit.new_person()
    wrong = "Wrong-" + secrets.token_hex(8)
    visit.try_login(visit.new_person(), wrong)  # some draw a hash at the first
    seen = []
    for each in (person, stranger):
        with visit.counting() as hashes:
            answer = visit.try_login(each, wrong)
        if answer.status_code == 429:
            raise NotTried("its limiter answers before the login does")
        seen.append(sorted(map(str, hashes)))
    if not seen[0]:
        raise NotTried("the meter saw no hash at the login")
    if seen[0] == seen[1]:
        return None
    told = [", ".join(each) or "no hash" for each in seen]
    return Success(f"{told[0]} for who has an account, {told[1]} for nobody")


@attack(
    "password-in-address",
    "passwords travel in the address, and stay in logs",
    lesson="03",
    level="leak",
    authority="ASVS 14.2.1",
)
def password_in_address(visit: Visit) -> Success | None:
    person = visit.known()
    login = visit.about.login
    if "{password}" in repr(login.query) or "{password}" in login.path:
        return Success(f"{login.route} takes the password in its address")
    fields: dict[str, Any] = login.form or login.body or {}
    bare = Action(route=login.route, query=fields, headers=login.headers, cookies=login.cookies)
    answer = visit.ask(bare, places=person.places)
    ticket = visit.ticket(person, answer)
    if ticket and visit.opens(ticket):
        return Success(f"{login.route}?...&password=... logs in, too")
    return None


@attack(
    "requested-scope",
    "who asks for a right at the login has it",
    lesson="03",
    level="break-in",
    authority="ASVS 10.4.11",
)
def requested_scope(visit: Visit) -> Success | None:
    if visit.about.login.form is None:
        raise NotTried("its login is no OAuth form, so it has no field for scopes")
    ticket = visit.alice()
    _, before = visit.claims(ticket.token)
    published = re.findall(r"'scopes': \{([^}]*)\}", repr(visit.site.document or {}))
    names = {name for each in published for name in re.findall(r"'([^']+)':", each)}
    wanted = sorted({name for name in names if ADMINS.search(name)} | {"admin"})
    for scope in (" ".join(wanted), *wanted):
        answer = visit.try_login(ticket.person, more={"scope": scope})
        richer = visit.ticket(ticket.person, answer)
        if richer is None:
            continue
        _, after = visit.claims(richer.token)
        given = _scopes(after) - _scopes(before)
        if got := sorted(given & set(wanted)):
            return Success(f"a plain account asks for {scope!r}, and its token says {got[0]!r}")
    return None


def _scopes(claims: dict[str, Any]) -> set[str]:
    found: set[str] = set()
    for name in ("scope", "scopes", "scp", "permissions"):
        value = claims.get(name)
        found |= set(value.split() if isinstance(value, str) else map(str, value or []))
    return found


@attack(
    "password-echoed",
    "a refusal repeats the password",
    lesson="03",
    level="hardening",
    authority="CWE-209",
)
def password_echoed(visit: Visit) -> Success | None:
    visit.known()
    secret = f"Echo-{secrets.token_hex(8)}"
    for action in (visit.about.login, visit.about.register_):
        if action is None:
            continue
        for field in ("form", "body", "query"):
            template: dict[str, Any] = getattr(action, field) or {}
            names = [name for name in template if "password" not in repr(template[name])]
            if not names:
                continue
            part = {name: template[name] for name in template if name != names[0]}
            answer = visit.ask(
                action.model_copy(update={field: part}),
                places={**visit.new_person().places, "password": secret},
            )
            if secret in answer.text:
                return Success(f"{action.route} without {names[0]}: the answer has the password")
    return None


@attack(
    "cacheable-token",
    "the answer to a login may be kept by caches",
    lesson="03",
    level="hardening",
    authority="ASVS 14.3.2",
)
def cacheable_token(visit: Visit) -> Success | None:
    ticket = visit.log_in(visit.somebody())
    kept = ticket.answer.headers.get("cache-control", "")
    return None if "no-store" in kept.lower() else Success("its Cache-Control has no no-store")


@attack(
    "register-tells-names",
    "the registration says which names are taken",
    lesson="03",
    level="hardening",
    authority="ASVS 6.3.8",
)
def register_tells_names(visit: Visit) -> Success | None:
    if visit.about.register_ is None:
        raise NotTried("no [register] is described")
    person = visit.new_person()
    first, again = visit.register(person), visit.register(person)
    if first.status_code >= 400:
        raise NotTried(f"{visit.about.register_.route} makes no account: {said(first)}")
    visit.site.made.append(person.username)
    if again.status_code == first.status_code:
        return None
    return Success(f"{first.status_code} for a free name, {again.status_code} for a taken one")


@attack(
    "sign-up-takes-over",
    "who signs up under a taken name has the account",
    lesson="03",
    level="break-in",
    authority="CWE-694",
)
def sign_up_takes_over(visit: Visit) -> Success | None:
    if visit.about.register_ is None:
        raise NotTried("no [register] is described")
    person = visit.make_somebody()
    visit.log_in(person)
    thief = replace(person, password=visit.new_person().password)
    visit.register(thief)
    ticket = visit.ticket(thief, visit.try_login(thief))
    if ticket and visit.ticket(person, visit.try_login(person)) is None:
        return Success("the second password logs in, the first no more")
    return Success("the second password logs in as well as the first") if ticket else None


@attack(
    "reset-tells-names",
    "who forgets a password learns who has an account",
    lesson="03",
    level="leak",
    authority="ASVS 6.3.8",
)
def reset_tells_names(visit: Visit) -> Success | None:
    if visit.about.forgot is None:
        raise NotTried("no [forgot] is described")
    person, stranger = visit.known(), visit.new_person()
    if not person.email:
        raise NotTried("the account has no address: give it one under [[accounts]]")
    seen = []
    for each in (person, stranger):
        if visit.site.meter is None:
            seen.append((visit.ask(visit.about.forgot, places=each.places), 0))
            continue
        with visit.counting() as hashes:
            answer = visit.ask(visit.about.forgot, places=each.places)
        seen.append((answer, len(hashes)))
    if seen[0][0].status_code >= 500:
        raise NotTried(f"{visit.about.forgot.route} fails: {said(seen[0][0])}")
    if difference := told_apart((person, seen[0][0]), (stranger, seen[1][0])):
        return Success(difference)
    if seen[0][1] != seen[1][1]:
        return Success(f"hashes: {seen[0][1]} for who has an account, {seen[1][1]} for nobody")
    return None
