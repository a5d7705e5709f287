"""Lesson 05: refresh tokens. Four tests of what you build, then mallory.

For maintainers
Goal: a session lasts for days on tokens that live for minutes, a stolen refresh token shows, and
whoever logs out, is thrown out or changes the password is out.
Teach: rotation in one atomic step, reuse as an alarm, digests at rest, an absolute end, revocation,
refusals as OAuth clients know them.
Do not teach: cookies (08), other grants (09), a denylist of access tokens (10), databases (11).
"""

import hashlib
import json
import logging
import os
import sys
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any

import pytest

from lessons.harness.client import Client
from lessons.harness.hostile import HOSTILE_PASSWORDS, hostile_tokens, take_apart
from lessons.harness.meter import Meter
from lessons.harness.people import bearer, log_in, refuse_hostile_passwords, refuse_hostile_tokens
from lessons.harness.race import Crowd
from lessons.harness.verdicts import twin

attack = pytest.mark.attack
todo = pytest.mark.todo

Later = Callable[[timedelta], AbstractContextManager[None]]

THREADS = 8
NEW_PASSWORD = " Trombone + 7 "


def begin(client: Client, username: str = "johndoe", password: str = "secret", **form: str) -> Any:
    """Log in with the right password, and return the tokens."""
    answer = log_in(client, username, password, **form)
    assert answer.status_code == 200, f"The right password: {answer.status_code}, not 200."
    return answer.json()


def renew(client: Client, refresh_token: str, **form: str) -> Any:
    """Send a refresh token to the token endpoint, and return the answer."""
    form = {"grant_type": "refresh_token", "refresh_token": refresh_token, **form}
    return client.post("/token", data=form)


def go_on(client: Client, refresh_token: str, **form: str) -> Any:
    """Refresh with a good token, and return the new ones: the twin of most refusals below."""
    answer = renew(client, refresh_token, **form)
    assert answer.status_code == 200, f"A good refresh token: {answer.status_code}, not 200."
    return answer.json()


def call(client: Client, access_token: str) -> int:
    """Return the status with which /users/me answers a token."""
    return client.get("/users/me", headers=bearer(access_token)).status_code


def refuse(what: str, answer: Any, error: str = "invalid_grant") -> None:
    """Assert that the token endpoint refused, in the words of RFC 6749 section 5.2."""
    assert answer.status_code == 400, f"{what}: {answer.status_code}, not 400."
    assert answer.json().get("error") == error, f"{what}: {answer.text}, not `{error}`."


def change_password(client: Client, access_token: str, **body: str) -> Any:
    """Ask for another password with an access token."""
    # As text, since JSON can hold what UTF-8 cannot: a lone surrogate.
    headers = bearer(access_token) | {"Content-Type": "application/json"}
    return client.post("/users/me/password", headers=headers, content=json.dumps(body))


# --- build ----------------------------------------------------------------------------------


@todo(1, "issue_refresh_token")
def test_a_login_gives_two_tokens(client: Client) -> None:
    """POST /token answers with an access token as before, and a refresh token beside it."""
    answer = log_in(client, "JohnDoe", "secret", grant_type="password")
    assert answer.status_code == 200, f"The right password: {answer.status_code}, not 200."
    assert "no-store" in answer.headers.get("cache-control", ""), "Cache-Control: no-store is gone."
    tokens = answer.json()
    for name in ("access_token", "refresh_token"):
        assert isinstance(tokens.get(name), str), f"The answer has no {name}."
    assert tokens.get("token_type", "").lower() == "bearer", f"token_type: {answer.text}"
    assert tokens.get("expires_in") == 1800, "`expires_in` is the access token's, in seconds."
    scopes = set(tokens.get("scope", "").split())
    assert scopes == {"me", "items"}, f"Who asks for none gets all scopes, not {scopes}."
    assert call(client, tokens["access_token"]) == 200, "The access token does not open /users/me."
    assert begin(client)["refresh_token"] != tokens["refresh_token"], "Two logins, one token."


@todo(3, "refresh")
def test_a_refresh_token_gives_new_tokens(client: Client) -> None:
    """The refresh grant: no password, and the session goes on (RFC 6749 section 6)."""
    old = begin(client)
    new = go_on(client, old["refresh_token"])
    assert set(new) == set(old), f"The answer has {', '.join(new)}."
    scopes = [sorted(tokens["scope"].split()) for tokens in (old, new)]
    assert scopes[0] == scopes[1], f"The scopes were {scopes[0]}, and now are {scopes[1]}."
    assert call(client, new["access_token"]) == 200, "The new access token opens nothing."
    for _ in range(3):
        new = go_on(client, new["refresh_token"])


@todo(2, "spend_refresh_token")
def test_refusals_speak_oauth(client: Client) -> None:
    """A client's library reads `error`, and shows its user the right thing (RFC 6749 section 5.2).

    With FastAPI's `detail` alone, one of them takes the refusal for a token.
    """
    go_on(client, begin(client)["refresh_token"])
    refuse("An unknown token", renew(client, "no-such-token"))
    refuse("A wrong password", log_in(client, "johndoe", "wrong"))
    refuse("No token", renew(client, ""), "invalid_request")
    refuse("No password", log_in(client, "johndoe", ""), "invalid_request")
    unknown = client.post("/token", data={"grant_type": "telepathy"})
    refuse("An unknown grant", unknown, "unsupported_grant_type")
    answer = renew(client, "no-such-token")
    assert "no-store" in answer.headers.get("cache-control", ""), "A refusal may be cached."


@todo(4, "replace_password")
def test_a_password_can_be_changed(client: Client, users: Any) -> None:
    """POST /users/me/password: 204, the new password logs in, the old one does not."""
    token = begin(client)["access_token"]
    answer = change_password(client, token, current_password="secret", new_password=NEW_PASSWORD)
    assert answer.status_code == 204, f"The right password: {answer.status_code}, not 204."
    begin(client, password=NEW_PASSWORD)
    refuse("The old password", log_in(client, "johndoe", "secret"))


# --- attack ---------------------------------------------------------------------------------


@attack
@todo(2, "spend_refresh_token")
def test_each_token_has_one_use(client: Client) -> None:
    """A refresh token that opens routes is an access token for seven days (RFC 8725 section 3.12).

    An access token that refreshes never ends.
    """
    with twin():
        tokens = go_on(client, begin(client)["refresh_token"])
        assert call(client, tokens["access_token"]) == 200, "The access token opens nothing."
    status = call(client, tokens["refresh_token"])
    assert status == 401, f"The refresh token as a bearer token: {status}, not 401."
    refuse("The access token as a refresh token", renew(client, tokens["access_token"]))
    query = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    answer = client.post("/token", params=query)
    refuse("A token in the URL, and so in every log", answer, "invalid_request")


@attack
@todo(2, "spend_refresh_token")
def test_a_token_that_comes_back_ends_its_session(client: Client, later: Later) -> None:
    """Mallory copied a refresh token. Whoever uses it second sets off the alarm.

    Both are thrown out, and nobody else is (RFC 9700 section 4.14.2).
    """
    with twin():
        phone, laptop = begin(client), begin(client)
        alice = begin(client, "alice", "secretalice")
        second = go_on(client, phone["refresh_token"])
        third = go_on(client, second["refresh_token"])
    refuse("A spent token", renew(client, second["refresh_token"]))
    refuse("The newest token of that session", renew(client, third["refresh_token"]))
    refuse("The first token of that session", renew(client, phone["refresh_token"]))
    for name, other in {"the same user's laptop": laptop, "alice": alice}.items():
        answer = renew(client, other["refresh_token"])
        assert answer.status_code == 200, f"One stolen token threw out {name} too."
    with twin():
        first = alice["refresh_token"]
        newest = go_on(client, answer.json()["refresh_token"])["refresh_token"]
    with later(timedelta(days=6)):
        refuse("A token spent six days ago", renew(client, first))
        refuse("The newest token, after one of six days ago came back", renew(client, newest))


@attack
@todo(2, "spend_refresh_token")
def test_eight_at_once_give_one_winner(candidate: Any, client: Client, users: Any) -> None:
    """Eight requests with one token, at the same moment. If each looks before any has spent it,
    one stolen token becomes eight sessions (CWE-367)."""
    from solutions.refresh_store import RefreshStore, get_refresh_store

    crowd = Crowd(THREADS)

    class Crowded(RefreshStore):
        def find(self, digest: str) -> Any:
            found = super().find(digest)
            crowd.gather()
            return found

    store = Crowded()

    async def get_crowded_store() -> RefreshStore:
        return store

    with twin():
        go_on(client, begin(client)["refresh_token"])
    candidate.app.dependency_overrides[get_refresh_store] = get_crowded_store
    try:
        with twin():
            token = begin(client)["refresh_token"]
        form = {"grant_type": "refresh_token", "refresh_token": token}
        answers = client.in_threads(crowd, [("POST", "/token", {"data": form})] * THREADS)
        winners = [answer for answer in answers if answer.status_code == 200]
        assert len(winners) == 1, f"{THREADS} requests with one token, {len(winners)} new sessions."
        newest = winners[0].json()["refresh_token"]
        refuse("The winner's token, though seven others had the same one", renew(client, newest))
    finally:
        candidate.app.dependency_overrides.clear()


@attack
@todo(1, "issue_refresh_token")
def test_neither_store_nor_log_holds_a_token(
    client: Client, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture
) -> None:
    """Who copies the store, or reads the log, must not have everybody's session (CWE-312)."""
    from solutions.refresh_store import open_refresh_store

    caplog.set_level(logging.DEBUG)
    with twin():
        first = begin(client)
        second = go_on(client, first["refresh_token"])
        assert second["refresh_token"] != first["refresh_token"], "It is the same token again."
        store = open_refresh_store()
        stored = repr(vars(store)) + repr(vars(sys.modules["solutions.refresh"]))
        assert "johndoe" in repr(vars(store)), "The given store is empty."
        refuse("A wrong password", log_in(client, "johndoe", "bassoon + 9"))
        alice = begin(client, "alice", "secretalice")["access_token"]
        body = {"current_password": "secretalice", "new_password": NEW_PASSWORD}
        assert change_password(client, alice, **body).status_code == 204, "No new password."
    printed = capsys.readouterr()
    log = caplog.text + printed.out + printed.err
    for tokens in (first, second):
        token = tokens["refresh_token"]
        assert len(token) >= 22, f"A refresh token of {len(token)} characters can be guessed."
        spelled = (token, token[::-1], token.encode().hex(), b64encode(token.encode()).decode())
        assert not any(each.rstrip("=") in stored for each in spelled), (
            "The store holds a refresh token as it is, not its digest."
        )
        claims = take_apart(tokens["access_token"])[1]
        assert token not in str(claims), "The access token holds the refresh token."
        assert not any(each.rstrip("=") in log for each in spelled), (
            "The log holds the refresh_token."
        )
        assert tokens["access_token"] not in log, "The log holds the access_token."
        for name, weak in {"MD5": hashlib.md5, "SHA-1": hashlib.sha1}.items():
            digest = weak(token.encode()).digest()
            spelled = (digest.hex(), b64encode(digest).decode(), urlsafe_b64encode(digest).decode())
            assert not any(each.rstrip("=") in stored for each in spelled), (
                f"{name} is no digest to rely on any more (ASVS 11.4.1)."
            )
    for password in ("bassoon + 9", NEW_PASSWORD):
        assert password not in log, "The log holds a password."
    pairs = zip(first["refresh_token"], second["refresh_token"], strict=False)
    fresh = sum(one != other for one, other in pairs)
    assert fresh >= 16, f"Only {fresh} characters differ from the token before: it can be guessed."
    begin(client)
    for kept in reversed(list(store._tokens)):  # a live one first
        assert len(kept) >= 22, f"A digest of {len(kept)} characters fits too many tokens."
        refuse("What the store holds, sent as a token", renew(client, kept))


@attack
@todo(2, "spend_refresh_token")
def test_refreshing_does_not_prolong_the_session(client: Client, later: Later) -> None:
    """Seven days after the login the session ends, however often it was refreshed.

    Otherwise one stolen token, refreshed each day, is a key for ever (ASVS 7.3.2).
    """
    with twin():
        unused = begin(client)["refresh_token"]
        fresh = begin(client)
        token = fresh["refresh_token"]
        for days in (3, 6):
            with later(timedelta(days=days)):
                tokens = go_on(client, token)
                assert call(client, tokens["access_token"]) == 200, "The new token opens nothing."
                token = tokens["refresh_token"]
    with later(timedelta(days=6, hours=1)):
        for name, old in {"login": fresh, "refresh": tokens}.items():
            status = call(client, old["access_token"])
            assert status == 401, f"The access token of the {name}, an hour later: {status}."
    with later(timedelta(days=7, minutes=1)):
        refuse("Seven days after the login, refreshed", renew(client, token))
        refuse("Seven days after the login, never used", renew(client, unused))


@attack
@todo(2, "spend_refresh_token")
def test_a_logout_ends_the_session(client: Client) -> None:
    """Logging out where only the client forgets: whoever has a copy is still in (ASVS 7.4.1).

    POST /revoke says 200 to any token, so that nobody learns which are good (RFC 7009).
    """
    with twin():
        mine = go_on(client, begin(client)["refresh_token"])["refresh_token"]
        other = begin(client)["refresh_token"]
        spent = begin(client)["refresh_token"]
        newest = go_on(client, spent)["refresh_token"]
        refuse("No token", client.post("/revoke"), "invalid_request")
    answers = set()
    for form in (
        {"token": "no-such-token"},
        {"token": mine},
        {"token": spent, "token_type_hint": "access_token"},  # a wrong hint is no excuse
    ):
        answer = client.post("/revoke", data=form)
        assert answer.status_code == 200, f"POST /revoke: {answer.status_code}, not 200."
        answers.add(answer.text)
    assert len(answers) == 1, f"POST /revoke tells which tokens are good: {answers}"
    answer = renew(client, other)
    assert answer.status_code == 200, "The logout ended another session too."
    lookalikes = [mine + each for each in ("", "=", "==", " ", "\n", "\0")]
    lookalikes += [" " + mine, mine.swapcase(), mine[:-1] + chr(ord(mine[-1]) + 1)]
    for token in lookalikes:
        refuse(f"The revoked token, spelled {token!r}", renew(client, token))
    refuse("The newest token, after a logout with the one before", renew(client, newest))


@attack
@todo(4, "replace_password")
def test_a_new_password_ends_every_session(client: Client) -> None:
    """Erin changes her password because somebody else is in. That must throw him out.

    Every refresh token, and every access token from before (ASVS 7.4.3).
    """
    with twin():
        mine, theirs, alice = begin(client), begin(client), begin(client, "alice", "secretalice")
        changed = change_password(
            client, mine["access_token"], current_password="secret", new_password=NEW_PASSWORD
        )
        assert changed.status_code == 204, f"The right password: {changed.status_code}, not 204."
        fresh = begin(client, password=NEW_PASSWORD)
    for name, old in {"the other device": theirs, "this device": mine}.items():
        refuse(f"The refresh token of {name}", renew(client, old["refresh_token"]))
        status = call(client, old["access_token"])
        assert status == 401, f"The access token of {name}: {status}, not 401."
    assert call(client, alice["access_token"]) == 200, "Alice is out too."
    assert renew(client, alice["refresh_token"]).status_code == 200, "Alice cannot refresh."
    assert renew(client, fresh["refresh_token"]).status_code == 200, "The new session is out too."


@attack
@todo(4, "replace_password")
def test_a_stolen_session_cannot_take_the_account(client: Client, meter: Meter) -> None:
    """With a stolen token mallory sets a password of her own, and erin is out (CWE-620).

    So the route asks for the current one (ASVS 6.2.3), as carefully as a login does.
    """
    with twin():
        session = begin(client)
        token = session["access_token"]
    new = {"new_password": NEW_PASSWORD}
    for case, body in {
        "Without the current password": new,
        "With an empty one": {"current_password": "", **new},
        "With a wrong one": {"current_password": "wrong", **new},
        "With 100 characters": {"current_password": "a" * 100, **new},
        "With alice's": {"current_password": "secretalice", **new},
        **{
            name: {"current_password": HOSTILE_PASSWORDS[name], **new} for name in HOSTILE_PASSWORDS
        },
        "A new one that is short": {"current_password": "secret", "new_password": "short"},
        "A new one that is common": {"current_password": "secret", "new_password": "password1"},
        "A new one of 74 bytes": {"current_password": "secret", "new_password": "\u00e9" * 37},
    }.items():
        with meter.counting() as hashes:
            answer = change_password(client, token, **body)
        wanted = (422,) if "new one" in case[:9] else (400, 401, 403, 422)
        assert answer.status_code in wanted, f"{case}: {answer.status_code}, not {wanted[0]}."
        assert not any(run.on_event_loop for run in hashes), "It hashed on the event loop."
        for value in body.values():
            assert len(value) < 5 or value not in answer.text, "The answer repeats a password."
    with twin():
        begin(client)
    assert call(client, token) == 200, "A failed change ended the session."
    with twin(), meter.counting() as hashes:
        body = {"current_password": "secret", "new_password": NEW_PASSWORD}
        answer = change_password(client, token, **body)
        assert answer.status_code == 204, f"The right password: {answer.status_code}, not 204."
        assert hashes, "The meter saw no hash. It knows bcrypt, argon2, scrypt and PBKDF2."
    assert not any(run.on_event_loop for run in hashes), "It hashed on the event loop."


@attack
@todo(3, "refresh")
def test_who_is_out_cannot_refresh(client: Client, users: Any) -> None:
    """Bob was dismissed, his refresh token was not: seven more days (ASVS 7.4.2).

    Nor may it open the account of the next one who takes his name.
    """
    with twin():
        for name, role in {"erin": "user", "frank": "user", "grace": "superadmin"}.items():
            users.add(users.get("johndoe").model_copy(update={"username": name, "role": role}))
        above = begin(client, "grace")["refresh_token"]
        disabled, gone = (begin(client, name)["refresh_token"] for name in ("erin", "frank"))
        disabled, gone = (go_on(client, each)["refresh_token"] for each in (disabled, gone))
        again = begin(client, "frank")["refresh_token"]
    users.change("erin", disabled=True)
    refuse("Disabled since the login", renew(client, disabled))
    users.change("grace", disabled=True)
    refuse("Disabled since the login, a superadmin", renew(client, above))
    users.remove("frank")
    refuse("The user is gone", renew(client, gone))
    users.add(
        users.get("alice").model_copy(update={"username": "frank", "security_stamp": "drawn anew"})
    )
    refuse("Somebody else has the name now", renew(client, again))


@attack
@todo(3, "refresh")
def test_nobody_is_granted_more_than_they_have(client: Client, users: Any) -> None:
    """Asking for the scope `admin` must not be enough to get it (CWE-269, ASVS 10.4.11).

    Scopes only ever become fewer: at the login, and at each refresh.
    """
    with twin():
        narrow = begin(client, scope="me")
        assert narrow["scope"] == "me", f"Asked for `me`, was granted {narrow['scope']!r}."
        narrow = go_on(client, narrow["refresh_token"])
        wide = begin(client)
        less = go_on(client, wide["refresh_token"], scope="items")
        assert less["scope"] == "items", f"Asked for `items`, was granted {less['scope']!r}."
    assert narrow["scope"] == "me", f"After a refresh `me` became {narrow['scope']!r}."
    _grants_only({"me"}, log_in(client, "johndoe", "secret", scope="me admin me:admin items.all"))
    _grants_only(set(), log_in(client, "johndoe", "secret", scope="admin"))
    _grants_only({"me"}, renew(client, narrow["refresh_token"], scope="me items admin"))
    wide = begin(client)
    users.change("johndoe", scopes=["me"])
    _grants_only({"me"}, renew(client, wide["refresh_token"]))


def _grants_only(allowed: set[str], answer: Any) -> None:
    if answer.status_code == 400:  # to refuse is right too
        refuse("Too much was asked for", answer, "invalid_scope")
        return
    tokens = answer.json()
    claims = take_apart(tokens["access_token"])[1]
    for where, scope in {"answer": tokens.get("scope"), "token": claims.get("scope")}.items():
        extra = set((scope or "").split()) - allowed
        assert not extra, f"The {where} grants {', '.join(sorted(extra))} to one who lacks it."


@attack
@todo(2, "spend_refresh_token")
def test_the_earlier_defences_stay_on(client: Client, meter: Meter) -> None:
    """What lessons 02 and 03 refused, mallory tries again here: forged tokens, odd passwords,
    names that do not exist (ASVS 6.3.8, 16.5.3)."""
    from solutions.settings import get_settings

    with twin():
        good = go_on(client, begin(client)["refresh_token"])["access_token"]
        log_in(client, "nobody", "warm-up")
    forged = hostile_tokens(good, get_settings().signing_key)
    for name in ("alg none", "edited claims", "another key", "no exp", "no type", "refresh token"):
        refuse(f"As a refresh token: {name}", renew(client, forged[name]))
    refuse_hostile_tokens(client, "/users/me", good)
    refuse_hostile_passwords(client)
    seen = {}
    for username in ("johndoe", "nobody", "bob"):
        with meter.counting() as hashes:
            answer = log_in(client, username, "secretbob")
        refuse(f"{username} with bob's password, who is disabled", answer)
        assert not any(run.on_event_loop for run in hashes), "It hashed on the event loop."
        seen[username] = (answer.text, sorted(hashes))
    assert len({said for said, _ in seen.values()}) == 1, f"The answers differ: {seen}"
    assert seen["johndoe"][1] == seen["nobody"][1] == seen["bob"][1], (
        "Known, unknown and disabled names cost different work."
    )
    few = max(os.cpu_count() or 2, 4)
    wrong = {"current_password": "wrong", "new_password": NEW_PASSWORD}
    for url, send in (
        ("/token", {"data": {"username": "johndoe", "password": "wrong"}}),
        ("/users/me/password", {"json": wrong, "headers": bearer(good)}),
    ):
        with meter.holding(limit=few) as gate:
            client.together("POST", url, [send] * (few + 2), gate.watch)
        assert gate.held <= few, f"{url}: {gate.held} hashes at once on {os.cpu_count()} cores."
