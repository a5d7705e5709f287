"""Lesson 04: the OAuth2 dependency. Four tests of what you build, then mallory.

For maintainers
Goal: every route knows its caller by one dependency, and nothing but a good bearer token of an
account as it is now makes one.
Teach: the bearer header and nothing else, 401 with a challenge, tokens that die with the account's
state, guards in dependencies instead of paths, a route table, overriding a dependency in a test.
Do not teach: refresh and revocation (05), roles and scopes (06), keys (07).
"""

import logging
from datetime import timedelta
from typing import Any

import pytest

from lessons.harness.client import Client
from lessons.harness.hostile import sign, take_apart
from lessons.harness.people import (
    bearer,
    log_in,
    refuse_hostile_passwords,
    refuse_hostile_tokens,
    token_for,
)
from lessons.harness.routes import documented, served
from lessons.harness.verdicts import twin

attack = pytest.mark.attack
todo = pytest.mark.todo

GUARDED = ("/users/me", "/users/me/items", "/protected-resource")
PUBLIC = {("POST", "/register"), ("POST", "/token")}
REFUSED_WHEN_DISABLED = (400, 401, 403)
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
    return answer


def told(answer: Any) -> str:
    """Return what a refusal says, in its body and its challenge."""
    return f"{answer.text} {answer.headers['www-authenticate']}"


# --- build ----------------------------------------------------------------------------------


@todo(1, "get_current_user")
def test_a_token_says_who_is_calling(client: Client, users: Any) -> None:
    """Log in at /token, show the token at /users/me, and you are greeted by name."""
    answer = log_in(client, "johndoe", "secret").json()
    me = let_in(client, answer["access_token"]).json()
    assert {name: me.get(name) for name in JOHN} == JOHN, f"/users/me says {me}."
    alice = let_in(client, token_for(users, "alice")).json()
    assert alice["username"] == "alice", f"Alice's token makes her {alice['username']}."
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
def test_without_a_token_it_is_a_401(client: Client, users: Any) -> None:
    """No credentials: 401 and how to log in, not 403 and not an empty page (RFC 6750 section 3)."""
    let_in(client, token_for(users, "johndoe"))
    for url in GUARDED:
        answer = refuse(client, "No token", url)
        assert "error=" not in answer.headers["www-authenticate"], (
            "Nothing was sent, so there is no error to name (RFC 6750 section 3.1)."
        )


@todo(2, "get_current_active_user")
def test_a_test_can_put_its_own_user_in(candidate: Any, client: Client, users: Any) -> None:
    """Whoever tests a route of yours overrides the dependency, and clears it afterwards."""
    let_in(client, token_for(users, "alice"))
    app, recorded = candidate.app, candidate.get_current_user
    get_current_user = getattr(recorded, "__wrapped__", recorded)  # the learner's own object
    app.dependency_overrides[get_current_user] = lambda: users.get("johndoe")
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

    Where "" means nobody in one place, it may mean anybody in another (CWE-287).
    """
    good = token_for(users, "johndoe")
    with twin():
        let_in(client, good)
    for header in (
        "",
        "Bearer",
        "Bearer ",
        "bearer   ",
        good,
        f"Basic {good}",
        f"Token {good}",
        f"BearerBearer {good}",
        f"Bearer mallory {good}",
        f"Bearer {good} mallory",
        f"Basic Bearer {good}",
    ):
        shown = header.replace(good, "<token>")
        for url in GUARDED:
            refuse(client, f"Authorization: {shown!r}", url, headers={"Authorization": header})


@attack
@todo(1, "get_current_user")
def test_hostile_tokens_are_refused(client: Client, users: Any, later: Any) -> None:
    """Forty tokens that mallory made of a good one. None is believed, all refusals read alike.

    The defences of lesson 02 must be in use here too (RFC 8725 section 3.1).
    """
    good = token_for(users, "johndoe")
    refuse_hostile_tokens(client, "/users/me", good)
    refuse_hostile_passwords(client)
    with later(timedelta(minutes=31)):
        refuse(client, "A token that was believed half an hour ago", headers=bearer(good))


@attack
@todo(1, "get_current_user")
def test_a_token_in_the_address_opens_nothing(client: Client, users: Any) -> None:
    """Addresses stand in logs, histories and links to other sites (RFC 9700 section 4.3.2).

    A cookie is sent by the browser unasked, whoever made it send (CWE-352).
    """
    good = token_for(users, "johndoe")
    with twin():
        let_in(client, good)
    for value in (good, f"Bearer {good}"):
        places = {
            "the address": {"params": dict.fromkeys(NAMES, value)},
            "a cookie": {"headers": {"Cookie": "; ".join(f'{name}="{value}"' for name in NAMES)}},
            "another header": {"headers": dict.fromkeys(("X-Access-Token", "X-Auth-Token"), value)},
        }
        for url in GUARDED:
            for place, send in places.items():
                refuse(client, f"A good token in {place}", url, **send)


@attack
@todo(1, "get_current_user")
def test_a_token_dies_with_its_user(client: Client, users: Any) -> None:
    """Who has left still has a token for half an hour. It must open nothing (CWE-613).

    If somebody else registers the name, the old token must not make her them (ASVS 7.4.2).
    """
    users.add(users.get("johndoe").model_copy(update={"username": "erin"}))
    token = token_for(users, "erin")
    with twin():
        let_in(client, token)
    alike = told(refuse(client, "A bad token", headers=bearer("not.a.token")))
    users.remove("erin")
    for url in GUARDED:
        seen = told(refuse(client, "The user is gone", url, headers=bearer(token)))
        assert seen == alike, f"A user who is gone: {seen}. A bad token: {alike}"
    stranger = users.get("alice").model_copy(
        update={"username": "erin", "security_stamp": "drawn anew"}
    )
    users.add(stranger)
    for url in GUARDED:
        refuse(client, "The token of a former owner of the name", url, headers=bearer(token))


@attack
@todo(1, "get_current_user")
def test_a_token_dies_with_the_password(client: Client, users: Any) -> None:
    """After a theft erin changes her password. The thief's token must not outlive it.

    The claim `stamp` has to be the account's security stamp as it is now (ASVS 7.4.3).
    """
    from solutions.settings import get_settings

    token = token_for(users, "johndoe")
    with twin():
        let_in(client, token)
    alike = told(refuse(client, "A bad token", headers=bearer("not.a.token")))
    users.change("johndoe", hashed_password=users.get("alice").hashed_password)
    for url in GUARDED:
        seen = told(refuse(client, "A token older than the password", url, headers=bearer(token)))
        assert seen == alike, f"An old token: {seen}. A bad token: {alike}"
    stamp = users.get("johndoe").security_stamp
    others = {
        "no stamp": sign(take_apart(token)[1] | {"stamp": None}, get_settings().signing_key),
        "null as the stamp": token_for(users, "johndoe", stamp=None),
        "an empty stamp": token_for(users, "johndoe", stamp=""),
        "alice's stamp": token_for(users, "johndoe", stamp=users.get("alice").security_stamp),
        "the start of the stamp": token_for(users, "johndoe", stamp=stamp[:-1]),
        "more than the stamp": token_for(users, "johndoe", stamp=stamp + "x"),
        "the stamp in a list": token_for(users, "johndoe", stamp=[stamp]),
        "true as the stamp": token_for(users, "johndoe", stamp=True),
    }
    for name, other in others.items():
        refuse(client, f"A signed token with {name}", headers=bearer(other))
    with twin():
        let_in(client, token_for(users, "johndoe"))


@attack
@todo(3, "CurrentUser")
def test_a_disabled_account_is_out_at_once(candidate: Any, client: Client, users: Any) -> None:
    """Bob is disabled at ten. The token of five to ten must open nothing (ASVS 7.4.2)."""
    token = token_for(users, "johndoe", disabled=False)
    with twin():
        for url in GUARDED:
            let_in(client, token, url)
    users.change("johndoe", disabled=True)
    for method, path in sorted(documented(candidate.app) - PUBLIC):
        answer = client.request(method, path, headers=bearer(token))
        assert answer.status_code in REFUSED_WHEN_DISABLED, (
            f"Disabled since the login, and {method} {path} answered {answer.status_code}, not 4xx."
        )
        assert answer.status_code != 401 or "www-authenticate" in answer.headers, (
            f"The 401 of {path} lacks the header WWW-Authenticate: Bearer."
        )
    users.change("johndoe", disabled=False)
    with twin():
        let_in(client, token_for(users, "johndoe"))
    for name in ("alice", "carol"):  # nobody is above the rule
        users.change(name, disabled=True)
        answer = client.get("/users/me", headers=bearer(token_for(users, name)))
        assert answer.status_code in REFUSED_WHEN_DISABLED, (
            f"{name}: {answer.status_code}, not 4xx."
        )


@attack
@todo(1, "get_current_user")
def test_every_route_asks_for_credentials(candidate: Any, client: Client, users: Any) -> None:
    """The route that somebody forgot is the one that mallory finds (OWASP API5:2023).

    All routes but the public ones, those too that the documentation hides.
    """
    good = token_for(users, "johndoe")
    with twin():
        let_in(client, good)
    forged = {"headers": bearer(sign(take_apart(good)[1], "mallory" * 8))}
    described = documented(candidate.app)
    for method, path in sorted(described.union(served(candidate.app))):
        if (method, path) in PUBLIC:
            continue
        for send in (*SIDE_DOORS, forged):
            # The query too: some guards look for a public path anywhere in the address.
            answer = client.request(method, f"{path}?x=/docs" if send else path, **send)
            sent = "a forged token" if send is forged else f"no credentials {send or ''}".strip()
            assert answer.status_code == 401, (
                f"{method} {path} answered {answer.status_code}, not 401, with {sent}."
            )
            assert "www-authenticate" in answer.headers, f"The 401 of {path} has no challenge."
        assert (method, path) in described, (
            f"{method} {path} is not in the documentation, so nobody reviews its guard."
        )


@attack
@todo(1, "get_current_user")
def test_a_profile_shows_nothing_secret(client: Client, users: Any) -> None:
    """What a route returns is read by every script on the page (ASVS 15.3.1).

    Name, address, full name, disabled. No hash, no stamp, no role.
    """
    said = {"email": "mallory@example.com", "full_name": "Mallory", "role": "superadmin"}
    token = token_for(users, "johndoe", **said)
    with twin():
        answers = {url: let_in(client, token, url) for url in GUARDED}
    me = answers["/users/me"].json()
    extra = set(me) - set(JOHN)
    assert not extra, f"/users/me also shows {', '.join(sorted(extra))}."
    assert me == JOHN, f"/users/me believes the token's further claims: {me}."
    john = users.get("johndoe")
    for url, answer in answers.items():
        shown = f"{answer.text} {answer.headers}"
        assert john.security_stamp not in shown, f"{url} shows the stamp."
        assert john.hashed_password not in shown, f"{url} shows the hash."


@attack
@todo(1, "get_current_user")
def test_the_log_holds_no_token(
    client: Client, users: Any, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture
) -> None:
    """Who reads the log must not become everybody who called (CWE-532)."""
    caplog.set_level(logging.DEBUG)
    good = token_for(users, "johndoe")
    with twin():
        let_in(client, good)
    bad = good[:-4] + "AAAA"
    client.get("/users/me", headers=bearer(bad))
    users.change("johndoe", hashed_password=users.get("alice").hashed_password)
    client.get("/users/me", headers=bearer(good))
    printed = capsys.readouterr()
    log = caplog.text + printed.out + printed.err
    for token in (good, bad):
        for name, part in {"whole": token, "its signature": token.split(".")[2][:-4]}.items():
            at = log.find(part)
            shown = log[max(at - 40, 0) : at + 20]
            assert at < 0, f"The log holds a token ({name}): ...{shown!r}..."
