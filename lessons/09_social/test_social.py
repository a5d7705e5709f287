"""Lesson 09: login with a provider. Four tests of what you build, then mallory.

For maintainers
Goal: people log in with Google, GitHub or any OpenID provider, and what comes back counts only
where it is checked: for this browser, this login, this client, this person.
Teach: state, nonce and PKCE and what each of them is for, what Authlib checks by itself and what it
leaves to us, issuer and subject as the only key of an account, linking from inside.
Do not teach: being a provider, tokens for a provider's own API, single logout, metadata signed or
registered at run time, sessions (08), limits (10).
"""

import asyncio
import json
import re
import sys
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from inspect import unwrap
from secrets import token_urlsafe
from typing import Any

import pytest

from lessons.harness.abroad import (
    CALLBACK,
    ERIN,
    ERIN_AT_GITHUB,
    IDENTITIES,
    LOGIN_AT,
    MALLORY,
    Abroad,
    abroad,
    begin,
    begin_link,
    come_back,
    is_outside_in_store,
    leads_to,
    name_of,
    owner_in_store,
    query_of,
    read_token_in_store,
)
from lessons.harness.answers import surplus_headers
from lessons.harness.arrivals import GONE, KNOWN, NEW, SUBJECTS, UNKNOWN_HERE, Arrivals
from lessons.harness.client import Client
from lessons.harness.clock import FAR_WEST, at, zone
from lessons.harness.failing import Before, Failing, Meeting, in_place
from lessons.harness.kept import flows_in
from lessons.harness.login_calls import LoginCalls, login_calls, refused_by
from lessons.harness.loop import Loop
from lessons.harness.memory import texts
from lessons.harness.meter import Meter
from lessons.harness.near_misses import flips
from lessons.harness.outside import outside
from lessons.harness.people import PASSWORDS
from lessons.harness.provider import HONEST, Lie, Provider, Reply
from lessons.harness.randomness import NOON, Tape, bytes_that_count, drawing_from
from lessons.harness.reads import reading
from lessons.harness.routes import served
from lessons.harness.side_doors import Contract, side_doors, with_door
from lessons.harness.spelling import Text
from lessons.harness.storm import full_queue
from lessons.harness.trap import listening
from lessons.harness.verdicts import check_type, only_raises, twin
from lessons.harness.visitors import ACCOUNT, LOGIN, LOGOUT, SESSION, Visitor, cookies_set_by

asvs = pytest.mark.asvs
attack = pytest.mark.attack
todo = pytest.mark.todo

MINUTE = timedelta(minutes=1)
NAMES = ("google", "oidc", "github")
Way = tuple[str, bool]  # a provider, and whether one is linked there
OIDC_LOGIN, OIDC_LINK = ("oidc", False), ("oidc", True)
GOOGLE_LOGIN, GOOGLE_LINK = ("google", False), ("google", True)
# Days and minutes after which an answer is too old, though a part of the time says otherwise.
AGES = ((0, 10), (0, 11), (0, 65), (0, 725), (1, 5), (7, 5), (31, 5), (365, 5))
MOST_STEPS = 12  # at the stores, that somebody's coming in is disturbed at
ODD_CODES = ("c" * 2000, "4/0Ab-_+ %2F%20=&#;~", "1.\u00e9\u0416 \U0001f511." + "c" * 900)
MORE_IN_AN_ANSWER = {"session_state": "a.b", "scope": "openid email", "prompt": "none"}
HUGE = b'{"access_token": "' + b"a" * 3_000_000 + b'"}'
DEEP = b"[" * 100_000
ERRORS = (  # of RFC 6749 section 5.2, and others that providers have
    *(("invalid_client", 401), ("invalid_request", 400), ("invalid_grant", 400)),
    *(("unauthorized_client", 400), ("temporarily_unavailable", 503), ("server_error", 500)),
    *(("slow_down", 429), ("redirect_uri_mismatch", 200), ("bad_verification_code", 200)),
)
ODD_ISSUER = "https://Login.Example:443/One%2F/v2.0/"  # of which nothing may be left out
SHOWN = ("name", "nickname", "email")  # of a person, and nothing that says who it is
HOSTILE_PATHS = (
    *("//mallory.example", "https://mallory.example", "/\\mallory.example", "javascript:alert(1)"),
    "/\t/mallory.example",
)
# What a path keeps on its way, though somebody may take it for a text that wants to be decoded.
ODD_PATHS = (
    "/%2Fmallory.example/%255Cx?tab=a+b%2B&amp=%26#top",
    "/account?tab=2&x=a+b%2B#top",
    "/%5Cmallory.example/;a=1/",
    "/%09/Mallory.Example//a/../b?",
    "/.//mallory.example?next=%2F%2F",
    "/&sol;mallory.example#",
)
CONTRACT = Contract(
    headers={"sec-fetch-site", "origin", "x-csrf-token", "authorization", "user-agent"},
    query={"next", "code", "state", "iss"},
    cookies={"__Host-session"},
    form={"csrf_token"},
)
ROUTES = {
    *(("GET", "/login/{provider}"), ("GET", "/callback/{provider}"), ("GET", IDENTITIES)),
    *(("POST", "/identities/{provider}"), ("DELETE", "/identities/{provider}")),
    *(("GET", "/account/identities"), ("POST", "/account/identities")),
    *(("GET", LOGIN), ("POST", LOGIN), ("POST", LOGOUT), ("GET", ACCOUNT), ("GET", SESSION)),
    *(("GET", "/sessions"), ("DELETE", "/sessions/{session_id}"), ("POST", "/sessions/end-others")),
    *(("POST", "/account/sessions"), ("POST", "/register"), ("POST", "/token")),
    *(("POST", "/revoke"), ("GET", "/users/me"), ("POST", "/users/me/password")),
}


@pytest.fixture
def there(candidate: Any, note: Callable[[str], None], loop: Loop) -> Iterator[Abroad]:
    """The providers, and nobody else to be reached."""
    with abroad() as providers:
        providers.tell(note)
        providers.be_known(loop.run)
        yield providers


@pytest.fixture
def known_people(users: Any, identity_store: Any, there: Abroad, loop: Loop) -> None:
    """Some who have been here before: a new account costs a hash, and a test some time."""
    from solutions.stores.users import UserInDB
    from solutions.support.people_at_providers import Person, identity_of

    hashed = users.get("johndoe").hashed_password
    people = [(name, person_at(name)) for name in NAMES]
    people += [("oidc", ERIN), ("google", ERIN), ("github", ERIN_AT_GITHUB)]

    async def add() -> None:
        for number, (name, said) in enumerate(people):
            user = UserInDB(username=f"known-{number}", hashed_password=hashed)
            await users.store.add(user)
            subject = str(said["id"]) if name == "github" else said["sub"]
            person = Person(there[name].issuer, subject)
            await identity_store.store.claim(identity_of(person, user))

    loop.run(add())


def person_at(name: str, number: int = 1) -> dict[str, Any]:
    """Return one of several people, as a provider of that kind knows them."""
    own = {"email": f"erin{number}@{name}.example"}
    if name == "github":
        return ERIN_AT_GITHUB | own | {"id": 583231 + number, "login": f"erin{number}"}
    return ERIN | own | {"sub": f"1102484959{number}", "preferred_username": f"erin{number}"}


def logs_in(
    there: Abroad, visitor: Visitor, name: str = "oidc", person: Any = ERIN, who: str = ""
) -> str:
    """Log in at a provider, as is right, and return the account's name."""
    what = f"{who or 'A login'} with {name}"
    is_new = not visitor.cookies
    answer = there.log_in_as_before(visitor, name, person)
    if is_new and answer.status_code != 303:  # perhaps each login has to begin at its beginning
        visitor.cookies.clear()
        answer = there.log_in(visitor, name, person)
    assert answer.status_code == 303, f"{what}: {answer.status_code}, not 303."
    username = who_is(visitor)
    assert username, f"{what}: after it {SESSION} is no 200."
    return username


def comes_in(
    calls: LoginCalls, name: str, person: Any = ERIN, who: str = "", asks: bool = False
) -> str:
    """Let somebody come with a new browser, and return the account's name.

    By this lesson's functions, as far as there are any: to log in takes ten times as long. With
    `asks` the provider is asked who it is.
    """
    if not has_functions():
        return logs_in(calls.there, Visitor(calls.client), name, person, who)
    come = calls.account if asks else calls.account_of
    return come(name, person, who or "A login")


def who_is(visitor: Visitor) -> str | None:
    """Return who a browser is logged in as, where it should be."""
    return owner_in_store(visitor) or name_of(visitor)


def is_refused(answer: Any, what: str, *statuses: int) -> None:
    """Assert that an answer is a refusal, and gives the browser no other cookie."""
    statuses = statuses or (400,)
    assert answer.status_code in statuses, f"{what}: {answer.status_code}, not {statuses[0]}."
    assert not cookies_set_by(answer), f"{what}: the refusal sets a cookie."


def nobody_is_in(*visitors: Visitor) -> None:
    """Assert that browsers whose answers were refused are not logged in."""
    asked = [each for each in visitors if not is_outside_in_store(each)]  # to save requests
    names = [name for name in map(name_of, asked) if name]
    assert not names, f"An answer was refused, and yet {names[0]} is logged in."


def _get_identity_store() -> Any:
    from solutions.stores.identities import get_identity_store

    return get_identity_store


# --- build ----------------------------------------------------------------------------------


@todo(1, "start_flow")
def test_a_login_leads_to_the_provider(
    client: Client, candidate: Any, users: Any, there: Abroad, settings: Any
) -> None:
    """GET /login/{provider} is a 302 to where that provider lets people log in."""
    if has_functions():
        login_calls(candidate, client, there).start("oidc")
    for name in NAMES:
        asked = _asked(there, name, begin(Visitor(client), name))
        assert "redirect_uri" in asked, f"The address for {name} has no `redirect_uri`."
        assert asked["redirect_uri"] == f"{settings.public_url}/callback/{name}", (
            f"It comes back to {asked['redirect_uri']}, not to PUBLIC_URL and /callback/{name}."
        )
        assert asked.get("state"), f"The address for {name} has no `state`."
    for name in ("nobody", "github2"):
        answer = Visitor(client).get(LOGIN_AT.format(name))
        assert answer.status_code == 404, f"GET /login/{name}: {answer.status_code}, not 404."


def _asked(there: Abroad, name: str, address: str) -> dict[str, str]:
    """Return what an address asks a provider for."""
    try:
        return there[name].check(address)
    except ValueError as error:
        raise AssertionError(f"GET /login/{name}: {error}") from None


@todo(3, "identify")
@pytest.mark.usefixtures("known_people")
def test_coming_back_logs_in(client: Client, candidate: Any, users: Any, there: Abroad) -> None:
    """GET /callback/{provider} with an answer is a 303 to where the login was to lead."""
    if has_functions():
        _gives_what_it_promises(client, candidate, there)
    for name, odd in zip(NAMES, ("", *ODD_CODES), strict=False):
        visitor = Visitor(client)
        params = {"next": "/account?tab=2"} if name == "oidc" else {}
        lie = Lie(code=odd, answer=MORE_IN_AN_ANSWER) if odd else HONEST
        answer = there.log_in(visitor, name, person_at(name), lie, **params)
        told = f"/callback/{name}: {answer.status_code}, not 303."
        assert answer.status_code == 303, told + (f" The code was {odd!a:.30}" if odd else "")
        leads = answer.headers["location"]
        if params:
            assert leads == params["next"], f"`next` is a path here, and it leads to {leads}."
        else:
            assert leads == ACCOUNT, f"It leads to {leads}."
        assert who_is(visitor), f"After a login with {name}: {SESSION} is no 200."
    assert visitor.get(ACCOUNT).status_code == 200, f"{ACCOUNT} does not open."
    if has_functions():
        _unusual_and_right(login_calls(candidate, client, there))


def has_functions() -> bool:
    """Tell whether the file has this lesson's functions: naive.py has none, only routes."""
    names = vars(sys.modules["solutions.social"])
    return not names.keys().isdisjoint({"start_flow", "check_answer", "identify", "find_account"})


def _gives_what_it_promises(client: Client, candidate: Any, there: Abroad) -> None:
    """Call the functions alone: whoever has written two of four sees whether they fit."""
    from solutions.stores.flows import Flow
    from solutions.support.people_at_providers import Person
    from solutions.support.social_requests import Refused

    calls, person = login_calls(candidate, client, there), person_at("github")
    with suppress(Refused):  # the route shows where, and what led to it
        answer = calls.answer("github", calls.start("github"), person)
        check_type("check_answer", calls.check("github", answer), Flow)
        check_type("identify", calls.identify("github", person), Person)


def _unusual_and_right(calls: LoginCalls) -> None:
    """What a provider may say, though most do not: it is no reason to refuse anybody."""
    from solutions.stores.flows import Flow

    for number, name in enumerate(calls.ways(*NAMES)):
        for code in ODD_CODES[number % 2 :: 2]:
            answer = replace(calls.answered(name), code=code)
            with _lets_in("check_answer", f"{calls.way} with {name}, and the code {code!a:.30}"):
                check_type("check_answer", calls.check(name, answer), Flow)
    for number, (what, (changes, claims, lie)) in enumerate(_unusual_people().items()):
        for name in calls.turns(number // 2, ("google", "oidc")[number % 2], "github"):
            ours = calls.there[name]
            if name == "github" and not changes:  # what is unusual is in the ID token
                continue
            person = (ERIN_AT_GITHUB if name == "github" else ERIN) | changes
            code = f"{ODD_CODES[number % 3]}{name}{calls.links}"
            lie = replace(lie, code=code, claims={"azp": ours.client_id} | claims)
            with _lets_in(
                "identify", f"{calls.way} with {name}, {what}, and the code {code!a:.30}"
            ):
                got = calls.identify(name, person, lie)
            assert name == "github" or got.subject == person["sub"], (
                f"{calls.way} with {name}, and {what}: the subject became {got.subject!a:.40}."
            )


@contextmanager
def _lets_in(name: str, what: str) -> Iterator[None]:
    """Assert that the block does not raise Refused."""
    from solutions.support.social_requests import Refused

    try:
        with only_raises(name, Refused):
            yield
    except Refused:
        raise AssertionError(f"{what}: nothing is wrong, and {name} raises Refused.") from None


def _unusual_people() -> dict[str, tuple[dict[str, Any], dict[str, Any], Lie]]:
    """Return what a provider may send that is right: of the person, as claims, and all the rest."""
    long = "t" * 3000
    at_hash = urlsafe_b64encode(sha256(long.encode()).digest()[:16]).decode().rstrip("=")
    said = {"picture": "https://x.example/1", "updated_at": 1.5, "address": {"country": "AT"}}
    return {
        "a subject of one letter": ({"id": 1, "sub": "1"}, {}, Lie(token={"token_type": "bearer"})),
        "a subject of 255 letters": (
            {"id": 2**53 + 1, "sub": "\u00e9" * 255},
            {"aud": lambda aud: [aud]},
            Lie(userinfo=said, token={"expires_in": "300", "refresh_token": long}),
        ),
        "a subject with blanks and slashes": (
            {"sub": f" {ERIN['sub']}|auth0/%2F", "name": "E" * 300},
            {"auth_time": 1.5, "amr": ["pwd", "otp"], "acr": "1", "groups": [[], {}]},
            Lie(token={"scope": "email openid profile"}),
        ),
        "times with a fraction": (
            {},
            {"exp": lambda exp: exp + 0.5, "iat": lambda iat: iat - 0.5},
            Lie(token={"expires_in": 5}),
        ),
        "an ID token for a day, issued an hour ago": (
            {},
            {"exp": lambda exp: exp + 86_400, "iat": lambda iat: iat - 3600},
            HONEST,
        ),
        "an access token of 3,000 letters, and its `at_hash`": (
            {},
            {"at_hash": at_hash},
            Lie(access_token=long),
        ),
    }


@todo(4, "find_account")
@asvs("6.8.1", "10.5.2")
def test_the_same_person_has_the_same_account(
    client: Client, candidate: Any, users: Any, there: Abroad
) -> None:
    """Issuer and subject say who somebody is. A new person gets a new account with a free name."""
    calls, seen = login_calls(candidate, client, there), dict[str, str]()
    for name in NAMES:
        for number in (1, 2) if name == "oidc" else (1,):
            person = person_at(name, number)
            if name == "google":  # to save requests
                username = comes_in(calls, name, person, asks=True)
            else:
                username = logs_in(there, Visitor(client), name, person, "A new person's login")
            assert username not in seen, (
                f"Person {number} at {name} got the account of {seen.get(username)}."
            )
            seen[username] = f"person {number} at {name}"
            assert users.get(username).role == "user", f"{username} is {users.get(username).role}."
        again = comes_in(calls, name, person | {"name": "Erin Married"}, asks=True)
        assert again == username, f"{name}: {username} comes back and is {again}."
    for number, wanted in enumerate(("johndoe", "\u0443\u0444\u043e<b>", "a" * 500), 3):
        person = person_at("github", number) | {"login": wanted}
        username = comes_in(calls, "github", person, asks=True)
        assert re.fullmatch(r"[a-z0-9_.-]{3,32}", username), f"{username!a} is no name."
        assert username != "johndoe", "A new person got the account of johndoe."


@todo(1, "start_flow")
@asvs("6.5.6")
def test_somebody_inside_links_another_provider(
    client: Client, candidate: Any, users: Any, there: Abroad
) -> None:
    """POST /identities/{provider} leads there; then both lead in. DELETE unlinks. GET lists."""
    calls = login_calls(candidate, client, there)
    visitor = Visitor(client)
    visitor.be_inside("johndoe")
    assert visitor.get(IDENTITIES).json() == [], "Nothing is linked, and the list is not empty."
    names = ("github", "oidc")
    for name in names:
        answer = _link(there, visitor, name, person_at(name))
        assert answer.status_code == 303, f"Linking {name}: {answer.status_code}, not 303."
        assert who_is(visitor) == "johndoe", f"After linking {name} somebody else is logged in."
    listed = [row["provider"] for row in visitor.get(IDENTITIES).json()]
    assert sorted(listed) == sorted(names), f"Two are linked, and the list has {' '.join(listed)}."
    for name in names:
        username = comes_in(calls, name, person_at(name), asks=True)
        assert username == "johndoe", f"{name} is linked to johndoe, and leads to {username}."
    answer = visitor.script("DELETE", f"{IDENTITIES}/github")
    assert answer.status_code == 204, f"Unlinking: {answer.status_code}, not 204."
    username = comes_in(calls, "github", person_at("github"), asks=True)
    assert username != "johndoe", "GitHub was unlinked, and still leads to johndoe."


def _link(there: Abroad, visitor: Visitor, name: str, person: Any = ERIN, lie: Lie = HONEST) -> Any:
    """Link a provider, from inside, and return the last answer."""
    return come_back(visitor, there[name].answer(begin_link(visitor, name), person, lie))


# --- attack ---------------------------------------------------------------------------------


@attack
@todo(2, "check_answer")
@pytest.mark.usefixtures("known_people")
@asvs("10.1.2", "10.2.1")
def test_an_answer_counts_in_the_browser_that_asked(
    client: Client, candidate: Any, users: Any, there: Abroad
) -> None:
    """Mallory sends alice a link with her own answer, and alice is logged in as her (CWE-352).

    Or alice's answer, overheard, opens mallory's browser (RFC 9700 section 4.7, ASVS 10.2.1).
    """
    for name in ("oidc",) if has_functions() else NAMES:  # the functions meet them all
        erin, mallory = Visitor(client), Visitor(client)
        with twin():
            own = there[name].answer(begin(erin, name), person_at(name))
            hers = there[name].answer(begin(mallory, name), person_at(name))
        is_refused(come_back(erin, hers), f"Mallory's answer in erin's browser, {name}")
        is_refused(come_back(Visitor(client), own), f"Erin's answer without a cookie, {name}")
        if name == "oidc":
            form = Visitor(client)
            form.read_form()
            is_refused(come_back(form, hers), "Mallory's answer at an open login form")
            is_refused(come_back(mallory, own), "Erin's answer in mallory's browser")
            _refuse_other_states(erin, own, query_of(hers)["state"])
            nobody_is_in(erin, mallory, form)
        with twin():
            answer = come_back(erin, own)
            assert answer.status_code == 303, f"The right answer, {name}: {answer.status_code}."
    _side_doors(client, hers)
    erin = Visitor(client)
    address = there.oidc.answer(begin(erin), ERIN)
    erin.log_in("alice")
    answer = come_back(erin, address)
    assert answer.status_code == 400, "An answer to a login that was begun in another session."
    assert who_is(erin) == "alice", "Alice's session became another's."
    _only_refused(client, candidate, there)


def _side_doors(client: Client, address: str) -> None:
    """Bring an answer to nothing, with whatever else the program reads of a request."""
    path = "/callback/" + address.partition("/callback/")[2]
    visitor = Visitor(client)
    send = {"headers": visitor.headers("cross-site", None)}
    with reading() as reads:
        client.request("GET", path, **send)
    for what, door in side_doors(reads, CONTRACT, ["johndoe", "alice", "1", "true"]):
        is_refused(client.request("GET", path, **with_door(send, door)), f"An answer with {what}")


def _refuse_other_states(erin: Visitor, own: str, hers: str) -> None:
    """Nothing but the state of this browser's login will do."""
    for what, other in {"none": None, "mallory's": hers}.items():
        answer = come_back(erin, _changed(own, {"state": other}))
        is_refused(answer, f"An answer whose state is {what}")
    is_refused(come_back(erin, f"{own}&state=x"), "The right state, and another one")


def _only_refused(client: Client, candidate: Any, there: Abroad) -> None:
    """The function that checks answers says so by Refused, each time: what it returns counts."""
    calls = login_calls(candidate, client, there)
    for number, name in enumerate(calls.ways(*NAMES)):
        answer, own, way = calls.answered(name), calls.session, calls.way
        near = flips(answer.state)
        others = {
            "in another session": (replace(own, digest="2" * 64), answer),
            "without a session": (None, answer),
            "with an empty state": (own, replace(answer, state="")),
            "with the state None": (own, replace(answer, state="None")),
            "with the state in capitals": (own, replace(answer, state=answer.state.upper())),
            "with an accent in its state": (own, replace(answer, state="\u00e9" + answer.state)),
        }
        others |= {
            f"with a state, {each}": (own, replace(answer, state=near[each]))
            for each in [*near][number::36]
        }
        for what, (session, other) in others.items():
            calls.refuse(f"{name}: {way}, and its answer {what}", name, other, session)
        with twin():
            flow = calls.check(name, answer)
            assert flow.provider == name, "The right answer brings no flow."
        calls.refuse(f"{name}: a state for the second time, {way}", name, answer)
        answer = replace(calls.answered(name), code="")
        calls.refuse(f"{name}: {way}, and an answer without a code", name, answer)
    answer = calls.answered("oidc")
    calls.links = True
    calls.refuse("A login from outside, and its answer inside", "oidc", answer)


def _changed(address: str, changes: dict[str, Any]) -> str:
    """Return an address with other parameters; None leaves one out."""
    from urllib.parse import urlencode

    path, _, _ = address.partition("?")
    query = {**query_of(address), **changes}
    return (
        f"{path}?{urlencode({name: value for name, value in query.items() if value is not None})}"
    )


@attack
@todo(2, "check_answer")
@pytest.mark.usefixtures("known_people")
@asvs("10.1.2")
def test_an_answer_counts_once_and_for_ten_minutes(
    client: Client, candidate: Any, users: Any, there: Abroad
) -> None:
    """An address from the history or a log is tried again. A second tab kills the first (CWE-613).

    A state is taken once, in one step (CWE-367), and only by the right answer; ten minutes.
    """
    with twin():
        visitor = Visitor(client)
        addresses = [
            there.github.answer(begin(visitor, "github"), ERIN_AT_GITHUB) for _ in range(2)
        ]
    stray = come_back(visitor, _changed(addresses[0], {"state": "stray"}))
    is_refused(stray, "A stray answer")
    come_back(Visitor(client), addresses[0])
    answer = come_back(visitor, addresses[0])
    assert answer.status_code == 303, (
        "Two tabs, a stray answer, and the first tab's answer in another browser: then the first "
        f"tab gets a {answer.status_code}, not a 303."
    )
    visitor = Visitor(client)
    address = there.github.answer(begin(visitor, "github"), ERIN_AT_GITHUB)
    come_back(visitor.copy(), _changed(address, {"code": "wrong"}))
    asked = {"state": query_of(address)["state"]}
    fresh = there.github.answer(query_address(there, "github", asked), ERIN_AT_GITHUB)
    is_refused(come_back(visitor, fresh), "A state for the second time, with a new code")
    with zone(FAR_WEST):  # whose time, in one half of a comparison, makes one answer wrong
        start, late = datetime.now(UTC), Visitor(client)
        late.be_inside("johndoe")  # whose session lives longer than ten minutes
        with at(start + 5 * MINUTE):
            address = there.github.answer(begin(late, "github"), ERIN_AT_GITHUB)
        with at(start + 16 * MINUTE):
            is_refused(come_back(late, address), "An answer after eleven minutes")
        if has_functions():
            _ten_minutes(login_calls(candidate, client, there))
    visitor = Visitor(client)
    address = there.github.answer(begin(visitor, "github"), ERIN_AT_GITHUB)
    path = "/callback/" + address.partition("/callback/")[2]
    sends = [{"headers": visitor.headers("cross-site", None)}] * 4
    ended = [answer.status_code for answer in client.together("GET", path, sends)]
    assert sorted(ended) == [303, 400, 400, 400], (
        f"One answer, four times at once: {' '.join(map(str, ended))}, not one 303 and three 400."
    )


def _ten_minutes(calls: LoginCalls) -> None:
    """Login or link, at any provider: the last answer that counts is one before the ten minutes.

    A day and five minutes are no five minutes, and a refused answer gives no new ten.
    """

    def begun(*names: str) -> list[tuple[str, bool, Any]]:
        with at(NOON, stands=True):
            return [(name, calls.links, calls.answered(name)) for name in names]

    for number, (days, minutes) in enumerate(AGES):
        after = timedelta(days, minutes=minutes)
        answers = []
        for name in calls.ways(*NAMES) if number < 2 else calls.turns(number, *NAMES):
            answers += begun(name)
        with at(NOON + after, stands=True):
            for name, calls.links, answer in answers:
                what = f"{name}: {calls.way}, and its answer {after} after it began"
                calls.refuse(what, name, answer)
    calls.links = False
    for number, name in enumerate(calls.ways(*NAMES)):
        [(_, _, answer)] = begun(name)
        refused = [replace(answer, code=""), replace(answer, iss="x"), answer][number // 2]
        other = NAMES[0] if refused is answer else name
        what = f"{name}: {calls.way}, and its answer after eleven minutes, one refused before"
        with at(NOON + 9 * MINUTE):
            calls.refuse(f"{name}: {calls.way}, and a wrong answer", other, refused)
        with at(NOON + 11 * MINUTE):
            calls.refuse(what, name, answer)
    answers = []
    for name in calls.ways(*NAMES):
        answers += begun(name)
    with at(NOON + 9.9 * MINUTE), twin():
        for name, calls.links, answer in answers:
            calls.check(name, answer)
    calls.links = False


def query_address(there: Abroad, name: str, changes: Any = HONEST.answer) -> str:
    """Return the address of the last login at a provider again, with changes."""
    from urllib.parse import urlencode

    asked = there[name].asked[-1] | changes
    return f"{there[name].addresses['authorization_endpoint']}?{urlencode(asked)}"


@attack
@todo(2, "check_answer")
@pytest.mark.usefixtures("known_people")
@asvs("10.2.2")
def test_the_answer_comes_from_the_provider_that_was_asked(
    client: Client, candidate: Any, users: Any, there: Abroad
) -> None:
    """One provider of several is mallory's, and gives out the other's answers (RFC 9700 4.4).

    The state goes with its provider, and `iss` is compared wherever it comes, or was promised.
    """
    from lessons.harness.candidate import clear_state

    calls = login_calls(candidate, client, there)
    there.oidc.promises_iss = False
    there.be_strangers()
    with twin():
        comes_in(calls, "oidc", person_at("oidc"), asks=True)
    visitor = Visitor(client)
    address = there.google.answer(begin(visitor, "google"), person_at("google"))
    moved = address.replace(CALLBACK.format("google"), CALLBACK.format("oidc"))
    asked = len(there.internet.asked)
    is_refused(come_back(visitor, moved), "An answer of google at /callback/oidc")
    new = [each for each in there.internet.asked[asked:] if "well-known" not in each]
    assert not new, f"An answer of google at /callback/oidc: its code goes to {new[0]}."
    for number, name in enumerate(calls.ways(*NAMES)):
        for other in {*NAMES} - {name}:
            answer = replace(calls.answered(name), iss=there[other].issuer)
            calls.refuse(f"{calls.way} with {name}, and its answer at {other}", other, answer)
        ours = calls.provider(name)
        near = (name[:-1], name[1:], f"{name}2", f"my{name}", name.upper(), name[0])
        for other in near[number % 2 :: 2]:
            issuer = f"https://{other}.example"
            mallorys = replace(ours, name=other, issuer=issuer, promises_iss=False)
            answer = replace(calls.answered(name), iss=(issuer, None)[number % 2])
            what = f"{calls.way} with {name}, and its answer at another provider, {other}"
            calls.refuse(what, mallorys, answer)
    clear_state()
    there.oidc.promises_iss = True
    visitor = Visitor(client)
    answer = there.lie_to(visitor, "oidc", ERIN, Lie(answer={"iss": "https://mallory.example"}))
    is_refused(answer, "Where `iss` was promised, mallory's")
    address = there.github.answer(there.begin(visitor, "github"), person_at("github"))
    answer = come_back(visitor, f"{address}&iss=a&iss=b")
    is_refused(answer, "github, which promised no `iss`, with two of them")
    _refuse_other_issuers(calls)
    visitor = Visitor(client)
    address = there.oidc.answer(begin(visitor), ERIN)
    answer = come_back(visitor, f"{address}&iss=https%3A%2F%2Fmallory.example")
    is_refused(answer, "`iss` twice, mallory's behind the right one")
    nobody_is_in(visitor)


def _refuse_other_issuers(calls: LoginCalls) -> None:
    """Bring answers with `iss`, of logins and links, where it was promised and where not."""
    for number, name in enumerate(calls.ways(*NAMES)):
        ours = calls.there[name].issuer
        others = {
            "mallory's": "https://mallory.example",
            "an empty one": "",
            "with a slash behind": f"{ours}/",
            "in capitals": ours.upper(),
            "with a blank behind": f"{ours} ",
            "a longer one": f"{ours}2",
            "a shorter one": ours[:-1],
            "with something before it": f"https://x.example/{ours}",
            "its end": ours[8:],
            "its middle": ours[8:-1],
            "one letter of it": ours[0],
            "with an accent": f"{ours}\u00e9",
            "another provider's": calls.there[NAMES[number // 2 - 1]].issuer,
        }
        if name == "oidc":
            others["none where one was promised"] = None
        else:  # to save calls
            others = {what: others[what] for what in [*others][number % 2 :: 2]}
        for what, issuer in others.items():
            answer = replace(calls.answered(name), iss=issuer)
            calls.refuse(f"{name}: {calls.way}, and `iss`, {what}", name, answer)
        for issuer in {ours, ours if name == "oidc" else None}:
            answer = replace(calls.answered(name), iss=issuer)
            with twin():
                calls.check(name, answer)


@attack
@todo(1, "start_flow")
@pytest.mark.usefixtures("known_people")
@asvs("10.1.1", "10.1.2")
def test_an_overheard_code_is_useless(
    client: Client, candidate: Any, users: Any, there: Abroad, flow_store: Any, capfd: Any
) -> None:
    """Mallory reads a code in a log or a history, and brings it to us first (RFC 9700 4.5).

    PKCE with S256; state, nonce and verifier are 128 random bits or more, new each time, and in
    no log.
    """
    others, clients = {name: Visitor(client) for name in NAMES}, there.clients()
    with twin(), listening(capfd, addresses=True) as at_start:
        begun = {name: [begin(Visitor(client), name), begin(others[name], name)] for name in NAMES}
    for name in NAMES:
        with twin():
            asked = [_asked(there, name, each) for each in begun[name]]
        for each in asked:
            _asks_for_pkce(name, each)
            verifier = _kept_as_asked(flows_in(flow_store.store).values(), each)
            at_start.refuse({"verifier": verifier} if verifier else {})
            at_start.refuse({what: each[what] for what in ("state", "nonce") if what in each})
        _two_differ(name, asked)
    _refuse_weak_secrets(candidate, client, there)
    calls = login_calls(candidate, client, there)
    with twin(), listening(capfd, addresses=True) as trap:
        ways = [(f"{calls.way} with {name}", calls.start(name)) for name in calls.ways(*2 * NAMES)]
        for name in NAMES:
            answer = come_back(others[name], there[name].answer(begun[name][1], person_at(name)))
            assert answer.status_code == 303, f"/callback/{name}: {answer.status_code}, not 303."
        come_back(Visitor(client), there.oidc.answer(begun["oidc"][0], ERIN))
        spent = _identify_all(calls)
    under_way = _secrets_of(there, calls, ways)
    for name in NAMES:
        _refuse_other_codes(there, calls, name, begun[name][1])
        for each in there[name].forms:
            size = len(each.get("code_verifier", ""))
            assert size >= 43, (
                f"{name} gets a verifier of {size} characters: 43 or more are needed."
            )
            sent = json.dumps(there[name].asked)
            assert each["code_verifier"] not in sent, "The browser has the verifier."
    secrets = {
        "verifier": there.oidc.forms[0]["code_verifier"],
        "code": there.oidc.forms[0]["code"],
    }
    secrets |= {what: there.oidc.asked[0][what] for what in ("state", "nonce")}
    secrets |= {"client secret": there.oidc.client_secret}
    secrets |= {what: there.oidc.given[0][what] for what in ("access_token", "id_token")}
    at_start.refuse(secrets)
    trap.refuse(secrets | spent | under_way)
    said = texts(sys.modules["solutions.social"])
    kept = Text(said)
    for what, secret in secrets.items():
        if what != "client secret":
            assert kept.find(secret) is None, f"The program keeps the {what} of a login for ever."
    for what, secret in spent.items():
        if "client secret" in what:
            continue
        assert secret not in said, f"The program keeps the {what} for ever."
    for name, parts in there.clients().items():
        changed = [part for part in parts if parts[part] != clients[name].get(part)]
        assert not changed, (
            f"All logins share the client of {name}, and one changed its {' and '.join(changed)}."
        )


def _asks_for_pkce(name: str, asked: dict[str, str]) -> None:
    """Look for a challenge that opens nothing."""
    method, challenge = asked.get("code_challenge_method"), asked.get("code_challenge", "")
    assert method == "S256", (
        f"{name} is asked for PKCE with {method or 'nothing'}, not S256: whoever overhears a code "
        "can bring it."
    )
    assert len(challenge) == 43, f"A challenge of {len(challenge)} characters is no SHA-256."


def _two_differ(name: str, asked: list[dict[str, str]]) -> None:
    """Look at the secrets with which two logins at a provider begin."""
    for what in ("state", "code_challenge", *([] if "github" in name else ["nonce"])):
        values = [each.get(what, "") for each in asked]
        assert all(values), f"The address for {name} has no `{what}`."
        assert len(set(values)) == len(values), f"Two logins with {name} have one `{what}`."
        assert all(len(each) >= 22 for each in values), (
            f"A `{what}` of {len(values[0])} letters can be guessed: 22 hold 128 random bits."
        )


def _kept_as_asked(flows: Any, asked: dict[str, str]) -> str:
    """Look at what is kept of a login, and return the verifier: empty if it is kept elsewhere."""
    from authlib.oauth2.rfc7636 import create_s256_code_challenge

    from solutions.support.digests import digest_of

    state = digest_of(asked["state"])
    found = [each for each in flows if each.state == state]
    if not flows:
        kept = Text(texts(sys.modules["solutions.social"]))
        assert kept.find(state) or kept.find(asked["state"]), "No flow is kept."
        return ""
    assert found, "A flow is kept, but with another state than the address has."
    is_openid = "openid" in asked["scope"].split(" ")
    assert found[0].nonce == asked.get("nonce") or not is_openid, (
        "A flow is kept, but with another nonce than the address has."
    )
    challenge, verifier = asked["code_challenge"], found[0].verifier
    assert challenge != verifier, "The challenge is the verifier: the browser has it."
    assert verifier not in asked.values(), "The browser has the verifier."
    assert create_s256_code_challenge(verifier) == challenge, (
        "The challenge is not that of the verifier in the flow."
    )
    assert len(verifier) >= 43, f"A verifier of {len(verifier)} characters: 43 or more are needed."
    return str(verifier)


def _refuse_other_codes(there: Abroad, calls: LoginCalls, name: str, other: str) -> None:
    """A code that was asked for with another verifier is of no use here, spent or not."""
    provider = there[name]
    codes = {"code": query_of(provider.answer(other, person_at(name)))["code"]}
    codes |= {"spent code": provider.forms[0]["code"]}
    for number, (what, code) in enumerate(codes.items()):
        for each in calls.turns(number, name):
            what = f"{calls.way}, and the {what} of another browser's login at {each}"
            with refused_by("identify", what) as got:
                lie = Lie(answer={"code": code})
                got.append(calls.identify(each, person_at(each, 9), lie))


def _refuse_weak_secrets(candidate: Any, client: Client, there: Abroad) -> None:
    """Begin a login again with one random byte changed: each secret follows 16 of them, or more."""
    with at(NOON - 5 * MINUTE, stands=True):
        calls = login_calls(candidate, client, there)
        for name in calls.turns(0, "github", "google"):  # a login, and a link
            calls.start(name)
            _refuse_weak_secrets_of(calls, name)


def _refuse_weak_secrets_of(calls: LoginCalls, name: str) -> None:
    tape, what = Tape(), f"{calls.way} with {name}"
    names = ["state", "code_challenge", *(["nonce"] if name != "github" else [])]

    def draw() -> list[str]:
        asked = query_of(calls.start(name))
        return [asked.get(each, "") for each in names]

    with drawing_from(tape.draw):
        first = tape.play(draw)
        again = tape.play(draw)
        assert again == first, f"A secret of {what} comes from elsewhere than `secrets` (CWE-338)."
        every = max(1, len(tape.drawn) // 9)
        seen = [tape.play(draw, changed=at) for at in range(0, len(tape.drawn), every)]
    for number, secret in enumerate(names):
        count = every * sum(each[number] != first[number] for each in seen)
        secret = secret.replace("code_challenge", "verifier")
        assert count >= 12, f"About {count} random bytes decide the {secret} of {what}, not 16."
    changed = [sum(a != b for a, b in zip(each, first, strict=True)) for each in seen]
    assert max(changed) == 1, f"One draw serves for two secrets of {what}: one tells the other."


def _secrets_of(there: Abroad, calls: LoginCalls, begun: list[tuple[str, str]]) -> dict[str, str]:
    """Look at how logins and links begin, and return what nobody may read of them."""
    secrets: dict[str, str] = {}
    for way in dict.fromkeys(way for way, _ in begun):
        name = way.rpartition(" ")[2]
        asked = [_asked(there, name, address) for each, address in begun if each == way]
        _two_differ(way, asked)
        for each in asked:
            _asks_for_pkce(way, each)
            verifier = _kept_as_asked(flows_in(calls.flows).values(), each)
            mine = {"state": each["state"], "verifier": verifier, "nonce": each.get("nonce", "")}
            secrets |= {f"{what} of {way}": value for what, value in mine.items() if value}
    return secrets


def _identify_all(calls: LoginCalls) -> dict[str, str]:
    """Let people be identified, some rightly, and return what nobody may read of that."""
    from solutions.support.social_requests import Refused

    secrets: dict[str, str] = {}
    lies = {"": HONEST, " that was refused": Lie(signed="another key", userinfo={"id": True})}
    for number, (what, lie) in enumerate(lies.items()):
        for name in calls.turns(number, *NAMES):
            with suppress(Refused):
                calls.identify(name, person_at(name), lie)
            sent, given = calls.there[name].forms[-1], calls.there[name].given[-1]
            mine = {"code": sent["code"], "verifier": sent["code_verifier"]}
            if not what:
                mine["client secret"] = calls.there[name].client_secret
                mine |= {
                    each: given[each] for each in ("access_token", "id_token") if each in given
                }
            secrets |= {f"{each} of {calls.way} with {name}{what}": mine[each] for each in mine}
    return secrets


@attack
@todo(3, "identify")
@pytest.mark.usefixtures("known_people")
@asvs("6.8.2", "10.5.1", "10.5.4")
def test_an_id_token_is_for_us_for_now_and_for_this_login(
    client: Client, candidate: Any, users: Any, there: Abroad
) -> None:
    """Mallory has an ID token: another client's, an old one, one that she signed (ASVS 10.5.4).

    Signature, `iss`, `aud`, `exp`, `nonce` and `sub` are checked (OIDC Core section 3.1.3.7).
    """
    visitor = Visitor(client)
    answer = there.lie_to(visitor, "oidc", ERIN, Lie(token={"id_token": None}))
    is_refused(answer, "An answer without an ID token")
    answer = there.lie_to(visitor, "oidc", ERIN, Lie(claims={"nonce": "another"}))
    is_refused(answer, "An ID token with another nonce")
    nobody_is_in(visitor)
    calls = login_calls(candidate, client, there)
    with twin():
        calls.identify("oidc")
    for name in calls.ways("oidc", "google"):
        ours = there[name].client_id
        lists = {"aud": lambda aud: [aud]}, {"aud": lambda aud: [aud, "other"], "azp": ours}
        lie = Lie(claims=lists[calls.links], token=_unsigned(calls, name))
        with _lets_in("identify", f"{calls.way} with {name}, unsigned words beside an ID token"):
            got = calls.identify(name, ERIN, lie)
        _is_erin(calls, name, got, ERIN["sub"])
    others = {"oidc": there.google, "google": there.oidc}
    lies = {name: _bad_id_tokens(there[name], others[name]) for name in others}
    for what, ((name, calls.links), _) in lies["oidc"].items():
        _, lie = lies[name][what]
        # With these it could be somebody at GitHub, where ID tokens are not needed.
        lie = replace(lie, userinfo={"id": 7, "login": "erin"} | lie.userinfo)
        lie = replace(lie, token=_unsigned(calls, name, ERIN) | lie.token)
        with refused_by("identify", f"{calls.way} with {name}, an ID token with {what}") as got:
            got.append(calls.identify(name, ERIN, lie))
        _sent_once(there, f"An ID token with {what}")
    _no_id_token_at_github(calls)


def _unsigned(calls: LoginCalls, name: str, person: Any = MALLORY) -> dict[str, Any]:
    """Return what stands beside an ID token in an answer: nobody signed it, though it fits."""
    provider, now = calls.there[name], int(datetime.now(UTC).timestamp())
    said = person | {"id": 666, "login": "mallory", "email": "mallory@example.com"}
    claims = {"iss": provider.issuer, "aud": provider.client_id, "azp": provider.client_id}
    claims |= said | {"nonce": calls.nonce(name), "iat": now, "exp": now + 300}
    names = ("userinfo", "claims", "user", "decoded", "id_token_claims", "id_token_payload")
    return claims | {"expires_at": now + 300} | dict.fromkeys(names, claims)


def _is_erin(calls: LoginCalls, name: str, got: Any, subject: str) -> None:
    """Assert that a person has nothing of what came unsigned."""
    what = f"{calls.way} with {name}, and the token's answer says something of mallory"
    assert got.subject == subject, f"{what}: the subject is {got.subject}, not {subject}."
    assert "allory" not in repr(got), f"{what}: it is believed, though nobody signed it."


def _no_id_token_at_github(calls: LoginCalls) -> None:
    """GitHub has no ID tokens: one that comes along says nothing."""
    person = person_at("github")
    for name in calls.ways("github"):
        of = calls.there.google if calls.links else calls.there.oidc
        token = of.id_token_of(MALLORY, of.asked[-1], Lie(signed="nothing"))
        said = _unsigned(calls, name) | {"id_token": token, "scope": "openid"}
        with _lets_in("identify", f"{calls.way} with GitHub, and an ID token comes along"):
            got = calls.identify(name, person, Lie(token=said))
        assert got.subject == str(person["id"]), (
            f"{calls.way} with GitHub, and an ID token comes along: it is believed."
        )
        _is_erin(calls, name, got, str(person["id"]))


def _sent_once(there: Abroad, what: str) -> None:
    """Assert that no provider has got one code for the second time."""
    again = [name for name in NAMES if there[name].times > 1]
    assert not again, f"{what}: {again[0]} gets one code {there[again[0]].times} times."


def _bad_id_tokens(provider: Provider, other: Provider) -> dict[str, tuple[Way, Lie]]:
    """Return what may be wrong with a provider's ID token, and the way on which it comes.

    One thing is wrong, each time. Four of one kind meet all four ways.
    """
    ours, us, now = provider.issuer, provider.client_id, int(datetime.now(UTC).timestamp())
    day = 24 * 3600
    return {
        "another nonce": (OIDC_LOGIN, Lie(claims={"nonce": "another"})),
        "no nonce": (OIDC_LINK, Lie(claims={"nonce": None})),
        "a part of the nonce": (GOOGLE_LOGIN, Lie(claims={"nonce": lambda nonce: nonce[:-1]})),
        "more than the nonce": (GOOGLE_LINK, Lie(claims={"nonce": lambda nonce: f"{nonce}2"})),
        "an `exp` 61 seconds ago (60 are allowed)": (OIDC_LINK, Lie(claims={"exp": now - 61})),
        "an `exp` 62 seconds ago (60 are allowed)": (GOOGLE_LOGIN, Lie(claims={"exp": now - 62})),
        "an `exp` a day and 30 seconds ago": (OIDC_LOGIN, Lie(claims={"exp": now - day - 30})),
        "an `exp` a week ago, and an `iat`": (
            OIDC_LINK,
            Lie(claims={"exp": now - 7 * day, "iat": now - 8 * day}),
        ),
        "no `exp`": (GOOGLE_LOGIN, Lie(claims={"exp": None})),
        "an `iat` in an hour": (GOOGLE_LINK, Lie(claims={"iat": now + 3600})),
        "no text, since there is none": (OIDC_LOGIN, Lie(token={"id_token": None})),
        "no text, and no `openid` in the scope": (
            OIDC_LINK,
            Lie(token={"id_token": None, "scope": "read:user"}),
        ),
        "nothing in it": (GOOGLE_LOGIN, Lie(token={"id_token": ""})),
        "a list in its place": (GOOGLE_LINK, Lie(token={"id_token": []})),
        "another client, and our azp": (GOOGLE_LOGIN, Lie(claims={"aud": "another", "azp": us})),
        "two other clients, and our azp": (
            GOOGLE_LINK,
            Lie(claims={"aud": ["one", "two"], "azp": us}),
        ),
        "our client's name in a longer one": (OIDC_LOGIN, Lie(claims={"aud": f"{us}2", "azp": us})),
        "our client's name behind something": (
            OIDC_LINK,
            Lie(claims={"aud": f"my{us}", "azp": us}),
        ),
        "the beginning of our client's name": (
            GOOGLE_LOGIN,
            Lie(claims={"aud": us[:-1], "azp": us}),
        ),
        "the end of our client's name": (GOOGLE_LINK, Lie(claims={"aud": [us[1:]], "azp": us})),
        "no client": (OIDC_LOGIN, Lie(claims={"aud": None})),
        "the azp of another": (OIDC_LINK, Lie(claims={"azp": "another"})),
        "another provider as its issuer": (GOOGLE_LOGIN, Lie(claims={"iss": other.issuer})),
        "another issuer": (GOOGLE_LINK, Lie(claims={"iss": "https://mallory.example"})),
        "another provider as its issuer, and our azp": (
            OIDC_LOGIN,
            Lie(claims={"iss": other.issuer, "azp": us}),
        ),
        "an issuer with a slash behind": (OIDC_LINK, Lie(claims={"iss": f"{ours}/"})),
        "an issuer with something before it": (
            GOOGLE_LOGIN,
            Lie(claims={"iss": f"https://x.example/{ours}"}),
        ),
        "the beginning of the issuer": (GOOGLE_LINK, Lie(claims={"iss": ours[:-1]})),
        "the end of the issuer": (OIDC_LOGIN, Lie(claims={"iss": ours[8:]})),
        "a part of the issuer": (OIDC_LINK, Lie(claims={"iss": ours[8:-1]})),
        "no issuer": (GOOGLE_LOGIN, Lie(claims={"iss": None})),
        "another key's signature": (GOOGLE_LINK, Lie(signed="another key")),
        "no signature": (OIDC_LOGIN, Lie(signed="nothing")),
        "an HMAC by the client's secret": (OIDC_LINK, Lie(signed="the secret")),
        "an HMAC by the public key": (GOOGLE_LOGIN, Lie(signed="the public key")),
        "the algorithm called None": (GOOGLE_LINK, Lie(signed="nothing", header={"alg": "None"})),
        "an unknown kid": (OIDC_LOGIN, Lie(header={"kid": "unknown"})),
        "no subject": (OIDC_LINK, Lie(claims={"sub": None})),
        "an empty subject": (GOOGLE_LOGIN, Lie(claims={"sub": ""}, userinfo={"sub": ""})),
        "a number for a subject": (GOOGLE_LINK, Lie(claims={"sub": 5}, userinfo={"sub": 5})),
        "a subject of 300 letters": (
            OIDC_LOGIN,
            Lie(claims={"sub": "x" * 300}, userinfo={"sub": "x" * 300}),
        ),
    }


@attack
@todo(3, "identify")
@asvs("10.5.2")
def test_what_is_said_is_of_the_same_person(
    client: Client, candidate: Any, users: Any, there: Abroad
) -> None:
    """Another person's name and address come along, or GitHub's id is no number (CWE-20).

    Userinfo counts if its `sub` is the ID token's (OIDC Core section 5.3.2), GitHub's `id` if it
    is one.
    """
    calls = login_calls(candidate, client, there)
    with twin():
        name = comes_in(calls, "oidc", asks=True)
        assert users.get(name).email == "erin@example.com", "A verified address is not kept."
        first = comes_in(calls, "github", ERIN_AT_GITHUB, asks=True)
    others = {
        "another's": {"sub": "666", "email": "mallory@example.com"},
        "nobody's": {"sub": None, "email": "mallory@example.com"},
        "an empty one's": {"sub": "", "email": "mallory@example.com"},
    }
    others |= {
        f"another's, {sub!r}": {"sub": sub, "email": "mallory@example.com"}
        for sub in ("new ", "2new", "new2", "e", "New")
    }
    lie = Lie(userinfo=others["another's"])
    answer = there.log_in_as_before(Visitor(client), "oidc", ERIN | {"sub": "new"}, lie)
    assert answer.status_code in (303, 400), f"Userinfo, another's: {answer.status_code}."
    kept = [each.email for each in users.everyone()]
    assert "mallory@example.com" not in kept, "Userinfo, another's: the address was taken over."
    for number, (what, userinfo) in enumerate(others.items()):
        for name in calls.turns(number, *(["google"] if number else ["oidc", "google"])):
            lie = Lie(userinfo=userinfo, token=_unsigned(calls, name))
            got = _who_if_anybody(calls, name, ERIN | {"sub": "new"}, lie)
            email, subject = getattr(got, "email", ""), getattr(got, "subject", "new")
            assert email != "mallory@example.com", f"Userinfo, {what}: the address was taken over."
            assert subject == "new", f"Userinfo, {what}: the subject was taken over."
            _sent_once(there, f"Userinfo, {what}")
    for number, (what, userinfo) in enumerate(
        {
            "unverified": {"email_verified": False},
            "with no word on that": {"email_verified": None},
            "verified by a text": {"email_verified": "false"},
            "as a list": {"email": ["mallory@example.com"]},
        }.items()
    ):
        person = ERIN | {"sub": "new", "email": "mallory@example.com"}
        for name in calls.turns(number, ("oidc", "google")[number // 2]):
            got = _who_if_anybody(calls, name, person, Lie(userinfo=userinfo))
            email = getattr(got, "email", "")
            assert email != "mallory@example.com", f"An address, {what}, was taken for verified."
    same = ERIN_AT_GITHUB["id"]
    visitor = Visitor(client)
    lie = Lie(userinfo={"id": True, "sub": str(same)})
    answer = there.lie_to(visitor, "github", ERIN_AT_GITHUB, lie)
    is_refused(answer, "A GitHub `id` that is true")
    nobody_is_in(visitor)
    for turn, (what, number) in enumerate(
        {
            "true": True,
            "false": False,
            "missing": None,
            "a text": str(same),
            "a text with a blank": f" {same}",
            "a fraction": float(same),
            "a list": [same],
            "an object": {"id": same},
        }.items()
    ):
        for name in calls.turns(turn, "github") if turn else calls.ways("github"):
            token = _unsigned(calls, name) | {"id": same}
            lie = Lie(userinfo={"id": number, "sub": str(same)}, token=token)
            with refused_by(
                "identify", f"{calls.way}, and a GitHub `id` that is {what}"
            ) as returned:
                returned.append(calls.identify(name, ERIN_AT_GITHUB, lie))
    other = comes_in(calls, "github", ERIN_AT_GITHUB | {"id": same + 1}, asks=True)
    assert other != first, "Another id under the same login is the same account."


def _who_if_anybody(calls: LoginCalls, name: str, person: Any, lie: Lie) -> Any:
    """Return whom `identify` returns of an answer that it may refuse as well."""
    from solutions.support.social_requests import Refused

    try:
        with only_raises("identify", Refused):
            return calls.identify(name, person, lie)
    except Refused:
        return None


@attack
@todo(4, "find_account")
@asvs("6.3.6", "6.8.1", "10.5.2")
def test_an_address_opens_no_account(
    client: Client, candidate: Any, users: Any, there: Abroad
) -> None:
    """Mallory writes alice's address into a provider that lets her, and is alice (nOAuth, 2023).

    Or she registers erin's address here first, and waits (ASVS 6.8.1, 10.5.2).
    """
    calls = login_calls(candidate, client, there)
    with twin():
        erin = comes_in(calls, "google")
        changed = ERIN | {"email": "new@example.com", "preferred_username": "new"}
        body = {"username": "mallory", "password": "mallorys own words", "email": "fay@example.com"}
        assert client.post("/register", json=body).status_code == 201, "Mallory cannot register."
    known = {each.username for each in users.everyone()}
    person = person_at("google", 10) | {"preferred_username": "johndoe"}
    got = comes_in(calls, "google", person | {"email": "johndoe@example.com"})
    assert got not in known, f"With the address of johndoe at google mallory is {got}."
    again = comes_in(calls, "google", changed)
    assert again == erin, f"Erin has a new address at Google, and is {again}."
    fay = ERIN | {"sub": "fay", "email": "fay@example.com", "preferred_username": "mallory"}
    with twin():
        got = comes_in(calls, "google", fay)
    assert got != "mallory", "Fay comes by Google, and gets the account that mallory made for her."
    visitor = Visitor(client)
    visitor.try_login("mallory", "mallorys own words")
    assert who_is(visitor) == "mallory", "Mallory's own account is gone."
    with twin():
        got = comes_in(calls, "oidc", ERIN)
    assert got != erin, f"The same subject at another provider gets the account {got}."
    for name in calls.turns(0, "oidc", "google"):
        with twin():
            long = calls.identify(name, ERIN | {"sub": f"{'a' * 254} "}).subject
        assert long == f"{'a' * 254} ", f"Of a subject of 255 letters {len(long)} are left."
    if has_functions():
        _others_addresses(client, candidate, there)
        _others_subjects(client, candidate, there)


def _others_addresses(client: Client, candidate: Any, there: Abroad) -> None:
    """Come with somebody's address and name: new, or when the own account is gone."""
    from solutions.support.people_at_providers import Person

    issuers = [*(there[name].issuer for name in NAMES), ODD_ISSUER]
    for number, kind in enumerate(UNKNOWN_HERE):
        for each, issuer in enumerate(issuers):
            who = ("johndoe", "alice")[(number + each) % 2]
            address = f"{who}@example.com"
            subject = ("1", who, address)[(number + 2 * each) % 3]
            person = Person(issuer, subject, who, who, address)
            comes = Arrivals(candidate, client, person, kind)
            account = comes.arrive()
            assert account, f"Somebody {kind} at {issuer} gets no account."
            assert comes.added == 1, (
                f"Somebody {kind} at {issuer} with the address of {who} is {account.username}."
            )


def _others_subjects(client: Client, candidate: Any, there: Abroad) -> None:
    """Let people come whose subjects look alike: known, new, and when the account is gone."""
    from solutions.support.people_at_providers import Person

    for place, name in enumerate(NAMES):
        people = [
            Person(there[name].issuer, subject, **{SHOWN[number % 3]: "alice"})
            for number, subject in enumerate(SUBJECTS)
        ]
        comes = Arrivals(candidate, client, people[0], others=people)
        for person, user in comes.known[(place + 2) % 3 :: 3]:
            account = comes.arrive(person)
            assert account and account.account_id == user.account_id, (
                f"The subject {person.subject!a:.40} of {name} gets the account of another one."
            )
        ids = {user.account_id for _, user in comes.known}
        for number in range(place, len(comes.known), len(NAMES)):
            is_gone = number % 2 == 1
            person = comes.forget(number, is_gone)
            who = f"The subject {person.subject!a:.40} of {name} ({GONE if is_gone else NEW})"
            account = comes.arrive(person)
            assert account and account.account_id not in ids, f"{who} gets another's account."
            ids.add(account.account_id)
            again = comes.arrive(person)
            assert again and again.account_id == account.account_id, (
                f"{who} comes back and has another account."
            )


@attack
@todo(4, "find_account")
def test_a_new_account_is_nobody_else_s(
    client: Client, candidate: Any, users: Any, there: Abroad, identity_store: Any, meter: Meter
) -> None:
    """An account without a password opens to an empty one, or shows by its time (CWE-208).

    Two logins at once make one account (CWE-367). A disabled one stays shut, a removed one's name
    may be somebody else's.
    """
    calls = login_calls(candidate, client, there)
    with twin():
        name = comes_in(calls, "github", ERIN_AT_GITHUB)
        wrong = Visitor(client).try_login("johndoe", "wrong")
        assert wrong.status_code == 401, f"A wrong password: {wrong.status_code}, not 401."
    stored = users.get(name).hashed_password
    visitor = Visitor(client)
    visitor.read_form()
    for password in ("", str(ERIN_AT_GITHUB["id"]), stored):
        answer = visitor.post(LOGIN, username=name, password=password)
        assert answer.status_code == 401, f"{name} logs in with the password {password!r:.20}."
    from solutions.login import get_dummy_hash

    work = {}
    for who in ("johndoe", name):
        with meter.counting() as hashes:
            visitor.post(LOGIN, username=who, password="wrong")
        work[who] = hashes
    assert work[name] == work["johndoe"], (
        f"A password login as {name} runs {_told(work[name])}, and as johndoe "
        f"{_told(work['johndoe'])}."
    )
    other = comes_in(calls, "github", person_at("github"))
    assert users.get(other).hashed_password != stored, "Two new accounts have one hash."
    assert stored != get_dummy_hash(), "A new account has the hash that stands in for nobody's."
    users.change(name, disabled=True)
    visitor = Visitor(client)
    is_refused(there.log_in(visitor, "github", ERIN_AT_GITHUB), "A disabled account")
    assert users.get(name).disabled, "A login has enabled a disabled account."
    users.change(name, disabled=False)
    with twin():
        who = "Erin, whose account is enabled again,"
        again = comes_in(calls, "github", ERIN_AT_GITHUB, who)
    assert again == name, f"Erin's account {name} was disabled and enabled, and she is {again}."
    _some_at_once(client, candidate, users, there, identity_store)
    _others_come_first(client, candidate)
    _nobody_knows_the_password(client, candidate, there, meter)
    _another_tab_is_quicker(client, candidate, there, meter)
    _known_or_nobody(client, candidate, there)
    _no_room_for_a_hash(client, candidate, users, there)
    from solutions.stores.users import UserInDB

    users.remove(name)
    users.add(UserInDB(username=name, hashed_password=stored, role="admin"))
    with twin():
        who = "Erin, whose account was removed and who gets a new one,"
        got = comes_in(calls, "github", ERIN_AT_GITHUB, who)
    assert got != name, f"{name} was removed; erin comes back into the account of its next owner."
    with twin():
        again = comes_in(calls, "github", ERIN_AT_GITHUB, "Erin, in that account,")
    assert again == got, "After that erin has a new account at every login."
    visitor = Visitor(client)
    address = there.github.answer(begin(visitor, "github"), person_at("github", 10))
    path = "/callback/" + address.partition("/callback/")[2]
    with in_place(candidate.app, _get_identity_store(), Failing(identity_store.store, "claim")):
        seen = client.status_of("GET", path, headers=visitor.headers("cross-site", None))
    assert seen >= 400, f"The store failed at `claim`, and the login said {seen}."


def _told(hashes: list[Any]) -> str:
    """Return how many hashes ran, and which."""
    return f"{len(hashes)} of {', '.join(map(str, hashes))}" if hashes else "no hash"


def _some_at_once(
    client: Client, candidate: Any, users: Any, there: Abroad, identity_store: Any
) -> None:
    """One person in two tabs for the first time, and between them one whom GitHub refuses."""
    erin, mallory = person_at("github", 2), person_at("github", 3)
    refused = Lie(replies={"userinfo_endpoint": Reply(500)})
    logins = [(erin, HONEST), (mallory, refused), (erin, HONEST)]
    visitors = [Visitor(client) for _ in logins]
    paths = []
    for visitor, (person, lie) in zip(visitors, logins, strict=True):
        address = there.github.answer(begin(visitor, "github"), person, lie)
        paths.append("/callback/" + address.partition("/callback/")[2])

    async def all_of_them() -> Any:
        asks = [
            client.ask("GET", path, headers=visitor.headers("cross-site", None))
            for path, visitor in zip(paths, visitors, strict=True)
        ]
        return await asyncio.gather(*asks)

    before = len(users.everyone())
    there.internet.turns = 9
    with in_place(candidate.app, _get_identity_store(), Meeting(identity_store.store, 2)):
        first, other, second = client.run(all_of_them())
    there.internet.turns = 0
    is_refused(other, "Between two whom GitHub knows one whom it refuses", 400, 503)
    names = []
    for visitor, answer in ((visitors[0], first), (visitors[2], second)):
        assert answer.status_code == 303, f"Two tabs at once: {answer.status_code}, not 303."
        cookie = cookies_set_by(answer)[0]
        visitor.cookies[cookie.name] = cookie.value
        names.append(who_is(visitor))
    one, other = (f"is {each}" if each else "has no session" for each in names)
    assert one == other, f"Of two tabs of one person one {one}, and the other {other}."
    assert names[0], "Of two tabs of one person none has a session."
    assert len(users.everyone()) == before + 1, "Two tabs of one person leave several accounts."


def _others_come_first(client: Client, candidate: Any) -> None:
    """Others come in where a new account is not yet tied to its owner, or no longer."""
    from solutions.stores.identities import MemoryIdentityStore
    from solutions.stores.users import MemoryUserStore
    from solutions.support.people_at_providers import Person

    users, identities = MemoryUserStore(), MemoryIdentityStore()
    find = candidate.find_account
    erin, mallory, fay, namesake = (
        Person(issuer, nickname, nickname=nickname)
        for nickname in ("erin", "fay")
        for issuer in "ab"
    )
    seen: dict[str, Any] = {}

    class Overtaken(Before):
        async def _before(self, name: str, args: Any, kwargs: Any) -> None:
            if name == "claim" and not seen:
                seen["new"] = args[0] if args else kwargs["identity"]
                seen["namesake"] = await unwrap(find)(namesake, identities, users)
                other = await unwrap(find)(fay, identities, users)
                await users.change(other.username, disabled=True)

    async def at_once() -> Any:
        both = (Person(issuer, "1", nickname="gil") for issuer in "ab")
        return await asyncio.gather(*(unwrap(find)(each, identities, users) for each in both))

    first, second = client.run(at_once())
    assert first != second, "One subject at two providers, at once: one account."
    client.run(users.remove(find(erin, identities, users).username))
    hers = find(mallory, identities, users)
    again = find(erin, identities, users)
    assert again, "Erin's account was removed, and she gets no new one."
    assert again.account_id != hers.account_id, (
        "Erin's account was removed, mallory came by a provider and has its name: erin is mallory."
    )
    account = find(fay, Overtaken(identities), users)
    namesakes = seen["namesake"]
    assert namesakes and namesakes.account_id != seen["new"].account_id, (
        "While an account is made, somebody with the same nickname gets into it."
    )
    assert account is None, "Another tab was quicker, its account was disabled: it is opened."


def _somebody(there: Abroad, number: int) -> Any:
    """Return a person at one of the providers, in turn."""
    from solutions.support.people_at_providers import Person

    issuer = there[NAMES[number % len(NAMES)]].issuer
    return Person(issuer, "1102", "Erin Example", "erin", "erin@example.com")


def _nobody_knows_the_password(client: Client, candidate: Any, there: Abroad, meter: Meter) -> None:
    """What a new account's password is made of, and that nobody waits while it is hashed."""
    from solutions.hashing import hash_password

    with meter.counting() as usual:
        hash_password("as everybody's")
    passwords: dict[str, str] = {}
    for number, kind in enumerate(3 * UNKNOWN_HERE):
        person = _somebody(there, number // len(NAMES))
        comes = Arrivals(candidate, client, person, kind)
        for _ in range(2 if number < len(NAMES) else 1):
            with meter.counting() as hashes, meter.stopping():
                comes.arrive()
            who = f"somebody {kind} at {person.issuer}"
            assert _told(hashes[-1:]) == _told(usual), (
                f"For {who} {_told(hashes[-1:])} runs, and for others {_told(usual)}."
            )
            assert not any(each.on_event_loop for each in hashes), (
                f"The password of {who} is hashed on the event loop, and everybody waits. "
                "`await run_hashing(...)` hashes beside it."
            )
            password = str(hashes[-1].password)
            other = passwords.setdefault(password, who)
            assert other is who, f"The account of {who} has the password of an account before it."
    for number, kind in enumerate((NEW, GONE)):
        comes = Arrivals(candidate, client, _somebody(there, number), kind)
        _is_random(comes, meter)


def _is_random(comes: Arrivals, meter: Meter) -> None:
    """Count the random bytes of a new account's password. Its hash is not in a transaction."""
    hashes: list[Any] = []
    inside: list[Any] = []

    class Noted(Before):
        async def _before(self, name: str, args: Any, kwargs: Any) -> None:
            if name == "transaction":
                self.begun = len(hashes)

        def _ended(self, name: str) -> None:
            inside.extend(hashes[self.begun :] if name == "transaction" else [])

    def sign_up() -> str:
        nonlocal hashes
        with meter.counting() as hashes, meter.stopping():
            comes.arrive()
        return str(hashes[-1].password)

    comes.users = Noted(comes.users)
    count = bytes_that_count(sign_up, every=8)
    assert count >= 16, f"{count} random bytes decide the password of a new account, not 16."
    assert not inside, "A new account's password is hashed inside a transaction."


def _another_tab_is_quicker(client: Client, candidate: Any, there: Abroad, meter: Meter) -> None:
    """Let a person come in a second tab, wholly before each step of the first one."""
    passwords: list[str] = []

    async def remove(comes: Arrivals, account: Any) -> None:
        await comes.users.remove(account.username)

    async def disable(comes: Arrivals, account: Any) -> None:
        await comes.users.change(account.username, disabled=True)

    for number, kind in enumerate(UNKNOWN_HERE):
        for step in range(2, MOST_STEPS, 1 if kind == GONE else 2):
            comes = Arrivals(candidate, client, _somebody(there, number + step), kind)
            both = comes.overtaken(step)
            if both is None:
                break
            first, second = both
            who = f"Somebody {kind}, and before step {step} of the first tab comes a second one"
            assert second and first and first.account_id == second.account_id, (
                f"{who}: they are two accounts."
            )
            assert comes.added == 1, f"{who}: {comes.added} accounts are left."
            again = comes.arrive()
            assert again.account_id == first.account_id, f"{who}: then there is a third account."
            if kind != GONE or step % 2:  # to save calls
                continue
            comes = Arrivals(candidate, client, _somebody(there, number), kind)
            first, _ = comes.overtaken(step, disable)
            assert first is None, f"{who}; that one's account is disabled, and it is opened."
            assert comes.arrive() is None, f"{who}; that one's account is disabled, and opens."
            comes = Arrivals(candidate, client, _somebody(there, 0), kind)
            with meter.counting() as hashes:
                first, _ = comes.overtaken(step, remove)
            again = comes.arrive()
            assert again and (first is None or first.account_id == again.account_id), (
                f"{who}; that one's account is removed, and the first tab gets one of nobody's."
            )
            passwords += [str(each.password) for each in hashes]
    assert len({*passwords}) == len(passwords), "Two new accounts have one password."


def _known_or_nobody(client: Client, candidate: Any, there: Abroad) -> None:
    """An account of somebody known is opened as it is, a disabled one and after a failure not."""
    for number, name in enumerate(NAMES):
        comes = Arrivals(candidate, client, _somebody(there, number), KNOWN)
        account = comes.arrive()
        assert account and account.account_id == comes.own.account_id, f"{name}: another account."
        client.run(comes.users.change(comes.own.username, disabled=True))
        assert comes.arrive() is None, f"{name}: a disabled account is opened."
        kept = client.run(comes.users.get(comes.own.username))
        assert kept.disabled, f"{name}: a login has enabled a disabled account."
        assert comes.added == 0, f"{name}: who has a disabled account gets another one."
    failures = [("identities", "find"), ("identities", "claim"), ("users", "get"), ("users", "add")]
    for number, (store, method) in enumerate(failures):
        for kind in (NEW, KNOWN, GONE):
            comes = Arrivals(candidate, client, _somebody(there, number), kind)
            account = comes.come_in_a_failure(store, method)
            assert account is None, (
                f"The store of {store} failed at `{method}`: somebody {kind} is in."
            )


def _no_room_for_a_hash(client: Client, candidate: Any, users: Any, there: Abroad) -> None:
    """Where the queue of hashes is full, who needs none comes in, and others are told 503."""
    from fastapi import HTTPException

    from solutions.support.social_requests import Refused

    comes = Arrivals(candidate, client, _somebody(there, 0), KNOWN)
    got = comes.come_to_a_full_queue()
    assert got == comes.own, "The queue of hashes is full, and who needs no hash does not come in."
    for number, (name, kind) in enumerate(zip(NAMES, UNKNOWN_HERE, strict=True)):
        comes = Arrivals(candidate, client, _somebody(there, number), kind)
        got, who = comes.come_to_a_full_queue(), f"somebody {kind} at {name}"
        assert not isinstance(got, TimeoutError), (
            f"The queue of hashes is full, and {who} waits without an end."
        )
        end = "Refused" if isinstance(got, Refused) else f"{got!r:.40}"
        assert isinstance(got, HTTPException) and got.status_code == 503, (
            f"The queue of hashes is full, and for {who} find_account ends with {end}, "
            "not with the 503 of `run_hashing`."
        )
        assert comes.added == 0, f"The queue of hashes is full, and {who} leaves an account."
    visitor, before = Visitor(client), len(users.everyone())
    address = there.github.answer(begin(visitor, "github"), person_at("github", 20))
    with full_queue():
        answer = come_back(visitor, address)
    is_refused(answer, "A new person's login with a full queue of hashes", 503)
    assert len(users.everyone()) == before, "A login with a full queue leaves an account."


@attack
@todo(1, "start_flow")
@pytest.mark.usefixtures("known_people")
@asvs("7.2.4")
def test_a_login_leads_home_in_a_new_session(
    client: Client, candidate: Any, users: Any, there: Abroad, settings: Any, flow_store: Any
) -> None:
    """Mallory knows the cookie from before the login, or is where it leads (CWE-384, CWE-601).

    A new id (ASVS 7.2.4), a `next` on this site, and redirect addresses from PUBLIC_URL alone.
    """
    with twin():
        visitor = Visitor(client)
        visitor.read_form()
        planted = visitor.copy()
        logs_in(there, visitor, "github", ERIN_AT_GITHUB)
    assert planted.cookies != visitor.cookies, "The cookie is the one from before the login."
    assert name_of(planted) is None, "The id from before the login is logged in."
    inside = visitor.copy()
    alice = Visitor(client, cookies=visitor.cookies)
    logs_in(there, alice, "google", person_at("google"))
    assert name_of(inside) is None, "The session from before the second login lives on."
    for path in HOSTILE_PATHS:
        visitor, before = Visitor(client), set(flows_in(flow_store.store))
        address = begin(visitor, "github", next=path)
        flows = flows_in(flow_store.store)
        new = [flows[key] for key in flows if key not in before]
        if new and path != HOSTILE_PATHS[0]:  # to save a request
            where = new[0].purpose.next
        else:
            address = there.github.answer(address, ERIN_AT_GITHUB)
            where = come_back(visitor, address).headers.get("location")
        assert where == ACCOUNT, f"next={path!a} leads to {where!a}."
    _purposes_as_they_came(login_calls(candidate, client, there))
    visitor = Visitor(client)
    address = there.github.answer(begin(visitor, "github"), ERIN_AT_GITHUB)
    answer = come_back(visitor, _changed(address, {"next": "/elsewhere"}))
    assert answer.headers.get("location") == ACCOUNT, "`next` of the answer was taken."
    for headers in (
        {"Host": "mallory.example"},
        {
            "X-Forwarded-Host": "mallory.example",
            "X-Forwarded-Proto": "https",
            "Forwarded": "host=mallory.example",
            "Origin": "https://mallory.example",
            "Referer": "https://mallory.example/",
        },
    ):
        visitor = Visitor(client)
        answer = visitor.get(
            LOGIN_AT.format("github"), headers=visitor.headers("none", None) | headers
        )
        asked = query_of(answer.headers["location"])
        assert asked["redirect_uri"] == f"{settings.public_url}/callback/github", (
            f"With {next(iter(headers))} the code comes back to {asked['redirect_uri']}."
        )
    surplus = set(served(candidate.app)) - ROUTES
    assert not surplus, f"Nobody asked for {' '.join(sorted(surplus)[0])}."
    path = ODD_PATHS[0]
    answer = there.log_in(Visitor(client), "github", ERIN_AT_GITHUB, next=path)
    said = surplus_headers(answer, {"set-cookie", "location"})
    assert not said, f"A login: {said[0]}"
    leads = answer.headers.get("location")
    assert leads == path, f"`next` is {path}, a path of this site, and it leads to {leads}."


def _purposes_as_they_came(calls: LoginCalls) -> None:
    """What was looked at is what is kept: a path that is decoded once more leads elsewhere."""
    from solutions.stores.flows import Purpose

    for number, path in enumerate((*ODD_PATHS, *HOSTILE_PATHS[:1])):
        for name in calls.turns(number, NAMES[number // 2 % 3]):
            purpose = Purpose(path, f" An-ID%2F{number}+" if calls.links else "")
            answer = calls.answer(name, calls.start(name, purpose))
            with twin():
                flow = calls.check(name, answer)
            assert flow.purpose == purpose, (
                f"{calls.way} with {name} is for {purpose}, and its flow for {flow.purpose}."
            )


@attack
@todo(3, "identify")
@pytest.mark.usefixtures("known_people")
@asvs("6.8.2", "10.5.3")
def test_whatever_a_provider_answers_ends_well(
    client: Client, candidate: Any, users: Any, there: Abroad, capfd: Any
) -> None:
    """A provider that is down, slow, huge or hostile stops the service, or gets secrets (CWE-400).

    All that is wrong is one page and a 400, or a 503; no redirect is followed; nothing is echoed.
    """
    with listening(capfd) as trap:
        quoted = _refuse_odd_answers(client, there)
        calls = login_calls(candidate, client, there) if has_functions() else None
        quoted |= _quoted_by_endpoints(calls, there) if calls else {}
    trap.refuse(quoted)
    visitor = Visitor(client)
    replies = {
        "a 302 to mallory": Reply(302, {"location": "https://mallory.example/token"}),
        "a list": Reply(200, body=b"[]"),
        "null": Reply(200, body=b"null"),
        "what is no text": Reply(200, body=b"\xff\xfe\xfa"),
        "JSON in JSON in JSON": Reply(200, body=DEEP),
        "nothing at all": Reply(never=True),
        "a byte an hour": Reply(drips=True, body=b" " * 100),
        "three megabytes": Reply(200, body=HUGE),
        "an error": Reply(
            400, body=b'{"error": "invalid_grant", "error_description": "' + b"x" * 99 + b'"}'
        ),
        "odd types": Reply(200, body=b'{"access_token": [], "id_token": {}, "expires_in": "x"}'),
    }
    lie = Lie(replies={"userinfo_endpoint": replies["an error"]})
    answer = there.lie_to(visitor, "github", ERIN_AT_GITHUB, lie)
    is_refused(answer, "github's userinfo_endpoint says an error", 400, 503)
    nobody_is_in(visitor)
    calls = login_calls(candidate, client, there)
    _refuse_odd_replies(calls, replies)
    _a_code_is_sent_once(calls)
    _metadata_and_keys(client, calls, there, replies)


def _refuse_odd_answers(client: Client, there: Abroad) -> dict[str, str]:
    """Bring answers with odd texts, and return what may be nowhere of them."""
    odd, accents, visitor = '"><script>alert(1)</script>', "\u00e9\ud7ff\0", Visitor(client)
    names = ("error", "error_description", "error_uri")
    quoted = {f"`{name}` of an answer": f"{token_urlsafe(24)} {odd}" for name in names}
    said = {name: quoted[f"`{name}` of an answer"] for name in names}
    page = there.lie_to(visitor, "oidc", ERIN, Lie(signed="another key"))
    for number, (what, changes) in enumerate(
        {
            "a wrong code": {"code": "wrong"},
            "a code of 2,000 letters": {"code": "c" * 2000},
            "an error": {"code": None} | said,
            "an error and a code": {"code": odd} | said,
            "accents everywhere": dict.fromkeys(("code", "state", "iss", *names), accents),
        }.items()
    ):
        name = ("oidc", *NAMES)[number % 4]
        answer = there.lie_to(visitor, name, person_at(name), Lie(answer=changes))
        is_refused(answer, f"An answer of {name} with {what}")
        assert answer.text == page.text, f"An answer with {what}: another page than for others."
    nobody_is_in(visitor)
    return quoted


def _quoted_by_endpoints(calls: LoginCalls, there: Abroad) -> dict[str, str]:
    """Let endpoints quote what they got, in every place of an error, and return the quotations."""
    from solutions.support.providers import ProviderDown

    quoted: dict[str, str] = {}
    places = ("error", "error_description", "error_uri", "message")
    for number, status in enumerate((400, 500)):
        for name in calls.turns(number, *NAMES):
            endpoint = ("token_endpoint", "userinfo_endpoint")[calls.links]
            what = f"error of {name}'s {endpoint}"
            secret = quoted.setdefault(what, token_urlsafe(24))
            said = {each: f"{each}: {secret}" for each in places}
            headers = {"content-type": "application/json", "www-authenticate": f"Bearer {secret}"}
            reply = Reply(status, headers, json.dumps(said).encode())
            who = f"{calls.way} with {name}, whose {endpoint} says an error by {status}"
            with refused_by("identify", who, ProviderDown) as got:
                got.append(calls.identify(name, person_at(name), Lie(replies={endpoint: reply})))
    return quoted


def _refuse_odd_replies(calls: LoginCalls, replies: dict[str, Reply]) -> None:
    """Let each provider's endpoints give odd replies, to logins and links."""
    from solutions.support.providers import ProviderDown

    for number, (what, reply) in enumerate(replies.items()):
        for place, name in enumerate(calls.turns(number, *NAMES)):
            if place != number % len(NAMES) and reply.body is not DEEP:  # to save calls
                continue
            endpoint = ("token_endpoint", "userinfo_endpoint")[(number + place + place // 2) % 2]
            lie = Lie(replies={endpoint: reply})
            who = f"{calls.way} with {name}, whose {endpoint} says {what}"
            with refused_by("identify", who, ProviderDown) as got:
                got.append(calls.identify(name, person_at(name), lie))
            _within_bounds(calls.there, what)


def _a_code_is_sent_once(calls: LoginCalls) -> None:
    """Whatever the token endpoint says, a code that has left is not sent again."""
    from solutions.support.providers import ProviderDown

    replies: dict[str, Reply] = {
        f"{error} by {status}": Reply(status, body=json.dumps({"error": error}).encode())
        for error, status in ERRORS
    }
    replies |= {
        f"a bare {status}": Reply(status, {"content-type": "text/html"}, b"<p>No.")
        for status in (401, 403, 429, 502)
    }
    replies["nothing at all"] = Reply(never=True)
    replies["half of its JSON"] = Reply(body=b'{"access_token": "a')
    replies["no tokens"] = Reply()
    replies["no ID token"] = Reply(body=b'{"access_token": "a", "token_type": "Bearer"}')
    for number, (what, reply) in enumerate(replies.items()):
        for name in calls.turns(number, NAMES[number // 2 % 3]):
            lie = Lie(replies={"token_endpoint": reply})
            who = f"{calls.way} with {name}, whose token endpoint says {what}"
            with refused_by("identify", who, ProviderDown) as got:
                got.append(calls.identify(name, person_at(name), lie))
            _sent_once(calls.there, who)


def _within_bounds(there: Abroad, what: str) -> None:
    _sent_once(there, f"A provider that says {what}")
    hours, size = there.internet.hours, there.internet.bytes
    assert hours <= 1, f"A provider that says {what} is waited for after {hours} hours."
    assert size < 2_000_000, f"Of a provider that says {what} {size:,} bytes are read."
    asked = [each for each in there.internet.asked if "mallory" in each]
    assert not asked, f"A provider that says {what} leads us to {asked[0] if asked else ''}."
    assert not there.internet.unchecked, "Somebody is asked without a look at the certificate."


def _metadata_and_keys(client: Client, calls: LoginCalls, there: Abroad, replies: Any) -> None:
    """Metadata and keys are asked for when they are needed, once they are forgotten."""
    from lessons.harness.candidate import clear_state
    from solutions.support.providers import ProviderDown

    lies = {
        what: Lie(metadata=changes)
        for what, changes in {
            "another issuer": {"issuer": "https://mallory.example"},
            "a script for a place": {"authorization_endpoint": "javascript:alert(1)"},
            "http for the tokens": {"token_endpoint": "http://mallory.example/token"},
        }.items()
    }
    lies |= {what: Lie(replies={"metadata": replies[what]}) for what in [*replies][::5]}
    for what, lie in lies.items():
        clear_state()
        there.oidc.lie = lie
        if what == "another issuer":
            said = Visitor(client).get(LOGIN_AT.format("oidc")).status_code
            assert said == 503, f"Metadata with {what}: {said}, not 503."
        else:  # to save requests
            with refused_by("open_providers", f"Metadata with {what}", ProviderDown) as got:
                got.append(calls.provider("oidc"))
        _within_bounds(there, what)
    there.oidc.withdraw_key()
    clear_state()
    there.oidc.lie = Lie(
        metadata={
            "code_challenge_method": "plain",
            "code_challenge_methods_supported": [],
            "verify": False,
            "scope": "openid",
            "client_kwargs": {"verify": False},
            "trust_env": True,
            "transport": None,
            "proxy": "http://mallory.example",
            "base_url": "https://mallory.example",
            "follow_redirects": True,
            "id_token_signing_alg_values_supported": ["none", "HS256"],
            "response_mode": "fragment",
        }
    )
    visitor = Visitor(client)
    answer = there.lie_to(visitor, "oidc", ERIN, Lie(signed="the withdrawn key"))
    is_refused(answer, "After a change of keys, an ID token signed by the withdrawn key")
    asked = there.oidc.asked[-1]
    assert asked.get("code_challenge_method") == "S256", "Metadata can switch PKCE off."
    assert asked.get("response_mode") is None and "email" in asked["scope"], (
        "Metadata can name arguments of a library, and decide what we ask for."
    )
    for signed in ("nothing", "the secret"):
        with refused_by("identify", f"After a change of keys, signed by {signed}") as got:
            got.append(calls.identify("oidc", ERIN, Lie(signed=signed)))
    with twin():
        logs_in(there, visitor)
    for what in ("a byte an hour", "three megabytes"):
        clear_state()
        there.oidc.lie = Lie(replies={"jwks_uri": replies[what]})
        with refused_by("identify", f"Keys, {what}", ProviderDown) as got:
            got.append(calls.identify("oidc"))
        _within_bounds(there, what)
    there.oidc.lie = HONEST


@attack
@todo(4, "find_account")
@asvs("7.5.1", "7.5.3")
def test_nobody_adds_or_loses_a_way_in(
    client: Client, candidate: Any, users: Any, there: Abroad, identity_store: Any
) -> None:
    """Mallory links her Google to alice's account, by a forged form or an open desk (CWE-352).

    Only from inside, five minutes after a login, and with a token; the last way in stays.
    """
    with twin():
        alice = Visitor(client)
        alice.be_inside("alice")
        answer = _link(there, alice, "google", person_at("google", 1))
        assert answer.status_code == 303, f"Linking google: {answer.status_code}, not 303."
    for what, url, headers in (
        ("another site", f"{IDENTITIES}/oidc", alice.headers("cross-site", "https://x.example")),
        ("another port", "/account/identities", alice.headers("same-site", "http://localhost:9")),
    ):
        form = {"csrf_token": alice.token, "provider": "google"}
        answer = client.request("POST", url, headers=headers, data=form)
        assert answer.status_code == 403, f"{url} from {what}: {answer.status_code}, not 403."
    answer = client.request("POST", f"{IDENTITIES}/oidc", headers=alice.headers())
    assert answer.status_code == 403, f"Linking without a token: {answer.status_code}, not 403."
    answer = Visitor(client).get(IDENTITIES)
    assert answer.status_code == 401, f"GET {IDENTITIES} without a session: {answer.status_code}."
    with at(datetime.now(UTC) + 4 * MINUTE), twin():
        page = alice.post(f"{IDENTITIES}/oidc")
        assert page.status_code in (200, 302, 303), f"After 4 minutes: {page.status_code}."
    with at(datetime.now(UTC) + 6 * MINUTE):
        answer = alice.post(f"{IDENTITIES}/oidc")
        assert answer.status_code == 403, f"Six minutes after a login: {answer.status_code}."
    with at(datetime.now(UTC) + 15 * MINUTE):
        answer = come_back(alice, there.oidc.answer(leads_to(page), MALLORY))
        is_refused(answer, "An answer eleven minutes after a link began")
    _other_peoples_ways(login_calls(candidate, client, there), alice)
    _last_way(client, candidate, users, there, identity_store)


def _other_peoples_ways(calls: LoginCalls, alice: Visitor) -> None:
    """An identity has one account, and a link goes to who asked for it."""
    client, there = calls.client, calls.there
    john = Visitor(client)
    john.be_inside("johndoe")
    answer = _link(there, john, "google", person_at("google", 1))
    assert answer.status_code in (400, 409), f"Alice's Google, for johndoe: {answer.status_code}."
    assert who_is(john) == "johndoe", "Johndoe is somebody else after that."
    page = john.post(f"{IDENTITIES}/oidc")
    address = there.oidc.answer(leads_to(page), MALLORY)
    is_refused(come_back(Visitor(client), address), "A link in another browser")
    answer = come_back(alice, address)
    assert answer.status_code == 400, f"Johndoe's link in alice's: {answer.status_code}, not 400."
    john.be_inside("johndoe")  # once more
    answer = come_back(john, address)
    assert answer.status_code == 400, f"A link from before a login: {answer.status_code}, not 400."
    _refuse_hostile_links(there, alice)
    ways = [row["provider"] for row in alice.get(IDENTITIES).json()]
    assert ways == ["google"], f"Alice had Google, and now has {' and '.join(ways) or 'no way in'}."
    assert john.get(IDENTITIES).json() == [], "Johndoe has got a way in."
    read_token_in_store(john)
    answer = john.script("DELETE", f"{IDENTITIES}/google")
    assert answer.status_code == 404, f"Unlinking alice's Google: {answer.status_code}, not 404."
    got = comes_in(calls, "google", person_at("google", 1))
    assert got == "alice", f"Alice's Google leads to {got} after that."
    got = comes_in(calls, "oidc", MALLORY)
    assert got not in ("alice", "johndoe"), f"Mallory is {got}."


def _refuse_hostile_links(there: Abroad, alice: Visitor) -> None:
    """What does not log in does not link either."""
    for name, what, lie in (
        ("oidc", "another nonce", Lie(claims={"nonce": "another"})),
        ("github", "an `id` that is true", Lie(userinfo={"id": True})),
    ):
        there.begin(alice, name, link=True)
        answer = there.lie_to(alice, name, person_at(name, 30), lie)
        is_refused(answer, f"A link with {name}, whose answer has {what}")


def _last_way(
    client: Client, candidate: Any, users: Any, there: Abroad, identity_store: Any
) -> None:
    """Who has no password keeps a provider; two unlinked at once leave one."""
    fay = Visitor(client)
    name = logs_in(there, fay, "oidc", ERIN | {"sub": "fay"})
    answer = fay.script("DELETE", f"{IDENTITIES}/oidc")
    assert answer.status_code == 409, f"Unlinking the last way in: {answer.status_code}, not 409."
    answer = fay.post("/account/identities", provider="oidc")
    assert answer.status_code == 409, f"The same by the page: {answer.status_code}, not 409."
    got = comes_in(login_calls(candidate, client, there), "oidc", ERIN | {"sub": "fay"})
    assert got == name, f"Fay kept her last way in, and it leads to {got}."
    with twin():
        answer = _link(there, fay, "github", person_at("github", 7))
        assert answer.status_code == 303, f"Linking github: {answer.status_code}, not 303."
        assert who_is(fay) == name, "Linking has logged somebody else in."
    send = {"headers": fay.headers(**{"X-CSRF-Token": fay.token})}

    async def both() -> Any:
        asks = [client.ask("DELETE", f"{IDENTITIES}/{each}", **send) for each in ("oidc", "github")]
        return await asyncio.gather(*asks)

    with in_place(candidate.app, _get_identity_store(), Meeting(identity_store.store, 2)):
        ended = sorted(answer.status_code for answer in client.run(both()))
    assert ended == [204, 409], (
        f"Both ways in unlinked at once: {ended[0]} and {ended[1]}, not 204 and 409."
    )
    assert len(fay.get(IDENTITIES).json()) == 1, "No way in is left."
