"""Lesson 04: the OAuth2 dependency. Four tests of what you build, then mallory.

For maintainers
Goal: every route knows its caller by one dependency, and nothing but a good bearer token of an
account as it is now makes one.
Teach: the bearer header and nothing else, 401 with a challenge, tokens that die with the account's
state, guards in dependencies instead of paths, a route table, overriding a dependency in a test.
Do not teach: refresh and revocation (05), roles and scopes (06), keys (07).
"""

import re
import sys
import time
from base64 import b64encode
from collections.abc import Callable
from datetime import timedelta
from itertools import cycle, product
from typing import Any

import pytest

from lessons.harness.answers import differs, surplus_headers
from lessons.harness.client import Client
from lessons.harness.clock import FAR_EAST, FAR_WEST, zone
from lessons.harness.crowd import each_gets_theirs
from lessons.harness.failing import (
    ANSWER,
    DOWN,
    Before,
    Failing,
    Late,
    Slow,
    Watched,
    in_place,
    noting_answers,
)
from lessons.harness.hostile import sign, take_apart
from lessons.harness.kept import keeps_none
from lessons.harness.literals import texts_in
from lessons.harness.memory import remembered
from lessons.harness.near_misses import flips
from lessons.harness.outside import outside
from lessons.harness.people import (
    PASSWORDS,
    bearer,
    log_in,
    refuse_hostile_passwords,
    refuse_hostile_tokens,
    token_for,
)
from lessons.harness.reads import reading
from lessons.harness.routes import PAGES, SOCKET, documented, served
from lessons.harness.side_doors import Contract, side_doors, with_door
from lessons.harness.storm import answers_in_a_storm
from lessons.harness.strangers import shows_others
from lessons.harness.trap import listening
from lessons.harness.verdicts import twin

asvs = pytest.mark.asvs
attack = pytest.mark.attack
todo = pytest.mark.todo

GUARDED = ("/users/me", "/users/me/items", "/protected-resource")
PUBLIC = {("POST", "/register"), ("POST", "/token")}
REFUSED_WHEN_DISABLED = (400, 401, 403)
# HEAD, OPTIONS and what does not exist: refused, not found, or not allowed.
NOTHING_HERE = (401, 404, 405)
NAMES = ("access_token", "token", "authorization", "bearer", "auth_token", "jwt")
# What a guard might take for a public path, a friendly address or a proxy's word.
SIDE_DOORS: tuple[dict[str, Any], ...] = (
    {},
    {"headers": {"Host": "workbook.test/docs?x="}},
    {"headers": {"Host": "workbook.test/token?x="}},
    {"headers": {"Host": "localhost", "X-Forwarded-For": "127.0.0.1"}},
    {"headers": {"X-Original-URL": "/docs", "X-Rewrite-URL": "/docs", "X-Forwarded-Uri": "/docs"}},
    {"headers": {"X-Forwarded-User": "johndoe", "X-Remote-User": "johndoe"}},
)
JOHN = {
    "username": "johndoe",
    "email": "johndoe@example.com",
    "full_name": "John Doe",
    "disabled": False,
}
ERIN = {"role": "", "email": None, "full_name": None, "security_stamp": "erin's own stamp"}
EVERYBODY = ("johndoe", "alice", "carol", "erin")  # nobody is above a rule


def let_in(client: Client, token: str, url: str = "/users/me") -> Any:
    """Send a good token: the twin of every refusal below."""
    answer = client.get(url, headers=bearer(token))
    assert answer.status_code == 200, f"A good token on {url}: {answer.status_code}, not 200."
    return answer


def refuse(client: Client, what: str, url: str = "/users/me", **send: Any) -> Any:
    """Assert that a request is a 401 that says how to come in."""
    answer = client.get(url, **send)
    assert answer.status_code == 401, f"{what}: {url} answered {answer.status_code}, not 401."
    challenge = answer.headers.get("www-authenticate", "")
    assert challenge.lower().startswith("bearer"), (
        f"{what}: the 401 of {url} lacks the header WWW-Authenticate: Bearer."
    )
    assert not (more := surplus_headers(answer)), f"{what}, {url}: {more[0]}"
    return answer


def refuse_bad(client: Client) -> Any:
    """Assert that a token that nobody signed is a 401, and return how it is refused."""
    return refuse(client, "A bad token", headers=bearer("not.a.token"))


def refuse_like(bad: Any, client: Client, what: str, token: str, url: str = "/users/me") -> None:
    """Assert that a token is refused as a bad one is, to the last header."""
    answer = refuse(client, what, url, headers=bearer(token))
    assert not (how := differs(bad, answer)), f"{what}, and {url} tells it from a bad token: {how}"


def hire(users: Any, name: str) -> None:
    """Add somebody of whom only the name is known, and no role."""
    users.add(users.get("alice").model_copy(update={"username": name, **ERIN}))


def stamps_that_do_not_fit(users: Any) -> dict[str, Any]:
    """Return claims that are nearly johndoe's stamp, or somebody else's."""
    stamp = users.get("johndoe").security_stamp
    near = list(flips(stamp).items())
    letters = dict(near[: len(stamp) : 5])
    whole = {name: each for name, each in near if not name.startswith(("its l", "with "))}
    longer = {"with a blank behind": stamp + " ", "with a letter behind": stamp + "x"}
    alice = users.get("alice").security_stamp
    return letters | whole | longer | {"alice's": alice, "in a list": [stamp], "true": True}


def tokens_of(users: Any, username: str) -> list[str]:
    """Return a token as a login makes it, and others: near its end, long-lived, with more to say.

    What they say more is in the words of the file.
    """
    from solutions.support.settings import get_settings

    good = token_for(users, username)
    claims, key = take_apart(good)[1], get_settings().signing_key
    words = [each for each in texts_in(sys.modules["solutions.oauth2"]) if each.isidentifier()]
    said = {"scope": " ".join(["admin", *words]), "role": "superadmin", "disabled": False}
    names = set(words) - set(said)
    more = [said, *(dict.fromkeys(names, each) | said for each in (True, *words[:20]) if names)]
    ends = [{"exp": int(time.time()) + seconds} for seconds in (30, 86_400)]
    return [
        good,
        *(sign(each | claims, key) for each in more),
        *(sign(claims | e, key) for e in ends),
    ]


# --- build ----------------------------------------------------------------------------------


@todo(1, "get_current_user")
def test_a_token_says_who_is_calling(client: Client, users: Any) -> None:
    """Log in at /token, show the token at /users/me, and you are greeted by name."""
    answer = log_in(client, "johndoe", "secret").json()
    me = let_in(client, answer["access_token"]).json()
    assert {name: me.get(name) for name in JOHN} == JOHN, f"/users/me says {me}."
    let_in(client, answer["access_token"])  # a token is good more than once
    alice = let_in(client, token_for(users, "alice")).json()
    assert alice["username"] == "alice", f"Alice's token makes her {alice['username']}."
    hire(users, "erin")
    erin = let_in(client, token_for(users, "erin")).json()
    nothing_else = {"username": "erin", "email": None, "full_name": None}
    assert erin.items() >= nothing_else.items(), f"Erin said her name only, /users/me says {erin}."
    lower = {"Authorization": f"bearer {token_for(users, 'alice')}"}
    answer = client.get("/users/me", headers=lower)
    assert answer.status_code == 200, "The word Bearer counts in any case (RFC 9110)."


@todo(1, "get_current_user")
def test_the_other_routes_know_the_caller_too(client: Client, users: Any) -> None:
    """One dependency serves all routes."""
    token = token_for(users, "alice")
    items = let_in(client, token, "/users/me/items").json()
    assert items == [{"item_id": "Foo", "owner": "alice"}], f"/users/me/items says {items}."
    resource = let_in(client, token, "/protected-resource").json()
    assert set(resource) == {"message", "user"}, f"/protected-resource says {resource}."
    assert resource["user"] == "alice", f"/protected-resource greets {resource['user']}."


@todo(1, "get_current_user")
def test_without_a_token_it_is_a_401(
    candidate: Any, configure: Callable[..., None], client: Client, users: Any, settings: Any
) -> None:
    """No credentials: 401 and how to log in, not 403 and not an empty page (RFC 6750 section 3).

    In development as in production: a guard that is off at home is off on some server, too.
    """
    let_in(client, token_for(users, "johndoe"))
    (other,) = {"production", "development"} - {settings.environment}
    for environment in (settings.environment, other):
        if environment == other:
            configure(ENVIRONMENT=environment)
            client = client.beside(candidate.app)
        for url in GUARDED:
            answer = refuse(client, f"No token, in {environment}", url)
            assert "error=" not in answer.headers["www-authenticate"], (
                "Nothing was sent, so there is no error to name (RFC 6750 section 3.1)."
            )


@todo(2, "get_current_active_user")
def test_a_test_can_put_its_own_user_in(candidate: Any, client: Client, users: Any) -> None:
    """Whoever tests a route of yours overrides the dependency, and clears it afterwards."""
    let_in(client, token_for(users, "alice"))
    app, recorded = candidate.app, candidate.get_current_user
    get_current_user = getattr(recorded, "__wrapped__", recorded)  # the learner's own object
    john = users.get("johndoe")
    app.dependency_overrides[get_current_user] = lambda: john
    try:
        answer = client.get("/users/me")
    finally:
        app.dependency_overrides.clear()
    assert answer.status_code == 200, (
        f"With get_current_user overridden: {answer.status_code}. Ask for it with Depends."
    )
    assert answer.json()["username"] == "johndoe", "The override was not asked."
    refuse(client, "After clearing the override")


# --- attack ---------------------------------------------------------------------------------


@attack
@todo(1, "get_current_user")
def test_only_a_bearer_header_is_a_credential(client: Client, users: Any) -> None:
    """An empty token, another scheme, two words: what code does not expect, mallory sends.

    Where "" means nobody in one place, it may mean anybody in another (CWE-287). Of two
    credentials, one good and one bad, neither counts.
    """
    good, john = token_for(users, "johndoe"), users.get("johndoe")
    with twin():
        let_in(client, good)
    nothing = refuse(client, "No token")
    for header in ("", "Bearer", "Bearer ", "bearer   "):
        answer = refuse(client, f"Authorization: {header!r}", headers={"Authorization": header})
        how = differs(nothing, answer)
        assert not how, f"Authorization: {header!r} is refused otherwise than no token: {how}"
    headers = (
        good,
        f"Basic {good}",
        f"Token {good}",
        f"BearerBearer {good}",
        f"Bearer={good}",
        f"Bearer mallory {good}",
        f"Bearer {good} mallory",
        f"Basic Bearer {good}",
        f"Basic {b64encode(b'johndoe:secret').decode()}",
        f"Bearer {good}, Bearer not.a.token",
        f"Bearer not.a.token, Bearer {good}",
    )
    for header, url in zip(headers, cycle(GUARDED)):
        shown = header.replace(good, "<token>")
        refuse(client, f"Authorization: {shown!r}", url, headers={"Authorization": header})
    for two in ([good, "not.a.token"], ["not.a.token", good]):
        lines = [("Authorization", f"Bearer {token}") for token in two]
        refuse(client, "Two headers, one with a good token", headers=lines)
    words = [*PASSWORDS, john.security_stamp, john.hashed_password, f'"{good}"', f"<{good}>"]
    for word in (*words, *texts_in(sys.modules["solutions.oauth2"])):
        refuse(client, f"{word.replace(good, 'token')!r:.40} as the token", headers=bearer(word))


@attack
@todo(1, "get_current_user")
@asvs("7.2.1", "9.1.1", "9.1.2")
def test_hostile_tokens_are_refused(client: Client, users: Any, settings: Any, later: Any) -> None:
    """Some fifty tokens that mallory made of a good one. None is believed, all refusals alike.

    The defences of lesson 02 must be in use here too (RFC 8725 section 3.1), at each request: a
    token that was good is looked at again, to the end of its life and wherever the server stands.
    """
    good = token_for(users, "johndoe")
    refuse_hostile_tokens(client, "/users/me", good)
    refuse_hostile_passwords(client)
    signed, _, signature = good.rpartition(".")
    for name, forged in list(flips(signature).items())[:42:6]:
        refuse(client, f"Its signature, {name}", headers=bearer(f"{signed}.{forged}"))
    life = timedelta(minutes=settings.access_token_expire_minutes)
    for place in (FAR_WEST, FAR_EAST):
        with zone(place):
            with later(life - timedelta(seconds=20)):
                let_in(client, good)
            with later(life + timedelta(seconds=65)):
                refuse(client, "A token that was good a minute ago", headers=bearer(good))


@attack
@todo(1, "get_current_user")
@asvs("7.2.1", "8.3.1")
def test_nothing_but_the_header_is_read(client: Client, users: Any) -> None:
    """A cookie, a field, an address, a Host, a proxy's word: whoever calls can write them all.

    Addresses stand in logs, too (RFC 9700 section 4.3.2), and cookies are sent unasked (CWE-352).
    """
    good = token_for(users, "johndoe")
    with twin():
        let_in(client, good)
    words = texts_in(sys.modules["solutions.oauth2"])
    names = [*NAMES, *(word for word in words if re.fullmatch(r"[\w-]+", word))]
    for value in (good, f"Bearer {good}"):
        places = {
            "the address": {"params": dict.fromkeys(names, value)},
            "a cookie": {"headers": {"Cookie": "; ".join(f'{name}="{value}"' for name in names)}},
            "another header": {"headers": dict.fromkeys(("X-Access-Token", "X-Auth-Token"), value)},
            "the body": {"json": dict.fromkeys(names, value)},
        }
        for (place, send), url in product(places.items(), GUARDED):
            refuse(client, f"A good token in {place}", url, **send)
    callers = {
        "no token": {},
        "an empty token": bearer(""),
        "a forged token": bearer(sign(take_apart(good)[1], "mallory" * 8)),
        "an old token": bearer(token_for(users, "alice", stamp="old")),
    }
    callers |= {f"{name}'s token": bearer(token_for(users, name)) for name in ("alice", "carol")}
    with reading() as reads:
        usual = {
            (who, url): client.get(url, headers=callers[who]) for who in callers for url in GUARDED
        }
    values = [good, f"Bearer {good}", *PASSWORDS, "1", "true", *words]
    for door, send in side_doors(reads, Contract(headers={"authorization"}), values):
        for (who, url), answer in usual.items():
            opened = client.get(url, **with_door({"headers": callers[who]}, send))
            assert not (how := differs(answer, opened)), f"{door}, {who}, {url}: {how}"


@attack
@todo(1, "get_current_user")
@asvs("7.4.2", "10.3.3")
def test_a_token_dies_with_its_user(candidate: Any, client: Client, users: Any) -> None:
    """Who has left still has a token for half an hour. It must open nothing (CWE-613).

    If somebody else registers the name, the old token must not make her them (ASVS 7.4.2).
    """
    from solutions.stores.users import get_users

    hire(users, "erin")
    tokens = tokens_of(users, "erin")
    with twin():
        let_in(client, tokens[0])
    bad = refuse_bad(client)
    users.remove("erin")
    people = users.everyone()
    for url, token in product(GUARDED, tokens):
        refuse_like(bad, client, "The user is gone", token, url)
    assert users.everyone() == people, "A token of nobody changed the people in the store."
    hire(users, "erin")
    users.change("erin", security_stamp="drawn anew")
    for url, token in product(GUARDED, tokens):
        refuse_like(bad, client, "The token of a former owner of the name", token, url)
    with in_place(candidate.app, get_users, Successor(users.store)) as store:
        said = client.get("/users/me", headers=bearer(token_for(users, "erin"))).text
    assert store.done and "heir" not in said, (
        "Erin's name passed to another between two looks, and her token showed the new owner's "
        f"account: {said}"
    )


class Successor(Before):
    """A store in which erin's name passes to somebody else right after the first look."""

    done = False

    async def _after(self, name: str) -> None:
        if name == "get" and not self.done:
            self.done = True
            erin = await self._store.get("erin")
            await self._store.remove("erin")
            heir = {
                "email": "heir@example.com",
                "full_name": "heir",
                "security_stamp": "the heir's",
            }
            await self._store.add(erin.model_copy(update=heir))


@attack
@todo(1, "get_current_user")
@asvs("7.4.3")
def test_a_token_dies_with_the_password(client: Client, users: Any, settings: Any) -> None:
    """After a theft erin changes her password. The thief's token must not outlive it.

    The claim `stamp` has to be the account's security stamp as it is now (ASVS 7.4.3), to the
    letter. An account without a stamp has no good token: None is equal to None, and "" to "".
    """
    hire(users, "erin")
    bad = refuse_bad(client)
    for name in EVERYBODY:
        old = tokens_of(users, name)
        with twin():
            let_in(client, old[0])
        users.change(name, hashed_password=users.get("bob").hashed_password)
        people = users.everyone()
        for url, token in product(GUARDED if name == "johndoe" else GUARDED[:1], old):
            refuse_like(bad, client, f"{name}'s token is older than the password", token, url)
        assert users.everyone() == people, "An old token changed the people in the store."
    for name, stamp in stamps_that_do_not_fit(users).items():
        token = token_for(users, "johndoe", stamp=stamp)
        refuse_like(bad, client, f"A signed token whose stamp is {name}", token)
    token, stamp = token_for(users, "johndoe"), users.get("johndoe").security_stamp
    nothing = {
        "null": token_for(users, "johndoe", stamp=None),
        "empty": token_for(users, "johndoe", stamp=""),
        "missing": sign(take_apart(token)[1] | {"stamp": None}, settings.signing_key),
    }
    stamps = (stamp, "", None) if keeps_none(users.store) else (stamp, "")
    for present, (name, token) in product(stamps, nothing.items()):
        users.change("johndoe", security_stamp=present)
        what = f"A signed token whose stamp is {name}, for an account with {present!r:.6}"
        refuse_like(bad, client, what, token)


@attack
@todo(3, "CurrentUser")
@asvs("7.4.2", "8.3.2")
def test_a_disabled_account_is_out_at_once(candidate: Any, client: Client, users: Any) -> None:
    """Bob is disabled at ten. The token of five to ten must open nothing (ASVS 7.4.2).

    Nor may it when he is enabled again. And only who has a good token learns that he is disabled.
    """
    hire(users, "erin")
    bad, routes = refuse_bad(client), sorted(documented(candidate.app) - PUBLIC)
    for name in EVERYBODY:
        tokens = tokens_of(users, name)
        with twin():
            let_in(client, tokens[0])
        users.change(name, disabled=True)
        for (method, path), token in product(routes if name == "johndoe" else routes[:1], tokens):
            answer = client.request(method, path, headers=bearer(token))
            assert answer.status_code in REFUSED_WHEN_DISABLED, (
                f"{name} is disabled, and {method} {path} answered {answer.status_code}, "
                "not 400, 401 or 403."
            )
            assert answer.status_code != 401 or "www-authenticate" in answer.headers, (
                f"The 401 of {path} lacks the header WWW-Authenticate: Bearer."
            )
            stamp = users.get(name).security_stamp
            assert stamp not in answer.text, f"The refusal of {path} shows the stamp."
            assert not (more := surplus_headers(answer)), f"{name} is disabled, {path}: {more[0]}"
        old = token_for(users, name, stamp="of another password")
        refuse_like(bad, client, "Disabled, with an old token", old)
        users.change(name, disabled=False)
        refuse_like(bad, client, "A token from before the account was disabled", tokens[0])
        with twin():
            let_in(client, token_for(users, name))


@attack
@todo(1, "get_current_user")
@asvs("6.3.4", "8.2.1")
def test_every_route_asks_for_credentials(candidate: Any, client: Client, users: Any) -> None:
    """The route that somebody forgot is the one that mallory finds (OWASP API5:2023).

    All routes but the public ones, those too that the documentation hides, with HEAD and OPTIONS,
    and what answers although it is no route.
    """
    good = token_for(users, "johndoe")
    with twin():
        let_in(client, good)
    forged = {"headers": bearer(sign(take_apart(good)[1], "mallory" * 8))}
    described = documented(candidate.app)
    routes = sorted(described.union(served(candidate.app)) - PUBLIC)
    for method, path in routes:
        url = re.sub(r"\{.*?\}", "alice", path)
        if method == SOCKET:
            opens = client.opens_socket(url) or client.opens_socket(url, forged["headers"])
            assert not opens, f"The WebSocket {path} lets in whoever comes."
            continue
        for send in (*SIDE_DOORS, forged):
            # The query too: some guards look for a public path anywhere in the address.
            answer = client.request(method, f"{url}?x=/docs" if send else url, **send)
            sent = "a forged token" if send is forged else f"no credentials {send or ''}".strip()
            assert answer.status_code == 401, (
                f"{method} {path} answered {answer.status_code}, not 401, with {sent}. "
                "So what is there is served without a login."
            )
            assert "www-authenticate" in answer.headers, f"The 401 of {path} has no challenge."
        assert (method, path) in described, (
            f"{method} {path} is not in the documentation, so nobody reviews its guard."
        )
    words = texts_in(sys.modules["solutions.oauth2"])  # a middleware may answer what it names
    methods = {"HEAD", "OPTIONS", *(word for word in words if re.fullmatch(r"[A-Z]{3,12}", word))}
    paths = {"/", "/no-such-address", *(word for word in words if re.fullmatch(r"/[\w./-]+", word))}
    known = {path for _, path in (*routes, *PUBLIC)}
    asked = {*product(methods, known), *product({"GET", "POST", *methods}, paths - {*PAGES})}
    for method, path in sorted(asked - {*routes, *PUBLIC}):
        answer = client.request(method, re.sub(r"\{.*?\}", "alice", path))
        assert answer.status_code in NOTHING_HERE, (
            f"{method} {path} answered {answer.status_code}, not 401, 404 or 405, to nobody."
        )
    for path in ("/users/{}", "/users/{}/profile", "/{}"):
        seen = [client.get(path.format(name)) for name in ("nobody", "alice")]
        how = differs(*seen)
        assert not how or "alice" not in seen[1].text.replace(path.format("alice"), ""), (
            f"{path.format('alice')} tells a visitor that there is an alice: {how}"
        )


@attack
@todo(1, "get_current_user")
@asvs("8.2.3")
def test_a_profile_shows_nothing_secret(candidate: Any, client: Client, users: Any) -> None:
    """What a route returns is read by every script on the page (ASVS 15.3.1).

    Name, address, full name, disabled, as they are now. No hash, no stamp, no role, no cookie, no
    fresh token, nothing of another's account, and nothing that a proxy on the way may keep for
    others (CWE-525).
    """
    said = {"email": "mallory@example.com", "full_name": "Mallory", "role": "superadmin"}
    token, john = token_for(users, "johndoe", **said), users.get("johndoe")
    with twin():
        answers = {url: let_in(client, token, url) for url in GUARDED}
    me = answers["/users/me"].json()
    extra = set(me) - set(JOHN)
    assert not extra, f"/users/me also shows {', '.join(sorted(extra))}."
    assert me == JOHN, f"/users/me believes the token's further claims: {me}."
    for url, answer in answers.items():
        shown = f"{answer.text} {answer.headers}"
        assert john.security_stamp not in shown, f"{url} shows the stamp."
        assert john.hashed_password not in shown, f"{url} shows the hash."
        from_a_page = bearer(token) | {"Origin": "https://mallory.example"}
        for each in (answer, client.get(url, headers=from_a_page)):
            assert not (more := surplus_headers(each)), f"{url}: {more[0]}"
    more = {"email": "quill@example.com", "full_name": "Oboe Quill"}
    users.add(users.get("alice").model_copy(update={"username": "erin", **ERIN, **more}))
    known = PUBLIC | {("GET", url) for url in GUARDED}
    others = shows_others(candidate.app, client, known, ["erin", *more.values()], bearer(token))
    assert others is None, f"It tells johndoe about erin's account: {others}"
    users.change("johndoe", full_name="John Roe", email=None)
    me = let_in(client, token).json()
    assert me == JOHN | {"full_name": "John Roe", "email": None}, (
        f"The store says John Roe without an address, and /users/me says {me}."
    )


@attack
@todo(1, "get_current_user")
@asvs("10.1.1")
def test_no_token_stays_behind(candidate: Any, client: Client, users: Any, capfd: Any) -> None:
    """Who reads the log or the memory must not become everybody who called (CWE-532).

    Nothing of a token is kept, also of a refused one: a million of those would fill the memory.
    """
    from solutions.stores.users import get_users

    good, john = token_for(users, "johndoe"), users.get("johndoe")
    with twin():
        let_in(client, good)
    bad = good[:-4] + "AAAA"
    with listening(capfd) as trap, outside() as reached:
        log_in(client, "alice", PASSWORDS["alice"])
        for token in (good, bad):
            client.get("/users/me", headers=bearer(token))
        with in_place(candidate.app, get_users, Failing(users.store, "get")):
            client.status_of("GET", "/users/me", headers=bearer(good))
        for changes in ({"disabled": True}, {"hashed_password": john.hashed_password}):
            users.change("johndoe", **changes)
            client.get("/users/me", headers=bearer(good))
    secrets = {"good token": good, "refused token": bad, "hash": john.hashed_password}
    trap.refuse(secrets | {"password": PASSWORDS["alice"]})
    assert not reached, f"A request with a token reached for {reached[0]}."

    def call(token: str) -> None:
        for each in (token, f"{token}.bad"):
            client.get("/users/me", headers=bearer(each))

    tokens = [token_for(users, "alice") for _ in range(5)]
    kept = remembered(sys.modules["solutions.oauth2"], call, tokens)
    assert kept is None, f"Tokens stay in memory: {kept}."


@attack
@todo(1, "get_current_user")
def test_everybody_at_once_gets_what_is_theirs(candidate: Any, client: Client, users: Any) -> None:
    """While one caller's account is looked up, another one calls (CWE-362).

    What the routes share, a global, a default, the app, is overwritten by then.
    """
    from solutions.stores.users import get_users

    hire(users, "erin")
    headers = {name: bearer(token_for(users, name)) for name in EVERYBODY}
    with twin():
        for name in EVERYBODY:
            assert client.get("/users/me", headers=headers[name]).status_code == 200, name
    with in_place(candidate.app, get_users, Slow(users.store)):
        for url in GUARDED:
            requests = {name: ("GET", url, {"headers": headers[name]}) for name in EVERYBODY}
            each_gets_theirs(client, requests, lambda answer: answer.text, in_threads=False)
        users.change("erin", hashed_password="another")
        both = [{"headers": headers["erin"]}, {"headers": bearer(token_for(users, "erin"))}]
        for sends, expected in ((both, [401, 200]), (both[::-1], [200, 401])):
            seen = [answer.status_code for answer in client.together("GET", "/users/me", sends)]
            assert seen == expected, f"Her old and her new token at once: {seen}, not {expected}."


@attack
@todo(3, "CurrentUser")
def test_a_store_that_fails_lets_nobody_in(candidate: Any, client: Client, users: Any) -> None:
    """When the store cannot say who is disabled or gone, the answer is an error (CWE-636).

    Never what the token says, and never what the store said before. And a token waits for nobody,
    nor does anybody wait for its answer to be read (CWE-400).
    """
    from solutions.stores.users import get_users

    token = token_for(users, "alice")
    with twin():
        let_in(client, token)
    errors = (None, TimeoutError(f"No answer from {DOWN}."))
    for method, skip, url in product(("get", "everyone"), (0, 1), GUARDED):
        failing = Failing(users.store, method, errors[url == "/users/me"], skip=skip)
        with in_place(candidate.app, get_users, failing):
            status = client.status_of("GET", url, headers=bearer(token))
        assert not failing.failed or status >= 500, (
            f"The store failed in `{method}`, and {url} answered {status}, not 500."
        )
    watched = Watched(users.store)
    with in_place(candidate.app, get_users, watched), noting_answers(watched.calls):
        let_in(client, token)
    held = next(each for each in watched.calls if each.name == ANSWER).kwargs["under_way"]
    assert not held, (
        f"`users.{held[0]}` is not over when the answer begins. One who reads slowly stops all who "
        "want to write."
    )
    busy = answers_in_a_storm(client, "GET", "/users/me", headers=bearer(token))
    assert busy is not None, "In a storm of logins a token waits behind the hashes. It needs none."
    assert busy.status_code == 200, f"In a storm of logins a good token: {busy.status_code}."
    users.change("alice", disabled=True)
    with in_place(candidate.app, get_users, Late(users.store)):
        status = client.status_of("GET", "/users/me", headers=bearer(token))
    assert status >= 400, f"Alice is disabled, the store was slow, and /users/me said {status}."
