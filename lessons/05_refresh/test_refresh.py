"""Lesson 05: refresh tokens. Four tests of what you build, then mallory.

For maintainers
Goal: a session lasts for days on tokens that live for minutes, a stolen refresh token shows, and
whoever logs out, is thrown out or changes the password is out.
Teach: rotation in one atomic step, reuse as an alarm, digests at rest, an absolute end, revocation,
refusals as OAuth clients know them, a second look inside the transaction.
Do not teach: cookies (08), other grants (09), a denylist of access tokens (10), databases (12).
"""

import hashlib
import json
import os
import sys
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from itertools import cycle, product
from typing import Any, Literal

import pytest

from lessons.harness.answers import differs, surplus_headers
from lessons.harness.client import Client
from lessons.harness.clock import FAR_WEST, at, zone
from lessons.harness.failing import Before, Failing, Late, Meeting, Slow, Watched, in_place
from lessons.harness.hostile import HOSTILE_PASSWORDS, hostile_tokens, take_apart
from lessons.harness.kept import a_live_digest_in, snapshot, text_of
from lessons.harness.memory import remembered
from lessons.harness.meter import Meter
from lessons.harness.near_misses import flips
from lessons.harness.people import (
    bearer,
    log_in,
    refuse_hostile_passwords,
    refuse_hostile_tokens,
    speak_as,
    token_for,
)
from lessons.harness.race import Crowd
from lessons.harness.randomness import NOON, Tape, bytes_that_count, drawing_from
from lessons.harness.reads import reading
from lessons.harness.routes import served
from lessons.harness.side_doors import Contract, side_doors, with_door
from lessons.harness.spelling import Text, holds
from lessons.harness.storm import full_queue, past_the_entrance
from lessons.harness.trap import listening
from lessons.harness.verdicts import twin

asvs = pytest.mark.asvs
attack = pytest.mark.attack
todo = pytest.mark.todo

Later = Callable[[timedelta], AbstractContextManager[None]]

MANY = 8  # at once
PEOPLE = {"johndoe": "secret", "alice": "secretalice", "carol": "secretcarol"}  # one of each role
NEW_PASSWORD = " Trombone \ufb01 e\u0301 \u00fc seven "  # each normal form of it is another text
FORMS: tuple[Literal["NFC", "NFD", "NFKC", "NFKD"], ...] = ("NFC", "NFD", "NFKC", "NFKD")
WRONG_PASSWORD = "Bassoon + nine"
SHAPES: tuple[dict[str, str], ...] = ({}, {"scope": "me"})  # of a refresh; attacks take turns
FIELDS = {"grant_type", "username", "password", "refresh_token", "scope"}
FIELDS |= {"token", "token_type_hint"}
ROUTES = {
    ("POST", "/register"),
    ("POST", "/token"),
    ("POST", "/revoke"),
    ("POST", "/users/me/password"),
    ("GET", "/users/me"),
    ("GET", "/users/me/items"),
    ("GET", "/protected-resource"),
}


def begin(client: Client, username: str = "johndoe", password: str = "", **form: str) -> Any:
    """Log in with the right password, and return the tokens."""
    answer = log_in(client, username, password or PEOPLE.get(username, "secret"), **form)
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


def password_form(access_token: str, **body: str) -> dict[str, Any]:
    """Return what a client sends for another password."""
    # As text, since JSON can hold what UTF-8 cannot: a lone surrogate.
    headers = bearer(access_token) | {"Content-Type": "application/json"}
    return {"headers": headers, "content": json.dumps(body)}


def change_password(client: Client, access_token: str, **body: str) -> Any:
    """Ask for another password with an access token."""
    return client.post("/users/me/password", **password_form(access_token, **body))


def other_texts(password: str) -> dict[str, str]:
    """Return what a program that tidies up passwords makes of one, by what it does."""
    forms = {f"in {form}": unicodedata.normalize(form, password) for form in FORMS}
    return {**forms, "without outer blanks": password.strip(), "in small letters": password.lower()}


@contextmanager
def on_stores(candidate: Any, users: Any, store: Any) -> Iterator[None]:
    """Let the app use these two stores."""
    from solutions.stores.refresh_tokens import get_refresh_store
    from solutions.stores.users import get_users

    with ExitStack() as stack:
        stack.enter_context(in_place(candidate.app, get_users, users))
        stack.enter_context(in_place(candidate.app, get_refresh_store, store))
        yield


# --- build ----------------------------------------------------------------------------------


@todo(1, "issue_refresh_token")
def test_a_login_gives_two_tokens(client: Client, settings: Any) -> None:
    """POST /token answers with an access token as before, and a refresh token beside it."""
    answer = log_in(client, "JohnDoe", "secret", grant_type="password")
    assert answer.status_code == 200, f"The right password: {answer.status_code}, not 200."
    assert "no-store" in answer.headers.get("cache-control", ""), "Cache-Control: no-store is gone."
    tokens = answer.json()
    for name in ("access_token", "refresh_token"):
        assert isinstance(tokens.get(name), str), f"The answer has no {name}."
    assert tokens.get("token_type", "").lower() == "bearer", f"token_type: {answer.text}"
    due = settings.access_token_expire_minutes * 60
    assert tokens.get("expires_in") == due, "`expires_in` is the access token's, in seconds."
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
    assert new["expires_in"] == old["expires_in"], "`expires_in` is the access token's."
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
    answer = renew(client, "no-such-token")
    refuse("An unknown token", answer)
    assert "no-store" in answer.headers.get("cache-control", ""), "A refusal may be cached."
    refuse("A wrong password", log_in(client, "johndoe", "wrong"))
    refuse("No token", renew(client, ""), "invalid_request")
    refuse("No password", log_in(client, "johndoe", ""), "invalid_request")
    unknown = client.post("/token", data={"grant_type": "telepathy"})
    refuse("An unknown grant", unknown, "unsupported_grant_type")


@todo(4, "replace_password")
@asvs("6.2.2")
def test_a_password_can_be_changed(client: Client, users: Any) -> None:
    """POST /users/me/password: 204, the new password logs in as typed, the old one does not."""
    token = begin(client)["access_token"]
    answer = change_password(client, token, current_password="secret", new_password=NEW_PASSWORD)
    assert answer.status_code == 204, f"The right password: {answer.status_code}, not 204."
    typed = log_in(client, "johndoe", NEW_PASSWORD)
    assert typed.status_code == 200, f"The new password, as typed: {typed.status_code}, not 200."
    refuse("The old password", log_in(client, "johndoe", "secret"))
    for how, other in other_texts(NEW_PASSWORD).items():
        refuse(f"The new password, {how}", log_in(client, "johndoe", other))


# --- attack ---------------------------------------------------------------------------------


@attack
@todo(2, "spend_refresh_token")
@asvs("9.2.2")
def test_each_token_has_one_use(candidate: Any, client: Client, users: Any) -> None:
    """A refresh token that opens routes is an access token for seven days (RFC 8725 section 3.12).

    An access token that refreshes never ends, and neither may come in by a side door.
    """
    none = {"data": {"grant_type": "refresh_token", "scope": "me"}}
    with twin(), reading() as reads:
        entry = log_in(client, "johndoe", "secret")
        answer = renew(client, entry.json()["refresh_token"])
        refused = client.post("/token", **none)
        refuse("No token", refused, "invalid_request")
    tokens = answer.json()
    token, access_token = tokens["refresh_token"], tokens["access_token"]
    for each in (entry, answer, refused):
        assert not (said := surplus_headers(each)), said[0]
    status = call(client, token)
    assert status == 401, f"The refresh token as a bearer token: {status}, not 401."
    shapes = cycle(SHAPES)
    for form in SHAPES:
        refuse("The access token as a refresh token", renew(client, access_token, **form))
    for name, near in near_misses_of(token):
        refuse(f"A live refresh token {name}", renew(client, near, **next(shapes)))
    contract = Contract(form=FIELDS)
    for what, door in [
        ("the token in the URL", {"params": {"refresh_token": token}}),
        *side_doors(reads, contract, [token, access_token, "alice", "true"]),
    ]:
        again = client.post("/token", **with_door(none, door))
        assert not (how := differs(refused, again)), f"With {what} the refusal is another: {how}"
    for form in SHAPES:
        new = go_on(client, token, username="alice", password="secretalice", **form)
        token, whose = new["refresh_token"], take_apart(new["access_token"])[1]["sub"]
        assert whose == "johndoe", f"A refresh that names alice gave johndoe's session to {whose}."
    chosen = "mallory-" * 6
    with twin():
        entry = begin(client, refresh_token=chosen)
    assert entry["refresh_token"] != chosen, "Mallory chose the refresh token of a login."
    refuse("A token that mallory chose, sent with a login", renew(client, chosen))
    unknown = sorted(set(served(candidate.app)) - ROUTES)
    assert not unknown, f"{' '.join(unknown[0])} is no route of this lesson."


LOOKALIKES = (
    *("with = behind", "with a blank behind", "with a blank before", "with a NUL behind"),
    *("with a letter behind", "in small letters", "its letters with the case changed"),
)
NEAR_MISSES = (
    *(*LOOKALIKES, "in capitals", "without its last letter", "its first half", "its second half"),
    *("its letter 1 changed", "its letter 20 changed", "its letter 40 changed"),
)


def near_misses_of(token: str, names: tuple[str, ...] = NEAR_MISSES) -> Iterator[tuple[str, str]]:
    """Yield what is almost a token, and what decodes to the same bytes, each with its name."""
    for name, near in flips(token).items():
        if name in names or name.startswith("its last letter"):
            yield name, near


def without_scopes(client: Client, users: Any) -> list[str]:
    """Return the tokens of a session that has no scopes; none where that cannot be."""
    users.change("alice", scopes=[])
    answers = [log_in(client, "alice", PEOPLE["alice"])]
    if answers[0].status_code == 200:
        answers.append(renew(client, answers[0].json()["refresh_token"]))
    users.change("alice", scopes=["me", "items"])
    return [each.json()["refresh_token"] for each in answers if answers[-1].status_code == 200]


A_REUSE, A_LOGOUT = "a spent token came back", "a logout"
NARROWER = (("johndoe", "me"), ("johndoe", ""), ("alice", "items"), ("carol", ""))


@attack
@todo(2, "spend_refresh_token")
@asvs("7.4.1", "10.4.5", "10.4.9")
def test_a_token_that_comes_back_ends_its_session(
    client: Client, users: Any, settings: Any, later: Later
) -> None:
    """Mallory copied a refresh token. Whoever uses it second sets off the alarm: both are out, and
    nobody else is (RFC 9700 section 4.14.2).

    So does a token that comes to POST /revoke. If only the client forgets it, a copy lives on (ASVS
    7.4.1).
    """

    shapes = cycle(SHAPES)

    def reuse(token: str) -> None:
        refuse("A spent token", renew(client, token, **next(shapes)))

    def log_out(token: str) -> None:
        # A wrong hint is no excuse (RFC 7009 section 2.1).
        form = {"token": token, "token_type_hint": "access_token"}
        answer = client.post("/revoke", data=form)
        assert answer.status_code == 200, f"POST /revoke: {answer.status_code}, not 200."
        assert not (how := differs(unknown, answer)), f"/revoke tells which tokens are good: {how}"

    ends = {A_REUSE: reuse, A_LOGOUT: log_out}
    with twin():
        laptops = {name: begin(client, name)["refresh_token"] for name in PEOPLE}
        phones = {
            (end, name): [begin(client, name)["refresh_token"]] for end in ends for name in PEOPLE
        }
        for end, (name, asked) in product(ends, NARROWER):
            # A narrower scope is for that access token: the session stays the same one.
            tokens = phones[end, name]
            tokens.append(go_on(client, tokens[-1], scope=asked)["refresh_token"])
    for end in ends:
        if bare := without_scopes(client, users):
            phones[end, "alice without scopes"] = bare
    with reading() as reads:
        unknown = client.post("/revoke", data=(bad := {"token": "no-such-token"}))
    for _, door in side_doors(reads, Contract(form=FIELDS), PEOPLE):
        client.post("/revoke", **with_door({"data": bad}, door))
    for (end, name), tokens in phones.items():
        # A spent one ends it too.
        ends[end](tokens[-1 if end == A_LOGOUT and name != "alice" else 0])
        for token in reversed(tokens if end == A_LOGOUT else tokens[1:]):
            which = "newest" if token == tokens[-1] else "spent"
            again = renew(client, token, **next(shapes))
            refuse(f"After {end}, {name}'s {which} token", again)
    for name, near in near_misses_of(phones[A_LOGOUT, "johndoe"][-1], LOOKALIKES):
        refuse(f"The revoked token {name}", renew(client, near))
    forged = hostile_tokens(token_for(users, "johndoe"), settings.signing_key, huge=1)
    for name in ("alg none", "another key", "expired"):
        client.post("/revoke", data={"token": forged[name]})
    newest = {}
    for name, laptop in laptops.items():
        answer = renew(client, laptop)
        assert answer.status_code == 200, f"After the end of other sessions, {name} is out too."
        newest[name] = answer.json()["refresh_token"]
    log_out(quiet := newest["carol"])
    with later(timedelta(days=settings.refresh_token_expire_days - 1)):
        for end, name in zip(ends, laptops, strict=False):
            token = go_on(client, newest[name])["refresh_token"]
            ends[end](laptops[name])
            again = renew(client, token, **next(shapes))
            refuse(f"Days later, after {end}: the newest token", again)
        for end, ended in {A_REUSE: phones[A_REUSE, "johndoe"][-1], A_LOGOUT: quiet}.items():
            # The store has swept since.
            refuse(f"Days after {end}: the token that was the newest then", renew(client, ended))


@attack
@todo(2, "spend_refresh_token")
@asvs("10.4.5")
def test_eight_at_once_give_one_winner(
    candidate: Any, client: Client, users: Any, refresh_store: Any
) -> None:
    """Eight requests with one token, at the same moment. If each looks before any has spent it,
    one stolen token becomes eight sessions (CWE-367).

    Three people at the same moment: each goes on with their own session.
    """
    crowd = Crowd(MANY)

    class Crowded(Before):
        async def _after(self, name: str) -> None:
            if name == "find":
                crowd.gather()

    def one_wins(answers: list[Any], where: str) -> None:
        won = [answer for answer in answers if answer.status_code == 200]
        how_many = f"{len(answers)} requests with one token, {len(won)} new sessions"
        assert len(won) == 1, f"{how_many}, {where}."
        newest = won[0].json()["refresh_token"]
        refuse("The winner's token, though others had the same one", renew(client, newest))

    def sent(token: str, **form: str) -> dict[str, Any]:
        return {"data": {"grant_type": "refresh_token", "refresh_token": token, **form}}

    with twin():
        first, *others = (
            begin(client),
            *(go_on(client, begin(client)["refresh_token"]) for _ in SHAPES),
        )
    with on_stores(candidate, users.store, Crowded(refresh_store.store)):
        request = ("POST", "/token", sent(first["refresh_token"]))
        one_wins(client.in_threads(crowd, [request] * MANY), "across threads")
    with on_stores(candidate, Slow(users.store), Slow(refresh_store.store)):
        for tokens, form in zip(others, SHAPES, strict=True):
            send = sent(tokens["refresh_token"], **form)
            one_wins(client.together("POST", "/token", [send] * (MANY // 2)), "on one event loop")
    people = [*PEOPLE] * 2
    forms = [{"data": {"username": name, "password": PEOPLE[name]}} for name in people]
    size = len(forms)
    with on_stores(candidate, Meeting(users.store, size), Meeting(refresh_store.store, size)):
        for _ in range(2):
            answers = client.together("POST", "/token", forms)
            for name, answer in zip(people, answers, strict=True):
                assert answer.status_code == 200, f"In a crowd {name} is refused: {answer.text}"
                whose = take_apart(answer.json()["access_token"])[1]["sub"]
                assert whose == name, f"In a crowd {name} got the token of {whose}."
            forms = [sent(answer.json()["refresh_token"]) for answer in answers]


@attack
@todo(1, "issue_refresh_token")
@asvs("7.2.3")
def test_neither_store_nor_log_holds_a_token(
    candidate: Any,
    client: Client,
    users: Any,
    refresh_store: Any,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Who copies the store, or reads the log, must not have everybody's session (CWE-312).

    Nor may anybody compute the next token: it is 256 bits of the system's randomness.
    """
    store, module = refresh_store.store, sys.modules["solutions.refresh"]
    bad, before = "no-such-token-4711-0815", users.get("alice")
    with listening(capfd) as trap:
        with twin():
            first = begin(client)
            second, other = go_on(client, first["refresh_token"]), begin(client)
            third = go_on(client, other["refresh_token"], scope="me")
            assert second["refresh_token"] != first["refresh_token"], "It is the same token again."
            change = {"current_password": "secretalice", "new_password": NEW_PASSWORD}
            alice = begin(client, "alice")
            answer = change_password(client, alice["access_token"], **change)
            assert answer.status_code == 204, "No new password."
            assert "johndoe" in text_of(store), "The given store is empty."
        wrong = change | {"current_password": WRONG_PASSWORD}
        answer = change_password(client, first["access_token"], **wrong)
        assert answer.status_code != 204, "A wrong current password is taken for a new one."
        log_in(client, "johndoe", WRONG_PASSWORD)
        renew(client, bad)
        kept = Text(text_of(store) + repr(vars(module)))
        refresh = {"grant_type": "refresh_token", "refresh_token": third["refresh_token"]}
        login = {"username": "alice", "password": NEW_PASSWORD}
        again = {"current_password": NEW_PASSWORD, "new_password": f"{NEW_PASSWORD}!"}
        put_back, tape = snapshot(store), Tape()
        with drawing_from(tape.draw):  # the same for both, so both draw the same token
            lost = tape.play(lambda: go_on(client, third["refresh_token"], scope="me"))
            put_back()
            with on_stores(candidate, users.store, Failing(store, "add", after=True)):
                tape.play(lambda: client.status_of("POST", "/token", data=refresh))
        for method, url, sent in (
            ("get", "/token", {"data": login}),
            ("consume", "/token", {"data": refresh}),
            ("get", "/token", {"data": refresh | {"scope": "me"}}),
            ("change", "/users/me/password", password_form(token_for(users, "alice"), **again)),
        ):
            put_back()
            with on_stores(candidate, Failing(users.store, method), Failing(store, method)):
                client.status_of("POST", url, **sent)  # what is raised, a server logs
        put_back()
        renew(client, first["refresh_token"])
        client.post("/revoke", data={"token": other["refresh_token"]})
        renew(client, alice["refresh_token"])  # from before the new password
    for which, account in {"old": before, "new": users.get("alice")}.items():
        trap.refuse({f"{which} stored hash": account.hashed_password})
        trap.refuse({f"{which} security stamp": account.security_stamp})
    trap.refuse({"a bad token": bad, "wrong password": WRONG_PASSWORD, "password": NEW_PASSWORD})
    trap.refuse({"refresh token of a failed request": lost["refresh_token"]})
    for tokens in (first, second, other, third):
        token = tokens["refresh_token"]
        trap.refuse({"refresh token": token, "access token": tokens["access_token"]})
        assert not (how := kept.find(token)), f"The store or the module holds a token, {how}."
        claims = json.dumps(take_apart(tokens["access_token"])[1])
        assert not (how := holds(claims, token)), (
            f"The access token holds the refresh token, {how}."
        )
    for name in ("md5", "sha1"):
        digest = hashlib.new(name, token.encode()).hexdigest()
        assert not kept.find(digest), f"{name} is no digest to rely on (ASVS 11.4.1)."
    newest = ["one", "two", "three", "four", begin(client)["refresh_token"]]

    def bad_and_good(secret: str) -> None:
        refuse("An unknown token", renew(client, f"{bad} {secret}"))
        newest[-1] = go_on(client, newest[-1])["refresh_token"]

    grown = remembered(module, bad_and_good, newest)
    assert not grown, f"In refresh.py {grown}."
    digest = a_live_digest_in(store)
    assert len(digest) >= 22, f"A digest of {len(digest)} characters fits too many tokens."
    refuse("What the store holds of a live token, sent as one", renew(client, digest))
    counted = drawn_for_a_token(client, store)
    assert counted >= 32, f"A refresh token depends on {counted} random bytes, not on 32."


def drawn_for_a_token(client: Client, store: Any) -> int:
    """Return on how many bytes of true randomness the next refresh token depends."""
    with at(NOON, stands=True):
        token = begin(client)["refresh_token"]
    put_back = snapshot(store)

    def spend_once_more() -> str:
        put_back()
        return str(go_on(client, token)["refresh_token"])

    return bytes_that_count(spend_once_more, every=8)


@attack
@todo(2, "spend_refresh_token")
@asvs("7.3.2", "10.4.8")
def test_refreshing_does_not_prolong_the_session(
    client: Client, settings: Any, later: Later
) -> None:
    """A session ends REFRESH_TOKEN_EXPIRE_DAYS after the login, however often it was refreshed.

    Otherwise one stolen token, refreshed each day, is a key for ever (ASVS 7.3.2).
    """
    end = timedelta(days=settings.refresh_token_expire_days)
    minute, hour, day = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
    with twin():
        unused = {name: begin(client, name)["refresh_token"] for name in PEOPLE}
        fresh = begin(client)
        token, made = fresh["refresh_token"], [(0 * day, fresh["access_token"])]
        for span, form in zip(
            (end / 2, end - day, end - hour, end - minute), SHAPES * 2, strict=True
        ):
            with later(span):
                tokens = go_on(client, token, **form)
                token = tokens["refresh_token"]
                made.append((span, tokens["access_token"]))
                if span in (end / 2, end - minute):
                    status = call(client, tokens["access_token"])
                    assert status == 200, f"The new token opens nothing: {status}."
        second_begins = datetime.now(UTC).replace(microsecond=0) + 2 * day
        with at(second_begins, stands=True):
            second = begin(client)["refresh_token"]
    for span, access_token in made[:2]:
        with later(span + hour):
            status = call(client, access_token)
            assert status == 401, f"An hour later, an access token opens routes: {status}."
    after = f"{settings.refresh_token_expire_days} days after the login"
    with later(end + minute), zone(FAR_WEST):
        refuse(f"{after}, refreshed", renew(client, token))
        for (name, never_used), form in zip(unused.items(), cycle(SHAPES), strict=False):
            refuse(f"{after}, {name}'s token, never used", renew(client, never_used, **form))
    with at(second_begins + end - hour):
        answer = renew(client, second)
        assert answer.status_code == 200, "A session two days younger ended with the first one."
    with at(second_begins + end, stands=True):
        refuse(f"{after}, to the second", renew(client, answer.json()["refresh_token"]))


@attack
@todo(4, "replace_password")
@asvs("7.4.2", "7.4.3")
def test_who_is_out_stays_out(client: Client, users: Any) -> None:
    """Erin changes her password because somebody else is in: every token from before must die.

    So must those of bob, who was dismissed, and of the one whose name another takes (ASVS 7.4.2,
    7.4.3).
    """
    with twin():
        alice = begin(client, "alice")
        for role in ("user", "admin", "superadmin"):
            like = users.get("johndoe").model_copy(update={"role": role})
            users.add(like.model_copy(update={"username": f"erin.{role}"}))
    shapes = cycle(SHAPES)
    for name in ("erin.user", "erin.admin", "erin.superadmin"):
        device, word = begin(client, name), "secret"
        for change in ("a new", "the same")[: 2 if name == "erin.user" else 1]:
            with twin():
                tokens = begin(client, name, word)
                if change == "the same":
                    tokens = go_on(client, tokens["refresh_token"])
                body = {"current_password": word, "new_password": NEW_PASSWORD}
                answer = change_password(client, tokens["access_token"], **body)
                assert answer.status_code == 204, f"Of {change} password: {answer.status_code}."
            is_out(client, tokens, f"After {change} password, {name}'s")
            word = NEW_PASSWORD
        is_out(client, device, f"After a new password, on another device, {name}'s", scope="me")
        with twin():
            tokens = begin(client, name, word)
        users.change(name, disabled=True)
        is_out(client, tokens, f"Disabled since, {name}'s", (400, 401, 403), **next(shapes))
    users.change(name, disabled=False)
    is_out(client, tokens, f"Disabled and enabled again, {name}'s")
    body = {"current_password": "secret", "new_password": WRONG_PASSWORD}
    answer = change_password(client, token_for(users, name), **body)
    assert answer.status_code >= 400, "The password from before is good for a change."
    users.add(like.model_copy(update={"username": "erin"}))
    sessions = [(begin(client, "erin"), form) for form in SHAPES * 2]
    users.remove("erin")
    for tokens, form in sessions[:2]:
        is_out(client, tokens, "Of somebody who is gone:", **form)
    users.add(like.model_copy(update={"username": "erin", "security_stamp": "drawn anew"}))
    for tokens, form in sessions[2:]:
        is_out(client, tokens, "Somebody else has the name now:", **form)
    assert call(client, alice["access_token"]) == 200, "Alice, who did nothing, is out too."
    assert renew(client, alice["refresh_token"]).status_code == 200, "Alice cannot refresh."


def is_out(
    client: Client, tokens: Any, who: str, wanted: tuple[int, ...] = (401,), **form: str
) -> None:
    """Assert that neither token of a pair is of any use."""
    refuse(f"{who} refresh token", renew(client, tokens["refresh_token"], **form))
    status = call(client, tokens["access_token"])
    assert status in wanted, f"{who} access token: {status}, not {wanted[0]}."


@attack
@todo(4, "replace_password")
@asvs("6.2.3", "7.5.1", "7.5.3")
def test_a_stolen_session_cannot_take_the_account(client: Client, users: Any, meter: Meter) -> None:
    """With a stolen token mallory sets a password of her own, and erin is out (CWE-620).

    So the route asks for the current one (ASVS 6.2.3), of everybody, as carefully as a login does.
    """
    new = {"new_password": NEW_PASSWORD}
    wrong = {"current_password": "wrong", **new}
    with twin(), reading() as reads:
        token = begin(client)["access_token"]
        refused = change_password(client, token, **wrong)
    assert refused.status_code >= 400, f"With a wrong current password: {refused.status_code}."
    before = users.everyone()
    for case, body in {
        "Without the current password": new,
        "With an empty one": {"current_password": "", **new},
        "With a wrong one": wrong,
        "With 100 characters": {"current_password": "a" * 100, **new},
        "With alice's": {"current_password": "secretalice", **new},
        **{
            name: {"current_password": HOSTILE_PASSWORDS[name], **new} for name in HOSTILE_PASSWORDS
        },
        "A new one that is short": {"current_password": "secret", "new_password": "short"},
        "A new one that is common": {"current_password": "secret", "new_password": "1q2w3e4r5t6y"},
        "A new one of 74 bytes": {"current_password": "secret", "new_password": "\u00e9" * 37},
    }.items():
        with meter.counting() as hashes:
            answer = change_password(client, token, **body)
        wanted = (422,) if "new one" in case[:9] else (400, 401, 403, 422, 413)
        assert answer.status_code in wanted, f"{case}: {answer.status_code}, not {wanted[0]}."
        assert not any(run.on_event_loop for run in hashes), "It hashed on the event loop."
        for value in body.values():
            assert len(value) < 6 or value not in answer.text, "The answer repeats a password."
    for name in PEOPLE:
        answer = change_password(client, token_for(users, name), **wrong)
        assert answer.status_code >= 400, f"{name} needs no current password."
    sent = password_form(token, **wrong)
    for what, door in side_doors(reads, Contract({"authorization"}, form=FIELDS), ["alice", "1"]):
        again = client.post("/users/me/password", **with_door(sent, door))
        assert not (how := differs(refused, again)), f"With {what} the refusal is another: {how}"
    assert users.everyone() == before, "A refused change changed an account."
    few, send = max(os.cpu_count() or 2, 4), password_form(token, current_password="secret", **new)
    held = meter.holding(few, NEW_PASSWORD)
    with meter.counting() as hashes, held as gate, past_the_entrance() as past:
        answers = client.together("POST", "/users/me/password", [send] * (few + 2), gate.watch)
    assert not past, "It hashes in the given threads past `run_hashing`, which bounds who waits."
    assert not any(run.on_event_loop for run in hashes), "It hashed on the event loop."
    with twin():
        changed = [answer for answer in answers if answer.status_code == 204]
        assert changed, f"The right password: {answers[0].status_code}, not 204."
        assert gate.held, "The meter saw no hash. It knows bcrypt, argon2, scrypt and PBKDF2."
    assert gate.held <= few, f"{gate.held} hashes at once on {os.cpu_count()} cores."
    assert len(changed) == 1, f"{len(changed)} changes at once were made with one old password."
    assert not (said := surplus_headers(changed[0])), said[0]


class Meanwhile(Before):
    """A store in which something happens right after the n-th look, if nothing forbids it."""

    def __init__(self, store: Any, deed: Callable[[Any], Any], look: int, hashes: list[Any]):
        super().__init__(store)
        self._deed, self._look, self._hashes = deed, look, hashes
        self._before_it = -1  # hashes before the transaction that goes on
        self.done = self.has_hashed = False

    async def _before(self, name: str, args: Any, kwargs: Any) -> None:
        if name == "transaction":
            self._before_it = len(self._hashes)

    def _ended(self, name: str) -> None:
        if name == "transaction":
            self.has_hashed |= len(self._hashes) > self._before_it
            self._before_it = -1

    async def _after(self, name: str) -> None:
        if name == "get" and self._before_it < 0:
            self._look -= 1
            if self._look == 0:
                await self._deed(self._store)
                self.done = True


@attack
@todo(4, "replace_password")
def test_what_happens_meanwhile_counts(
    candidate: Any, client: Client, users: Any, refresh_store: Any, meter: Meter
) -> None:
    """Hashing takes a while. Mallory, who knows the old password, changes it a moment before erin
    does, and hers is stored over erin's (CWE-367).

    Or erin is dismissed in that moment, or somebody else gets her name.
    """
    from solutions.stores.users import MemoryUserStore

    person, alice = users.get("johndoe"), users.get("alice")

    async def change(store: Any) -> None:
        await store.change("johndoe", hashed_password=alice.hashed_password)

    async def disable(store: Any) -> None:
        await store.change("johndoe", disabled=True)

    async def disable_and_enable(store: Any) -> None:
        await store.change("johndoe", disabled=True)
        await store.change("johndoe", disabled=False)

    async def remove(store: Any) -> None:
        await store.remove("johndoe")

    async def take_the_name(store: Any) -> None:
        await store.remove("johndoe")
        await store.add(alice.model_copy(update={"username": "johndoe"}))

    deeds = {  # what happens, and whose hash is stored then
        "another change": (change, alice),
        "the end of the account": (remove, None),
        "a dismissal that is taken back": (disable_and_enable, person),
        "a dismissal": (disable, person),
        "another owner": (take_the_name, alice),
    }
    session = token_for(users, "johndoe")
    new = password_form(session, current_password="secret", new_password=NEW_PASSWORD)
    grant = {"grant_type": "refresh_token", "refresh_token": begin(client)["refresh_token"]}
    sent = {
        "login": {"data": {"username": "johndoe", "password": "secret"}},
        "refresh": {"data": grant},
        "refresh for less": {"data": grant | {"scope": "me"}},
    }
    put_back, most, names = snapshot(refresh_store.store), dict.fromkeys(sent, 2), cycle(sent)
    looks = 6  # at most; the first look is the one at the token
    for what, (deed, left) in deeds.items():
        for look in range(2, looks):
            with meter.counting() as hashes:
                store = Meanwhile(MemoryUserStore([person]), deed, look, hashes)
                with on_stores(candidate, store, refresh_store.store):
                    answer = client.post("/users/me/password", **new)
            assert not store.has_hashed, "It hashes while nobody else can write."
            if not store.done:
                with twin():
                    assert answer.status_code == 204, f"Without {what}: {answer.status_code}."
                looks = look
                break
            assert answer.status_code >= 400, f"{what} came first, and still it is a 204."
            stored = client.run(store.get("johndoe"))
            with_this = stored and stored.hashed_password
            assert with_this == (left and left.hashed_password), (
                f"{what} came first, and the new password was stored over it."
            )
        name = next(names)
        for look in range(1, most[name] + 1):
            put_back()
            store = Meanwhile(MemoryUserStore([person]), deed, look, [])
            with on_stores(candidate, store, refresh_store.store):
                answer = client.post("/token", **sent[name])
                if not store.done:
                    most[name] = look - 1
                elif answer.status_code == 200:
                    wanted = (400, 401, 403)
                    is_out(client, answer.json(), f"{what} came in the {name}: its", wanted)


@attack
@todo(3, "refresh")
@asvs("10.4.11")
def test_nobody_is_granted_more_than_they_have(client: Client, users: Any) -> None:
    """Asking for the scope `admin` must not be enough to get it (CWE-269, ASVS 10.4.11).

    A refresh may ask for less, for this access token. More than at the login it never gets.
    """
    with twin():
        narrow = begin(client, scope="me")
        assert narrow["scope"] == "me", f"Asked for `me`, was granted {narrow['scope']!r}."
        narrow = go_on(client, narrow["refresh_token"])
        less = go_on(client, begin(client)["refresh_token"], scope="items")
        assert less["scope"] == "items", f"Asked for `items`, was granted {less['scope']!r}."
    assert narrow["scope"] == "me", f"After a refresh `me` became {narrow['scope']!r}."
    wide = go_on(client, less["refresh_token"])
    assert set(wide["scope"].split()) == {"me", "items"}, (
        f"A refresh asked for less, and the next one, which asks for none, gets {wide['scope']!r}."
    )
    _grants_only({"me"}, log_in(client, "johndoe", "secret", scope="me admin me:admin items.all"))
    _grants_only({"me"}, renew(client, narrow["refresh_token"], scope="me items admin"))
    for scope in ("me\titems", "me,items", "ME"):  # only a space separates scopes
        _grants_only(set(), log_in(client, "johndoe", "secret", scope=scope))
    for scope, tokens in {"admin": wide, "me\titems": begin(client)}.items():
        _grants_only(set(), renew(client, tokens["refresh_token"], scope=scope))
    for name, password in PEOPLE.items():  # administrators are granted no more than others
        _grants_only(set(), log_in(client, name, password, scope="admin superadmin"))
    early = log_in(client, "alice", "secretalice", scope="me admin")
    users.change("alice", scopes=["me", "items", "items:delete", "items.read", "me/all", "xme"])
    once = begin(client, "alice")
    users.change("alice", scopes=["me", "items", "admin"])
    again = renew(client, once["refresh_token"])
    _grants_only({"me", "items"}, again)
    if early.status_code == 200:
        _grants_only({"me"}, renew(client, early.json()["refresh_token"]))
    users.change("alice", scopes=[])
    _grants_only(set(), renew(client, again.json()["refresh_token"]))
    nothing = log_in(client, "alice", "secretalice")
    _grants_only(set(), nothing)
    users.change("alice", scopes=["me", "items"])
    if nothing.status_code == 200:
        _grants_only(set(), renew(client, nothing.json()["refresh_token"]))


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
@todo(4, "replace_password")
def test_what_was_not_written_has_not_happened(
    candidate: Any, client: Client, users: Any, refresh_store: Any
) -> None:
    """The store is down for a moment. Erin's logout is answered with 200, and the thief stays in.

    What could not be written is an error for the caller, and nothing of it is left (ASVS 16.5.3).
    """

    with twin():
        old = begin(client)["refresh_token"]
        live = go_on(client, old)["refresh_token"]
    new = {"current_password": "secret", "new_password": NEW_PASSWORD}
    change = password_form(token_for(users, "johndoe"), **new)
    grant = {"grant_type": "refresh_token"}
    requests: dict[str, tuple[str, dict[str, Any]]] = {
        "A login": ("/token", {"data": {"username": "johndoe", "password": "secret"}}),
        "A refresh": ("/token", {"data": grant | {"refresh_token": live}}),
        "A token that came back": ("/token", {"data": grant | {"refresh_token": old}}),
        "A logout": ("/revoke", {"data": {"token": live}}),
        "A new password": ("/users/me/password", change),
    }
    person, put_back = users.get("johndoe"), snapshot(refresh_store.store)

    def as_before() -> None:
        users.remove("johndoe")
        users.add(person)
        put_back()

    for what, (url, sent) in requests.items():
        as_before()
        watched = [Watched(users.store), Watched(refresh_store.store)]
        with twin(), on_stores(candidate, *watched):
            client.post(url, **sent)
        for place, store in enumerate(watched):
            for method in dict.fromkeys(called.name for called in store.calls):
                as_before()
                stores = [users.store, refresh_store.store]
                stores[place] = failing = Failing(stores[place], method)
                with on_stores(candidate, *stores):
                    status = client.status_of("POST", url, **sent)
                how = f"{what}: the store's `{method}` failed, and"
                assert not failing.failed or status >= 500, f"{how} the answer was {status}."
                after = users.get("johndoe")
                if after.hashed_password != person.hashed_password:
                    new_stamp = after.security_stamp != person.security_stamp
                    assert new_stamp, f"{how} the sessions outlive the password."
    for what in ("A token that came back", "A logout"):
        url, sent = requests[what]
        as_before()
        with on_stores(candidate, users.store, Late(refresh_store.store)):
            status = client.status_of("POST", url, **sent)
        if status < 500:
            refuse(f"{what}, and the store was slow: the newest token", renew(client, live))


@attack
@todo(2, "spend_refresh_token")
@asvs("6.3.8")
def test_the_earlier_defences_stay_on(client: Client, meter: Meter) -> None:
    """What lessons 02 and 03 refused, mallory tries again here: forged tokens, odd passwords,
    names that do not exist, a storm of logins (ASVS 6.3.8, 16.5.3)."""
    with twin():
        good = go_on(client, begin(client)["refresh_token"])["access_token"]
        log_in(client, "nobody", "warm-up")
    forged, shapes = refuse_hostile_tokens(client, "/users/me", good), cycle(SHAPES)
    for name in ("alg none", "edited claims", "another key", "no exp", "no type", "refresh token"):
        refuse(f"As a refresh token: {name}", renew(client, forged[name], **next(shapes)))
    refuse_hostile_passwords(client)
    answers, work = {}, {}
    for username in ("johndoe", "nobody", "bob"):
        with meter.counting() as hashes:
            answers[username] = log_in(client, username, "secretbob")
        refuse(f"{username} with bob's password, who is disabled", answers[username])
        assert not any(run.on_event_loop for run in hashes), "It hashed on the event loop."
        work[username] = sorted(hashes)
        how = differs(answers["johndoe"], answers[username])
        assert not how, f"johndoe and {username} are answered differently: {how}"
    assert work["johndoe"] == work["nobody"] == work["bob"], (
        "Known, unknown and disabled names cost different work."
    )
    few = max(os.cpu_count() or 2, 4)
    send = {"data": {"username": "johndoe", "password": "wrong"}}
    with meter.holding(limit=few) as gate:
        client.together("POST", "/token", [send] * (few + 2), gate.watch)
    assert gate.held <= few, f"{gate.held} hashes at once on {os.cpu_count()} cores."
    right = {"data": {"username": "johndoe", "password": "secret"}}
    new = password_form(good, current_password="secret", new_password=NEW_PASSWORD)
    for url, sent in (("/token", right), ("/users/me/password", new)):
        with full_queue():
            status = client.status_of("POST", url, **sent)
        # Who hashes elsewhere has room.
        assert status in (200, 204, 503), f"{url} with a full queue: {status}, as if it were wrong."
