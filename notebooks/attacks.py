"""The lessons' attacks, made for any app: over HTTP, and by counting its hashes.

Each is what a test of a lesson is about, and says which. It
returns what mallory has when it succeeds, None when she is refused, and NOTHING_THERE when the app
has no such thing to attack. Every one lets the right user in first.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx2
import time_machine
from fastapi import FastAPI
from fastapi.testclient import TestClient
from passlib.hash import bcrypt

from lessons.harness.hostile import hostile_tokens, sign, take_apart
from lessons.harness.meter import Meter
from lessons.harness.people import bearer
from stage import configure, finish
from tutorials import address, dismissed, documented, forever, refreshed

NOTHING_THERE = "nothing there"


class NothingThere(Exception):
    """The app has no such thing to attack."""


FORGED = (  # of the hostile tokens those that would make mallory whoever she likes
    "alg none",
    "alg None",
    "alg NONE",
    "alg nOnE",
    "no signature",
    "edited claims",
    "another key",
    "an empty key",
    "its own key in the header",
)
PASSWORD = "trombone-7-plum-tree"
TUTORIALS = (documented, address, dismissed, refreshed, forever)
PUBLISHED_SECRETS = [each.SECRET_KEY for each in TUTORIALS]
KNOWN, UNKNOWN = "alice", "nobody"

_meter = Meter()
_meter.install("")


@dataclass(frozen=True)
class Site:
    """An app, and how one uses it: where to log in, and what is only for people who did."""

    name: str
    app: FastAPI
    login: str  # the address
    send_as: str  # how the login takes name and password: data, json or params
    guarded: tuple[str, ...]
    add: Callable[[str, str], None]  # a name and the hash of the password
    remove: Callable[[str], None]
    disable: Callable[[str], None] | None
    signing_key: Callable[[], str]
    refresh: Callable[[httpx2.Client, str], httpx2.Response] | None = None
    accepts_secret: Callable[[str], bool] = lambda secret: False
    hash_password: Callable[[str], str] = bcrypt.using(rounds=4).hash
    warns_of: tuple[str, ...] = ()  # the lessons' tests whose attack its own page warns of

    def open(self) -> "Session":
        """Begin anew, with alice as the only user whose password is known here."""
        configure()
        self.add(KNOWN, self.hash_password(PASSWORD))
        return Session(self)


class Session:
    """One attack's visit to a site."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.http = TestClient(site.app, base_url="http://demo", raise_server_exceptions=False)

    def log_in(self, username: str, password: str, send_as: str = "") -> httpx2.Response:
        both = {"username": username, "password": password}
        return self.http.post(self.site.login, **{send_as or self.site.send_as: both})

    def tokens(self) -> dict[str, Any]:
        """Log alice in, and make sure that this opens what it should."""
        answer = self.log_in(KNOWN, PASSWORD)
        assert answer.status_code == 200, f"{self.site.name}: alice cannot log in: {answer.text}"
        tokens = answer.json()
        statuses = self.statuses(tokens["access_token"])
        assert set(statuses.values()) == {200}, f"{self.site.name}: alice is not let in."
        return tokens

    def good_token(self) -> str:
        """Return alice's token. Where the pages are open anyway it proves nothing: NothingThere."""
        token = self.tokens()["access_token"]
        if self.what_opens(None):
            raise NothingThere
        return token

    def statuses(self, token: str | None) -> dict[str, int]:
        """Return how each guarded address answers to a token."""
        headers = bearer(token) if token is not None else {}
        return {url: self.http.get(url, headers=headers).status_code for url in self.site.guarded}

    def what_opens(self, token: str | None) -> str | None:
        """Return the guarded addresses that a token opens, or None."""
        opened = [url for url, status in self.statuses(token).items() if status == 200]
        return " and ".join(opened) or None


@dataclass(frozen=True)
class Attack:
    """What mallory tries, and the test of the lesson that does the same."""

    lesson: str
    test: str
    title: str  # what is true when she succeeds
    run: Callable[[Session], str | None]

    def __call__(self, site: Site) -> str | None:
        """Return what mallory has now, None if she was refused, or NOTHING_THERE."""
        try:
            return self.run(site.open())
        except NothingThere:
            return NOTHING_THERE


ATTACKS: list[Attack] = []


def attack(lesson: str, test: str, title: str) -> Callable[..., Any]:
    """Put a function into the list of attacks."""

    def enlist(run: Callable[[Session], str | None]) -> Callable[[Session], str | None]:
        ATTACKS.append(Attack(lesson, test, title, run))
        return run

    return enlist


@attack("01", "test_no_password_crashes_the_check", "a NUL in the password crashes it")
def nul_byte(session: Session) -> str | None:
    session.tokens()
    status = session.log_in(KNOWN, PASSWORD + "\0").status_code
    return None if 400 <= status < 500 else f"a {status}"


@attack("02", "test_every_token_dies", "a token still works a year later")
def eternal_token(session: Session) -> str | None:
    token = session.good_token()
    with time_machine.travel(timedelta(days=365)):
        session.tokens()  # alice is let in then, too
        return session.what_opens(token)


@attack("02", "test_hostile_tokens_are_refused_without_a_crash", "a published secret signs tokens")
def published_secret(session: Session) -> str | None:
    token = session.good_token()
    _, claims = take_apart(token)
    for secret in PUBLISHED_SECRETS:
        if opened := session.what_opens(sign(claims, secret)):
            return f"{opened}, with {secret!r}"
    for secret in PUBLISHED_SECRETS:
        if session.site.accepts_secret(secret):
            return f"it starts with {secret!r}"
    return None


@attack("03", "test_only_the_form_logs_in", "passwords travel in the address")
def password_in_the_address(session: Session) -> str | None:
    session.tokens()
    answer = session.log_in(KNOWN, PASSWORD, send_as="params")
    return f"{answer.url}" if answer.status_code == 200 else None


@attack(
    "03", "test_unknown_user_costs_as_much_as_a_known_one", "the login tells who has an account"
)
def account_list(session: Session) -> str | None:
    session.tokens()
    session.log_in(UNKNOWN, "warm-up")
    seen = {}
    for name in (KNOWN, UNKNOWN):
        with _meter.counting() as hashes:
            answer = session.log_in(name, "wrong")
        seen[name] = (sorted(hashes), answer.status_code, answer.text)
    if seen[KNOWN] == seen[UNKNOWN]:
        return None
    return ", ".join(f"hashes for {name}: {len(seen[name][0])}" for name in seen)


@attack("03", "test_a_login_does_not_stop_the_others", "one login stops everybody else")
def blocked_loop(session: Session) -> str | None:
    session.tokens()
    with _meter.counting() as hashes:
        session.log_in(KNOWN, "wrong")
    assert hashes, "The meter saw no hash."
    return "a hash on the event loop" if any(run.on_event_loop for run in hashes) else None


@attack("04", "test_every_route_asks_for_credentials", "a page asks for nothing")
def no_guard(session: Session) -> str | None:
    session.tokens()
    return session.what_opens(None)


@attack("04", "test_a_token_dies_with_its_user", "deleted users stay in")
def deleted_user(session: Session) -> str | None:
    token = session.good_token()
    session.site.remove(KNOWN)
    return session.what_opens(token)


@attack("04", "test_a_disabled_account_is_out_at_once", "disabled users stay in")
def disabled_user(session: Session) -> str | None:
    if session.site.disable is None:
        raise NothingThere
    token = session.tokens()["access_token"]
    session.site.disable(KNOWN)
    return session.what_opens(token)


@attack("04", "test_hostile_tokens_are_refused", "a crooked token crashes it, or gets in")
def crooked_token(session: Session) -> str | None:
    good = session.good_token()
    for name, token in hostile_tokens(good, session.site.signing_key()).items():
        seen = session.statuses(token).values()
        if max(seen) >= 500:
            return f"a {max(seen)} for: {name}"
        if name in FORGED and 200 in seen:
            return f"let in: {name}"
    return None


@attack("05", "test_a_token_that_comes_back_ends_its_session", "a stolen refresh token works on")
def spent_twice(session: Session) -> str | None:
    token = _refresh_token(session)
    stolen = session.site.refresh(session.http, token)
    assert stolen.status_code == 200, f"{session.site.name}: no refresh: {stolen.text}"
    if session.site.refresh(session.http, token).status_code == 200:
        return "two sessions from one token"
    newest = stolen.json()["refresh_token"]
    again = session.site.refresh(session.http, newest)
    return "the thief's session goes on" if again.status_code == 200 else None


@attack("05", "test_each_token_has_one_use", "a refresh token opens pages")
def refresh_as_access(session: Session) -> str | None:
    token = _refresh_token(session)
    return session.what_opens(token)


def _refresh_token(session: Session) -> str:
    if session.site.refresh is None:
        raise NothingThere
    tokens = session.tokens()
    if "refresh_token" not in tokens:  # a tutorial loses it at the login
        tokens = session.site.refresh(session.http, tokens["access_token"]).json()
    return tokens["refresh_token"]


# --- the sites ------------------------------------------------------------------------------


def _tutorial(name: str, module: Any, login: str, send_as: str, *guarded: str, **more: Any) -> Site:
    people = module.fake_users_db
    whole = module is not address  # address keeps nothing but hashes

    def add(username: str, hashed: str) -> None:
        people.clear()
        person = {"username": username, "hashed_password": hashed, "disabled": False}
        people[username] = person if whole else hashed

    def disable(username: str) -> None:
        people[username]["disabled"] = True

    return Site(
        name=name,
        app=module.app,
        login=login,
        send_as=send_as,
        guarded=guarded,
        add=add,
        remove=lambda username: people.pop(username),
        disable=disable if whole else None,
        signing_key=lambda: module.SECRET_KEY,
        **more,
    )


def _refresh_by_header(http: httpx2.Client, token: str) -> httpx2.Response:
    return http.post("/refresh", headers=bearer(token))


def _refresh_by_form(http: httpx2.Client, token: str) -> httpx2.Response:
    return http.post("/token", data={"grant_type": "refresh_token", "refresh_token": token})


def _workbook() -> Site:
    from solutions.main import app
    from solutions.stores.users import open_user_store
    from solutions.support.settings import UnsafeSettings, get_settings

    async def replace_hash(username: str, hashed: str) -> None:
        store = open_user_store()
        person = await store.get(username)
        await store.replace_hash(username, person.hashed_password, hashed)

    def accepts_secret(secret: str) -> bool:
        try:
            configure(JWT_SECRET=secret)
        except UnsafeSettings:
            return False
        finally:
            configure()
        return True

    return Site(
        name="the workbook",
        app=app,
        login="/token",
        send_as="data",
        guarded=("/users/me", "/protected-resource"),
        add=lambda username, hashed: finish(replace_hash(username, hashed)),
        remove=lambda username: finish(open_user_store().remove(username)),
        disable=lambda username: finish(open_user_store().change(username, disabled=True)),
        signing_key=lambda: get_settings().signing_key,
        refresh=_refresh_by_form,
        accepts_secret=accepts_secret,
    )


OWN = _tutorial(
    "FastAPI's own",
    documented,
    "/token",
    "data",
    "/users/me/",
    "/users/me/items/",
    hash_password=documented.get_password_hash,
    warns_of=("test_hostile_tokens_are_refused_without_a_crash",),  # "to get one of your own"
)
SITES = [
    OWN,
    _tutorial("the quick start", address, "/login", "params", "/protected"),
    _tutorial("the long read", dismissed, "/token", "data", "/users/me", "/protected-resource"),
    _tutorial(
        "the refresher", refreshed, "/token", "data", "/users/me", refresh=_refresh_by_header
    ),
    _tutorial("the ten minutes", forever, "/login", "json", "/users/me"),
    _workbook(),
]


def matrix() -> dict[Attack, dict[str, str | None]]:
    """Try every attack on every site."""
    return {each: {site.name: each(site) for site in SITES} for each in ATTACKS}
