"""The attacks of `lessons/your_app`, tried on the tutorials and on the workbook.

Each is what a test of a lesson is about, and says which. It returns what mallory has when it
succeeds, None when she is refused, and NOTHING_THERE when the app has no such thing to attack.
"""

import io
from collections.abc import Callable
from contextlib import redirect_stderr
from dataclasses import dataclass
from typing import Any

import httpx2
from fastapi import FastAPI
from fastapi.testclient import TestClient
from passlib.hash import bcrypt

from lessons.harness.meter import Meter
from lessons.harness.people import bearer
from lessons.harness.your_app import description
from lessons.harness.your_app import site as shared
from lessons.harness.your_app.attacks import all_attacks
from lessons.harness.your_app.description import Action, Description, Login, Refresh
from lessons.harness.your_app.document import fetch
from lessons.harness.your_app.run import run
from lessons.harness.your_app.site import Hooks
from lessons.harness.your_app.target import Here
from stage import configure
from tutorials import address, dismissed, documented, forever, refreshed

NOTHING_THERE = "nothing there"
PASSWORD = "trombone-7-plum-tree"
TUTORIALS = (documented, address, dismissed, refreshed, forever)
PUBLISHED_SECRETS = [each.SECRET_KEY for each in TUTORIALS]
KNOWN = "alice"

_meter = Meter()
_meter.install("")


@dataclass(frozen=True)
class Site:
    """An app, and how one uses it."""

    name: str
    app: FastAPI
    about: Description
    add: Callable[[str, str, str], Any]  # a name, an address, a password
    remove: Callable[[str], Any]
    disable: Callable[[str], Any] | None
    key: Callable[[], str]
    guarded: tuple[str, ...]  # the pages that are only for people who logged in
    accepts_secret: Callable[[str], bool] = lambda secret: False
    warns_of: tuple[str, ...] = ()  # the lessons' tests whose attack its own page warns of

    def open(self) -> "Session":
        """Begin anew, with alice as the only user."""
        configure()
        self.add(KNOWN, "", PASSWORD)
        return Session(self)

    def try_out(self, name: str) -> str | None:
        """Try one of the attacks that go for any app."""
        configure()
        target = Here(self.app, "demo", https=False)
        target.start()
        try:
            site = shared.Site(target, self.about, Hooks(self), _meter, fetch(target, self.app))
            with redirect_stderr(io.StringIO()):  # what crashes, its server would log
                found = run(site, _SHARED[name])
        finally:
            target.close()
        return {"refused": None, "not tried": NOTHING_THERE}.get(found.status, found.why)


class Session:
    """A visit to a site by hand."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.http = TestClient(site.app, base_url="http://demo", raise_server_exceptions=False)

    def tokens(self) -> dict[str, Any]:
        """Log alice in, and make sure that this opens what it should."""
        login = self.site.about.login
        both = {"username": KNOWN, "password": PASSWORD}
        kinds = {"data": login.form, "json": login.body, "params": login.query}
        send_as = next(kind for kind, template in kinds.items() if template)
        answer = self.http.request(login.method, login.path, **{send_as: both})
        assert answer.status_code == 200, f"{self.site.name}: alice cannot log in: {answer.text}"
        tokens: dict[str, Any] = answer.json()
        statuses = self.statuses(tokens["access_token"])
        assert set(statuses.values()) == {200}, f"{self.site.name}: alice is not let in."
        return tokens

    def statuses(self, token: str) -> dict[str, int]:
        """Return how each guarded page answers to a token."""
        return {url: self._get(url, token).status_code for url in self.site.guarded}

    def _get(self, url: str, token: str) -> httpx2.Response:
        answer: httpx2.Response = self.http.get(url, headers=bearer(token))
        return answer


@dataclass(frozen=True)
class Attack:
    """What mallory tries, and the test of the lesson that does the same."""

    lesson: str
    test: str
    title: str  # what is true when she succeeds
    names: tuple[str, ...]  # of the attacks that go for any app; one that succeeds is enough

    def __call__(self, site: Site) -> str | None:
        """Return what mallory has now, None if she was refused, or NOTHING_THERE."""
        ends = [site.try_out(name) for name in self.names]
        if "published-secret" in self.names:
            accepted = next(filter(site.accepts_secret, PUBLISHED_SECRETS), None)
            ends += [f"it starts with {accepted!r}"] if accepted else []
        if won := [each for each in ends if each not in (None, NOTHING_THERE)]:
            return won[0]
        return None if None in ends else NOTHING_THERE


_SHARED = {each.name: each for each in all_attacks()}
ATTACKS = [
    Attack(
        "01",
        "test_no_password_crashes_the_check",
        "a NUL in the password crashes it",
        ("nul-in-password",),
    ),
    Attack("02", "test_every_token_dies", "a token still works a year later", ("eternal-token",)),
    Attack(
        "02",
        "test_hostile_tokens_are_refused_without_a_crash",
        "a published secret signs tokens",
        ("published-secret",),
    ),
    Attack(
        "03",
        "test_only_the_form_logs_in",
        "passwords travel in the address",
        ("password-in-address",),
    ),
    Attack(
        "03",
        "test_unknown_user_costs_as_much_as_a_known_one",
        "the login tells who has an account",
        ("account-list", "account-list-by-time"),
    ),
    Attack(
        "03",
        "test_a_login_does_not_stop_the_others",
        "one login stops everybody else",
        ("blocked-loop",),
    ),
    Attack("04", "test_every_route_asks_for_credentials", "a page asks for nothing", ("no-guard",)),
    Attack("04", "test_a_token_dies_with_its_user", "deleted users stay in", ("deleted-user",)),
    Attack(
        "04",
        "test_a_disabled_account_is_out_at_once",
        "disabled users stay in",
        ("disabled-user",),
    ),
    Attack(
        "04",
        "test_hostile_tokens_are_refused",
        "a crooked token crashes it, or gets in",
        ("forged-token", "crooked-token"),
    ),
    Attack(
        "05",
        "test_a_token_that_comes_back_ends_its_session",
        "a stolen refresh token works on",
        ("refresh-twice", "stolen-session-goes-on"),
    ),
    Attack(
        "05", "test_each_token_has_one_use", "a refresh token opens pages", ("refresh-as-access",)
    ),
]


# --- the sites ------------------------------------------------------------------------------

_HOOKED = description.Hooks(module=__name__)  # people come and go by functions, not by requests
BOTH = {"username": "{username}", "password": "{password}"}
_cheap: Callable[[str], str] = bcrypt.using(rounds=4).hash


def _tutorial(
    name: str,
    module: Any,
    login: Login,
    *guarded: str,
    refresh: Refresh | None = None,
    hash_password: Callable[[str], str] = _cheap,
    warns_of: tuple[str, ...] = (),
) -> Site:
    people = module.fake_users_db
    whole = module is not address  # address keeps nothing but hashes

    def add(username: str, email: str, password: str) -> None:
        hashed = hash_password(password)
        person = {"username": username, "hashed_password": hashed, "disabled": False}
        people[username] = person if whole else hashed

    def disable(username: str) -> None:
        people[username]["disabled"] = True

    return Site(
        name=name,
        app=module.app,
        about=Description(
            login=login, me=Action(route=f"GET {guarded[0]}"), refresh=refresh, hooks=_HOOKED
        ),
        add=add,
        remove=lambda username: people.pop(username),
        disable=disable if whole else None,
        key=lambda: module.SECRET_KEY,
        guarded=guarded,
        warns_of=warns_of,
    )


def _workbook() -> Site:
    from solutions.hashing import hash_password
    from solutions.main import app
    from solutions.stores.users import UserInDB, open_user_store
    from solutions.support.settings import UnsafeSettings, get_settings

    async def add(username: str, email: str, password: str) -> None:
        person = UserInDB(username=username, hashed_password=hash_password(password))
        await open_user_store().add(person)

    async def remove(username: str) -> None:
        await open_user_store().remove(username)

    async def disable(username: str) -> None:
        await open_user_store().change(username, disabled=True)

    def accepts_secret(secret: str) -> bool:
        try:
            configure(JWT_SECRET=secret)
        except UnsafeSettings:
            return False
        finally:
            configure()
        return True

    form = {"grant_type": "refresh_token", "refresh_token": "{refresh}"}
    return Site(
        name="the workbook",
        app=app,
        about=Description(
            login=Login(route="POST /token", form=BOTH),
            me=Action(route="GET /users/me"),
            refresh=Refresh(route="POST /token", form=form),
            hooks=_HOOKED,
        ),
        add=add,
        remove=remove,
        disable=disable,
        key=lambda: get_settings().signing_key,
        guarded=("/users/me", "/protected-resource"),
        accepts_secret=accepts_secret,
    )


OWN = _tutorial(
    "FastAPI's own",
    documented,
    Login(route="POST /token", form=BOTH),
    "/users/me/",
    "/users/me/items/",
    hash_password=documented.get_password_hash,
    warns_of=("test_hostile_tokens_are_refused_without_a_crash",),  # "to get one of your own"
)
SITES = [
    OWN,
    _tutorial("the quick start", address, Login(route="POST /login", query=BOTH), "/protected"),
    _tutorial(
        "the long read",
        dismissed,
        Login(route="POST /token", form=BOTH),
        "/users/me",
        "/protected-resource",
    ),
    _tutorial(
        "the refresher",
        refreshed,
        Login(route="POST /token", form=BOTH),
        "/users/me",
        refresh=Refresh(route="POST /refresh", headers={"Authorization": "Bearer {refresh}"}),
    ),
    _tutorial("the ten minutes", forever, Login(route="POST /login", body=BOTH), "/users/me"),
    _workbook(),
]


def matrix() -> dict[Attack, dict[str, str | None]]:
    """Try every attack on every site."""
    return {each: {site.name: each(site) for site in SITES} for each in ATTACKS}
