"""Lesson 11: keys that rotate, and other services. Four tests of what you build, then mallory.

For maintainers
Goal: access tokens that services check with public keys alone, by keys that come and go without
anybody being thrown out, or let in.
Teach: what binds a token to a key and a key to an algorithm, the three states of a key and why each
of them has its length, a key set as something that fails, lies and is asked too often, `typ`.
Do not teach: claims and their checks (02, beyond a reminder), certificates, a vault or an HSM,
encrypted tokens, OAuth metadata, refresh tokens (05), limits (10).
"""

import asyncio
import gc
import itertools
import json
import logging
import os
import shutil
import sys
import time
import tracemalloc
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from lessons.harness.answers import surplus_headers
from lessons.harness.brought_keys import _certificate, _keys
from lessons.harness.client import Client
from lessons.harness.clock import FAR_EAST, FAR_WEST, SUMMER, at, zone
from lessons.harness.failing import an_hour_of_the_loop
from lessons.harness.hostile import TOO_LATE, sign
from lessons.harness.key_server import (
    MINUTE,
    Clock,
    KeyFolder,
    KeyServer,
    Pair,
    claims_for,
    disguises,
    draw,
    encoded,
    key_servers,
    odd_entries,
    thumbprint,
)
from lessons.harness.memory import remembered
from lessons.harness.near_misses import flips
from lessons.harness.outside import outside
from lessons.harness.people import bearer, log_in
from lessons.harness.provider import Reply
from lessons.harness.reads import reading
from lessons.harness.routes import served
from lessons.harness.side_doors import Contract, side_doors, with_door
from lessons.harness.trap import listening
from lessons.harness.verdicts import BrokenCandidate, Unwritten, check_type, only_raises, twin

asvs = pytest.mark.asvs
attack = pytest.mark.attack
todo = pytest.mark.todo

SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)
KEY_SET = "/.well-known/jwks.json"
ISSUER, AUDIENCE = "https://login.partner.example", "reports"
ADDRESS = "https://login.partner.example/keys.json"
MALLORY = "https://mallory.example/keys.json"
WARM_UP, NAMES = 1_100, 700  # unknown names
LEAD = timedelta(minutes=6)  # of the command that rotates
KINDS = ("ES256", "EdDSA", "RS256")
SUMMER_ENDS = datetime(2037, 10, 25, 1, tzinfo=UTC)  # on a clock on a wall in SUMMER
CALLERS = 130  # at once
BAD = 120  # tokens in a row
LIFETIMES = (1, 61, 1440)  # minutes: beside an hour, and the most that is allowed
PATHS = (
    *("../../../../dev/null", "/dev/null", "/etc/passwd", "file:///etc/passwd", "../dev.env"),
    *("x' UNION SELECT 'm", "key|id", "%2e%2e/", "http://mallory.example/keys.json"),
)
CONTRACT = Contract(headers={"authorization"})
ROUTES = {
    *(("GET", KEY_SET), ("POST", "/register"), ("POST", "/token"), ("POST", "/revoke")),
    *(("GET", "/users/me"), ("POST", "/users/me/password")),
}


@pytest.fixture(autouse=True)
def folder() -> Iterator[KeyFolder]:
    """The folder of this app's keys. It is empty."""
    path = Path(os.environ["SIGNING_KEYS_DIR"])
    yield KeyFolder(path)
    shutil.rmtree(path)


@pytest.fixture
def key(folder: KeyFolder) -> Pair:
    """The key with which this app has signed since yesterday."""
    return folder.add(datetime.now(UTC) - 24 * HOUR)


class Service:
    """Another service: it gets the issuer's tokens, and has the address of its keys."""

    def __init__(self, candidate: Any, address: str = ADDRESS, seconds: float = 10_000) -> None:
        self.clock = Clock()
        self.clock.now = seconds
        self._candidate = candidate
        self.keys = candidate.FetchedKeys(address, self.clock)

    def read(self, token: str, issuer: str = ISSUER, audience: str = AUDIENCE) -> Any:
        return self._candidate.verify_token(token, self.keys, issuer, audience)

    def accepts(self, token: str, what: str, **names: str) -> Any:
        """Assert that a token is good."""
        from solutions.tokens import InvalidToken

        try:
            with only_raises("verify_token", InvalidToken):
                claims = self.read(token, **names)
        except InvalidToken:
            raise AssertionError(f"{what}: verify_token raises InvalidToken.") from None
        check_type("verify_token", claims, dict)
        return claims

    def refuses(self, token: str, what: str, **names: str) -> None:
        """Assert that a token is not believed."""
        from solutions.tokens import InvalidToken

        try:
            with only_raises("verify_token", InvalidToken):
                self.read(token, **names)
        except InvalidToken as refused:
            told = str(refused)
            assert told == str(InvalidToken()), f"{what}: InvalidToken tells why: {told}."
            return
        raise AssertionError(f"{what}: verify_token believes it.")


def good(pair: Pair, header: Mapping[str, Any] | None = None, **changes: Any) -> str:
    """Return a token for the other service."""
    return pair.sign(claims_for(ISSUER, AUDIENCE, **changes), header)


@pytest.fixture
def pairs() -> dict[str, Pair]:
    """The issuer's keys, one of each kind."""
    return {kind: draw(kind) for kind in KINDS}


@pytest.fixture
def server(pairs: dict[str, Pair]) -> KeyServer:
    """The issuer, which publishes its keys."""
    return KeyServer(ADDRESS, *pairs.values())


@pytest.fixture
def internet(server: KeyServer) -> Iterator[Any]:
    """All that can be reached: the issuer, and mallory."""
    with key_servers(server, KeyServer(MALLORY, draw())) as there:
        yield there


@pytest.fixture
def service(candidate: Any, internet: Any) -> Service:
    """Another service."""
    return Service(candidate)


def token_of(client: Client, who: str = "alice", password: str = "secretalice") -> str:
    """Log in, and return the access token."""
    answer = log_in(client, who, password)
    assert answer.status_code == 200, f"POST /token: {answer.status_code}, not 200."
    return str(answer.json()["access_token"])


def header_of(token: str) -> dict[str, Any]:
    """Return what a token says of itself."""
    return dict(json.loads(_decoded(token.partition(".")[0])))


def claims_of(token: str) -> dict[str, Any]:
    return dict(json.loads(_decoded(token.split(".")[1])))


def _decoded(text: str) -> bytes:
    import base64

    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def me(client: Client, token: str) -> int:
    """Return the status that a token gets."""
    return int(client.get("/users/me", headers=bearer(token)).status_code)


def lets_in(client: Client, token: str, what: str = "A good token") -> None:
    status = me(client, token)
    assert status == 200, f"{what}: GET /users/me is {status}, not 200."


def keeps_out(client: Client, token: str, what: str) -> None:
    status = me(client, token)
    assert status == 401, f"{what}: GET /users/me is {status}, not 401."


def key_set(client: Client) -> list[dict[str, Any]]:
    answer = client.get(KEY_SET)
    assert answer.status_code == 200, f"GET {KEY_SET}: {answer.status_code}, not 200."
    keys = answer.json().get("keys")
    assert isinstance(keys, list), f'GET {KEY_SET} must answer {{"keys": [...]}}.'
    return keys


def kids(client: Client) -> set[str]:
    return {each.get("kid") for each in key_set(client)}


def own_claims(client: Client, **changes: Any) -> dict[str, Any]:
    """Return the claims of a token that this app made for alice, changed."""
    return claims_of(token_of(client)) | {"exp": int(time.time()) + 36_000} | changes


# --- build ----------------------------------------------------------------------------------


@todo(1, "sign_token")
@asvs("9.2.4")
def test_a_token_names_its_key(client: Client, key: Pair, settings: Any) -> None:
    """POST /token answers with a token by ES256, with `kid` and `typ`, that opens /users/me."""
    token = token_of(client)
    assert token.count(".") == 2, f"{token:.30}... is no token in three parts."
    header, claims = header_of(token), claims_of(token)
    assert header.get("alg") == "ES256", f"`alg` is {header.get('alg')}, not ES256."
    assert header.get("typ") == "at+jwt", f"`typ` is {header.get('typ')}, not at+jwt."
    assert header.get("kid") == key.kid, f"`kid` is {header.get('kid')}, not {key.kid}."
    assert claims.get("sub") == "alice", f"`sub` is {claims.get('sub')}, not alice."
    assert claims.get("iss") == settings.jwt_issuer, "`iss` is not JWT_ISSUER."
    assert claims.get("aud") == settings.jwt_audience, "`aud` is not JWT_AUDIENCE."
    life = claims["exp"] - claims["iat"]
    assert life == settings.access_token_expire_minutes * 60, f"It lives for {life} seconds."
    assert claims.get("jti"), "The token has no `jti`."
    assert claims["jti"] != claims_of(token_of(client))["jti"], "Two tokens have one `jti`."
    lets_in(client, token)
    refresh = log_in(client, "alice", "secretalice").json()["refresh_token"]
    form = {"grant_type": "refresh_token", "refresh_token": refresh}
    answer = client.post("/token", data=form)
    assert answer.status_code == 200, f"A refresh: {answer.status_code}, not 200."
    lets_in(client, answer.json()["access_token"], "A token after a refresh")


@todo(2, "living_keys")
def test_the_key_set_has_next_and_current(client: Client, folder: KeyFolder, key: Pair) -> None:
    """GET /.well-known/jwks.json shows both, as RFC 7517 has it, to be kept for minutes."""
    following = folder.add(datetime.now(UTC) + LEAD)
    answer = client.get(KEY_SET)
    found = {each.get("kid"): each for each in key_set(client)}
    assert found.keys() == {key.kid, following.kid}, f"It has {len(found)} keys, not 2."
    for kid, each in found.items():
        for name, value in {"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256"}.items():
            assert each.get(name) == value, f"`{name}` is {each.get(name)}, not {value}."
        assert thumbprint(each) == kid, f"`kid` is {kid}, not the thumbprint {thumbprint(each)}."
    assert found[key.kid]["x"] == key.jwk["x"], "The x coordinate is not the key's."
    kept = answer.headers.get("cache-control", "")
    assert "max-age" in kept and "no-store" not in kept, f"Cache-Control is {kept or 'missing'}."


@todo(3, "check_token")
def test_another_service_reads_a_token(service: Service, pairs: dict[str, Pair]) -> None:
    """verify_token returns the claims, by keys of three kinds, however `typ` is written."""
    for kind, pair in pairs.items():
        claims = claims_for(ISSUER, AUDIENCE, scope="me", sub="ERIN \u00c9 <7>")
        got = service.accepts(pair.sign(claims), f"A token by {kind}")
        assert got == claims, f"verify_token must return the claims, not {got!r:.60}."
    for typ in ("AT+JWT", "application/at+jwt", "Application/At+Jwt"):
        service.accepts(good(pairs["ES256"], {"typ": typ}), f"typ {typ}")
    service.accepts(
        good(pairs["ES256"], aud=["billing", AUDIENCE]), "Two audiences, one of them us"
    )


@todo(4, "find")
def test_keys_come_and_go(client: Client, folder: KeyFolder, key: Pair, candidate: Any) -> None:
    """After a rotation the new key signs, the old one's tokens go on, and other services follow."""
    now = datetime.now(UTC)
    own = KeyServer(ADDRESS, key)
    with key_servers(own):
        other = Service(candidate)
        names = {"issuer": os.environ["JWT_ISSUER"], "audience": os.environ["JWT_AUDIENCE"]}
        first = token_of(client)
        other.accepts(first, "A token before the rotation", **names)
        new = folder.add(now + LEAD)
        with at(now + MINUTE):
            own.keys = key_set(client)
        with at(now + LEAD + MINUTE):
            other.clock.on(7 * 60)
            second = token_of(client)
            assert header_of(second)["kid"] == new.kid, "After its time the new key does not sign."
            for token, what in ((first, "before"), (second, "after")):
                lets_in(client, token, f"A token from {what} the rotation")
                other.accepts(token, f"A token from {what} the rotation", **names)


# --- attack ---------------------------------------------------------------------------------


@attack
@todo(1, "sign_token")
def test_a_new_key_waits_until_it_is_known(
    candidate: Any, client: Client, folder: KeyFolder, key: Pair, settings: Any
) -> None:
    """It signs at once, and others, who keep the old key set for minutes, refuse good tokens.

    It is published from the beginning, and signs from its moment on, whatever the server's zone is.
    """
    from solutions.support.signing_keys import read_keys

    now = datetime.now(UTC).replace(microsecond=0)
    with twin():
        assert header_of(token_of(client))["kid"] == key.kid, "The current key does not sign."
    new, later = folder.add(now + LEAD), folder.add(now + 2 * HOUR)
    folder.add(now - 48 * HOUR)
    moments = (
        (now + MINUTE, key, "A minute after a new key came, another one signs"),
        (now + LEAD - 2 * SECOND, key, "Two seconds before the next key's time it signs"),
        (now + LEAD + SECOND, new, "A second after its time a key does not sign"),
        (now + 2 * HOUR - 2 * SECOND, new, "The key after the next one signs too early"),
        (now + 2 * HOUR + SECOND, later, "The key after the next one does not sign"),
    )
    for place, some in (("UTC0", moments), (FAR_WEST, moments[1:3]), (FAR_EAST, moments[1:3])):
        with zone(place):
            for moment, signer, what in some:
                with at(moment):
                    token = token_of(client)
                    signed_by = header_of(token)["kid"]
                    assert signed_by == signer.kid, f"{what}, in the zone {place}."
                    lets_in(client, token, "A token of that moment")
                    if moment < now + LEAD:
                        missing = {new.kid, later.kid} - kids(client)
                        assert not missing, "A key that waits for its time is not published."
    last = folder.add(SUMMER_ENDS - 10 * MINUTE)
    with zone(SUMMER), at(SUMMER_ENDS + 10 * MINUTE):
        signed_by = header_of(token_of(client))["kid"]
    assert signed_by == last.kid, "A key began, the clocks were put back, and another one signs."
    if has(candidate, "sign_token"):
        _any_claims(candidate, read_keys(folder.path, in_production=False), key)


def has(candidate: Any, name: str) -> bool:
    """Tell whether a solution has a part of this name. One whose app does all itself need not."""
    return name in vars(candidate._candidate.load())


def _any_claims(candidate: Any, keys: list[Any], key: Pair) -> None:
    """Sign whatever the app says, with the key that signs now: the claims are not sign_token's."""
    second = int(time.time())
    for about in (
        {"iat": second - 90_000},
        {"iat": second + 7_300},
        {"exp": second + 7_300},
        {"sub": "4111111111111111"},  # a name that is possible, whatever it looks like
        {"sub": "123-45-6789"},
        {"tenant": "shop", "amr": ["pwd"]},
    ):
        given = {"sub": "alice", **about}
        with only_raises("sign_token"):
            token = candidate.sign_token(given, keys)
        assert claims_of(token) == given, f"Of the claims {given} a token has {claims_of(token)}."
        signed_by = header_of(token)["kid"]
        assert signed_by == key.kid, f"For a token with {about} another key signs."


@attack
@todo(2, "living_keys")
def test_a_retired_key_dies(
    candidate: Any,
    configure: Callable[..., None],
    client: Client,
    folder: KeyFolder,
    key: Pair,
    settings: Any,
) -> None:
    """A stolen key of last year still makes tokens; or the last rotation threw all out (CWE-613).

    It counts until the last token that it signed is over (ASVS 13.3.4), and not a minute more.
    """
    from solutions.support.signing_keys import read_keys

    now = datetime.now(UTC).replace(microsecond=0)
    life = timedelta(minutes=settings.access_token_expire_minutes)
    ancient = folder.add(now - 30 * 24 * HOUR)
    switch = now + LEAD
    new, second = folder.add(switch), folder.add(switch + MINUTE)
    latest = folder.add(switch + 3 * HOUR)
    with twin():
        claims = own_claims(client, exp=int(time.time()) + 864_000)
        forged = key.sign(claims)  # by whoever has stolen it: it would live for days
        lets_in(client, forged, "While its key is current, a token")
    keeps_out(client, ancient.sign(claims), "A token of a key that retired yesterday")
    assert ancient.kid not in kids(client), "A key that retired yesterday is still published."
    with at(switch - 3 * SECOND):
        last = token_of(client)
        assert header_of(last)["kid"] == key.kid, "Before its time the next key signs."
        if has(candidate, "sign_token"):  # for longer than others: its key lives as long as always
            ring = read_keys(folder.path, in_production=False)
            candidate.sign_token({"sub": "alice", "exp": int(time.time()) + 864_000}, ring)
    for fraction in (0, 0.5):
        with at(switch + fraction * SECOND, stands=True):
            shown = [each.get("kid") for each in key_set(client)]
        assert len(shown) == len({*shown}), "In the second in which a key begins it is shown twice."
    if has(candidate, "living_keys"):
        _a_list_is_asked_about_anew(candidate, folder, key, switch, life)
    for place in ("UTC0", FAR_WEST, FAR_EAST):
        with zone(place), at(switch + life - 5 * SECOND):
            lets_in(client, last, "The last token of a retired key, before its end,")
            assert key.kid in kids(client), "A retired key whose tokens live is not published."
        with zone(place), at(switch + life + 65 * SECOND):
            keeps_out(client, forged, "A token of a retired key whose tokens should all be over")
            assert key.kid not in kids(client), "A key that is over is still published."
    with at(switch + life - 5 * SECOND):
        lets_in(client, forged, "Another one of it")
        lets_in(client, new.sign(claims), "A token of a key that has retired a minute later")
    with at(switch + life + 65 * SECOND), twin():
        lets_in(client, second.sign(claims), "A token of the current key")
    with at(switch + 3 * HOUR + life + 65 * SECOND):
        keeps_out(client, second.sign(claims), "A token of a key that retired after it")
        keeps_out(client, forged, "A token of a key that retired two keys ago")
        lets_in(client, latest.sign(claims), "A token of the current key")
    keeps_out(client, ancient.sign(claims), "After that, a token of a key that retired yesterday")
    switch = SUMMER_ENDS - 10 * MINUTE
    retired, _ = folder.add(switch - HOUR), folder.add(switch)
    with zone(SUMMER), at(switch + life + 65 * SECOND):
        shown = retired.kid in kids(client)
    assert not shown, "The clocks were put back, and a key that is over is published."
    folder.clear()
    retired, _ = folder.add(now - 72 * HOUR), folder.add(now - SECOND)
    for minutes in LIFETIMES:
        configure(ACCESS_TOKEN_EXPIRE_MINUTES=str(minutes))
        app = client.beside(candidate.app)
        when = f"a token lives for {minutes} minutes"
        for seconds, lives in ((-5, True), (65, False)):
            with at(now + minutes * MINUTE + seconds * SECOND):
                shown = retired.kid in kids(app)
            assert shown or not lives, f"Where {when}, a key dies before its last token."
            assert lives or not shown, f"Where {when}, a key that is over is published."
        app.close()


def _a_list_is_asked_about_anew(
    candidate: Any, folder: KeyFolder, key: Pair, switch: datetime, life: timedelta
) -> None:
    """Ask about one list at two moments, and about another one: what was said before is over."""
    from solutions.support.signing_keys import read_keys

    ring = read_keys(folder.path, in_production=False)
    for late, lives in ((-5, True), (65, False)):
        with at(switch + life + late * SECOND):
            is_there = key.kid in [each.kid for each in candidate.living_keys(ring)]
        assert is_there == lives, "Asked again about the same list, a key that is over is alive."
    ring = [each for each in ring if each.signs_from < switch]  # the new ones were withdrawn
    with at(switch + life + 65 * SECOND):
        is_there = key.kid in [each.kid for each in candidate.living_keys(ring)]
    assert is_there, "The keys after it are gone, the key signs, and it counts as over."


@attack
@todo(2, "living_keys")
def test_the_key_set_keeps_the_secrets(
    client: Client,
    candidate: Any,
    folder: KeyFolder,
    key: Pair,
    service: Service,
    pairs: dict[str, Pair],
    server: KeyServer,
) -> None:
    """The key set shows the private part, or a log does: mallory signs for herself (CWE-522).

    Nothing but the public part is shown, and nothing of the keys or their folder is written.
    """
    numbers = key.private.private_numbers()
    secret = encoded(numbers.private_value.to_bytes(32, "big"))
    with twin():
        keys = key_set(client)
        assert key.kid in [each.get("kid") for each in keys], "The key set lacks the key."
    for each in keys:
        private = {"d", "p", "q", "dp", "dq", "qi", "k", "oth"} & set(each)
        assert not private, f"The key set shows `{private.pop()}`, a private part."
        odd = set(each) - {"kty", "crv", "x", "y", "kid", "use", "alg", "key_ops"}
        assert not odd, f"What is `{odd.pop()}` in the key set?"
    with listening() as trap:
        token = token_of(client)
        answer = client.get(KEY_SET)
        for bad in (
            token[:-4] + "AAAA",
            key.sign({}, {"kid": "unknown"}),
            key.sign({}, {"alg": "none"}),
            key.sign({}, {"alg": "x\n2026-11-27 INFO FORGED"}),
            key.sign({}, {"typ": "x\n2026-11-27 INFO FORGED"}),
        ):
            with _whatever_comes():
                me(client, bad)
        sent = _tokens_of_each_kind(client, key, claims_of(token), service, pairs["ES256"])
        server.instead = Reply(500, body=json.dumps({"keys": [dict(pairs["EdDSA"].jwk)]}).encode())
        service.clock.on(301)
        with _whatever_comes():
            service.read(good(pairs["ES256"]))
    odd = {*header_of(token)} - {"alg", "typ", "kid"}
    assert not odd, f"What is `{odd.pop()}` in the header of a token?"
    shown = [answer.text, str(answer.headers), json.dumps([header_of(token), claims_of(token)])]
    assert not any(secret in text for text in shown), "An answer or a token holds the private key."
    secrets = {"private key": secret, "JWT_SECRET": os.environ["JWT_SECRET"], "token": token}
    trap.refuse(secrets)
    for what, each in sent.items():
        _, body, signature = each.split(".")
        trap.refuse({f"token {what}": each, f"claims, in base64, of a token {what}": body})
        trap.refuse({f"signature of a token {what}": signature})
    said = "\n".join(text for _, text in trap.pieces)
    for what in (os.environ["SIGNING_KEYS_DIR"], "PRIVATE KEY", "FORGED"):
        assert what not in said, f"A log tells {what}."
    with reading() as reads:
        client.get(KEY_SET)
    for what, door in side_doors(reads, CONTRACT, ["1", "true", "alice", "private"]):
        other = client.request("GET", KEY_SET, **with_door({}, door))
        assert other.text == answer.text, f"GET {KEY_SET} with {what} answers something else."
    surplus = surplus_headers(answer, personal=False)
    assert not surplus, f"GET {KEY_SET}: {surplus[0]}"
    kept = answer.headers["cache-control"]
    seconds = int(kept.partition("max-age=")[2].partition(",")[0])
    assert 60 <= seconds <= 300, f"The key set may be kept for {seconds} seconds: {kept}."
    routes = set(served(candidate.app)) - ROUTES
    assert not routes, f"Nobody asked for {' '.join(sorted(routes)[0])}."


@contextmanager
def _whatever_comes() -> Iterator[None]:
    """Let a token be refused or believed, or break something. A TODO is still one."""
    try:
        yield
    except (Unwritten, BrokenCandidate):
        raise
    except Exception:
        pass


def _tokens_of_each_kind(
    client: Client, key: Pair, own: dict[str, Any], service: Service, pair: Pair
) -> dict[str, str]:
    """Show good tokens and bad ones, each of them bad in one thing, and return them by name.

    Whether they are believed is for others to say: here it counts what is written of them.
    """
    now, sent = int(time.time()), dict[str, str]()
    sent["that is good"] = good(pair)
    for what, changes in {
        "for another service": {"aud": "billing"},
        "of another issuer": {"iss": "https://mallory.example"},
        "that is over": {"exp": now - TOO_LATE},
        "of tomorrow": {"iat": now + 86_400},
        "that begins tomorrow": {"nbf": now + 86_400},
        "of nobody": {"sub": None},
        "of a number": {"sub": 7},
        "of an empty name": {"sub": ""},
        "without an end": {"exp": None},
    }.items():
        sent[what] = good(pair, **changes)
        sent[f"{what}, here"] = key.sign(own | changes)
    for what, header in {
        "of another typ": {"typ": "JWT"},
        "without typ": {"typ": None},
        "by an unknown key": {"kid": "unknown"},
        "without a kid": {"kid": None},
        "by another algorithm": {"alg": "HS256"},
    }.items():
        sent[what] = good(pair, header)
        sent[f"{what}, here"] = key.sign(own, header)
    sent["by mallory"] = good(draw(), {"kid": pair.kid})
    for what, token in sent.items():
        with _whatever_comes():
            me(client, token) if what.endswith("here") else service.read(token)
    return sent


@attack
@todo(3, "check_token")
@asvs("9.1.2")
def test_a_public_key_is_no_secret(
    client: Client, service: Service, pairs: dict[str, Pair], key: Pair
) -> None:
    """Mallory makes an HMAC of the public key, and is anybody (RFC 8725 section 3.1).

    The key says by which algorithm: CVE-2022-29217, CVE-2024-33663 and many more.
    """
    claims = own_claims(client)
    with twin():
        lets_in(client, key.sign(claims))
    for what, secret in [*disguises(key).items()][::2]:
        token = sign(claims, secret, "HS256", {"kid": key.kid, "typ": "at+jwt"})
        keeps_out(client, token, f"HS256 with {what} as the secret")
    for kind, pair in pairs.items():
        claims = claims_for(ISSUER, AUDIENCE)
        with twin():
            service.accepts(pair.sign(claims), f"A token by {kind}")
        for number, (what, secret) in enumerate(disguises(pair).items()):
            for alg in ("HS256", "HS384", "HS512") if number % 8 == 0 else ("HS256",):
                token = sign(claims, secret, alg, {"kid": pair.kid, "typ": "at+jwt"})
                service.refuses(token, f"{kind}: {alg} with {what} as the secret")


@attack
@todo(3, "check_token")
@asvs("9.1.3")
def test_a_token_brings_no_key(
    client: Client, service: Service, pairs: dict[str, Pair], key: Pair, internet: Any
) -> None:
    """Mallory signs with a key of hers, and the token says where to find it (RFC 7515 section 4.1).

    `jwk`, `jku`, `x5u`, `x5c` are anybody's words (ASVS 9.1.3, CVE-2018-0114). Nothing is fetched.
    """
    mine, claims = draw(), own_claims(client)
    with twin():
        lets_in(client, key.sign(claims))
        service.accepts(good(pairs["ES256"]), "A token of the issuer")
    brought = {
        "jwk": dict(mine.jwk),
        "jku": MALLORY,
        "x5u": MALLORY,
        "x5t": mine.kid,
        "x5c": [_certificate("ES256", ISSUER)],
        "keys": [dict(mine.jwk)],
        "key": mine.jwk["x"],
    }
    certified = Pair(_keys()["ES256"], "ES256", mine.jwk)
    internet.asked.clear()
    for name, value in brought.items():
        signer = certified if name == "x5c" else mine
        for kid in (mine.kid, key.kid, None) if name == "jwk" else (key.kid,):
            header = {name: value, "kid": kid}
            with outside("mallory") as reached:
                keeps_out(client, signer.sign(claims, header), f"A key in `{name}`")
            assert not reached, f"A token with `{name}` makes the app reach for {reached[0]}."
        for kid in (mine.kid, pairs["ES256"].kid, None):
            token = good(signer, {name: value, "kid": kid})
            service.refuses(token, f"A key in `{name}`")
    asked = set(internet.asked) - {ADDRESS}
    assert not asked, f"A token made the service ask {asked.pop()}."


@attack
@todo(3, "check_token")
@asvs("9.1.3")
def test_every_token_names_a_known_key(
    client: Client, service: Service, pairs: dict[str, Pair], key: Pair, server: KeyServer
) -> None:
    """A token without `kid` is tried with every key, or its `kid` leads to a file (CWE-22).

    It is looked up as it is (RFC 8725 section 3.10), and of two keys with one name neither counts.
    """
    pair, claims = pairs["ES256"], own_claims(client)
    with twin():
        lets_in(client, key.sign(claims))
        service.accepts(good(pair), "A token with its kid")
    odd_names = ("keys/2026", "https://x.example/a?b=c&d#e", "a+b/c==", "..", "a b", "\u00e9", "1")
    for name in (*odd_names, f"{'digest' * 21}-1", f"{'digest' * 21}-2"):  # as of SHA-512, in hex
        its = draw().named(name)
        server.keys.append(dict(its.jwk))
        service.clock.on(61)
        service.accepts(good(its), f"A key that is called {name!a}, and its token")
    service.keys = service._candidate.FetchedKeys(ADDRESS, service.clock)
    server.keys = [dict(pair.jwk)]  # one key: whoever takes the first, or the only one, shows
    odd: dict[str, Any] = {
        "no kid": None,
        "an empty kid": "",
        "another kid": "another",
        "a number": 7,
        "0": 0,
        "true": True,
        "a list": [pair.kid],
        "an object": {"kid": pair.kid},
        "a long one": "k" * 400,
    }
    near = flips(pair.kid)
    usual = ("in small letters", "with a blank behind", "its first half", "twice")
    usual += ("with a NUL behind", "with = behind", "with a line end before")
    odd |= {f"its kid, {name}": near[name] for name in [*[*near][::9], *usual]}
    for what, kid in odd.items():
        service.refuses(good(pair, {"kid": kid}), f"kid: {what}")
    own = key.kid
    for what, kid in {
        **{"no kid": None, "an empty one": "", "a number": 7, "a list": [own], "x": "x"},
        **{"in small letters": own.lower(), "a blank behind": f"{own} ", "a part": own[:20]},
    }.items():
        keeps_out(client, key.sign(claims, {"kid": kid}), f"kid: {what}")
    server.keys = [dict(draw(kid="").jwk) | {"kid": None}, dict(pair.jwk)]
    empty = {name: pair.jwk[name] for name in pair.jwk if name != "kid"}
    server.keys += [empty]
    service.clock.on(301)
    service.refuses(good(pair, {"kid": None}), "No kid, and a key without one in the set")
    for number, path in enumerate((os.environ["SIGNING_KEYS_DIR"], *PATHS)):
        header = {"kid": path, "typ": "at+jwt"}
        for secret in ("", path):
            mark = path.rpartition("/")[2] or path
            with outside(mark) as reached:
                service.refuses(sign(claims_for(ISSUER, AUDIENCE), secret, "HS256", header), path)
            files = [each for each in reached if "file" in each]
            assert not files, f"The kid {path} makes verify_token reach for {files[0]}."
        if number % 2 == 0:
            with outside(mark) as reached:
                keeps_out(client, sign(claims, "", "HS256", header), f"kid: {path}")
            assert not reached, f"The kid {path} makes the app reach for {reached[0]}."
    _two_of_a_name(service, pair, server)


def _two_of_a_name(service: Service, pair: Pair, server: KeyServer) -> None:
    mine = draw().named(pair.kid)
    for what, keys in {"first": [mine, pair], "last": [pair, mine]}.items():
        server.keys = [dict(each.jwk) for each in keys]
        fresh = Service(service._candidate)
        fresh.refuses(good(mine), f"Two keys have one kid, and mallory's is the {what}")
        fresh.refuses(good(pair), f"Two keys have one kid, and the issuer's is not the {what}")
    server.keys = [dict(draw().jwk), dict(pair.jwk)]
    service.clock.on(301)
    service.accepts(good(pair), "Two keys, each with a name")
    both = f'{{"alg":"ES256","typ":"at+jwt","kid":"{pair.kid}","kid":"{pair.kid}x"}}'
    service.refuses(mine.sign_text(both, json.dumps(claims_for(ISSUER, AUDIENCE))), "Two kids")


@attack
@todo(3, "check_token")
@asvs("9.1.1", "9.1.2")
def test_the_key_says_by_which_algorithm(
    client: Client, service: Service, pairs: dict[str, Pair], key: Pair, server: KeyServer
) -> None:
    """Mallory writes `none`, another algorithm, or bends a signature (RFC 8725 section 3.1).

    P-256 is for ES256, Ed25519 for EdDSA, RSA for RS256, and no other key is for anything.
    """
    claims, own = claims_for(ISSUER, AUDIENCE), own_claims(client)
    with twin():
        lets_in(client, key.sign(own))
        for kind, pair in pairs.items():
            service.accepts(pair.sign(claims), f"A token by {kind}")
    by_its_name = good(pairs["EdDSA"], {"alg": "Ed25519"})  # RFC 9864: the key is for both
    service.accepts(by_its_name, "A token by EdDSA, which says Ed25519,")
    pair = pairs["ES256"]
    for none in ("none", "None", "NONE", "nOnE", "", "null"):
        header = json.dumps({"alg": none, "typ": "at+jwt", "kid": pair.kid})
        unsigned = f"{encoded(header.encode())}.{encoded(json.dumps(claims).encode())}."
        service.refuses(unsigned, f"alg {none!r} without a signature")
        service.refuses(pair.sign(claims, {"alg": none}), f"alg {none!r}, signed all the same")
        if none.isalpha():
            text = json.dumps({"alg": none, "typ": "at+jwt", "kid": key.kid})
            mine = f"{encoded(text.encode())}.{encoded(json.dumps(own).encode())}."
            keeps_out(client, mine, f"alg {none!r} without a signature")
    for alg in ("ES384", "EdDSA", "RS256", "HS256", ["ES256"], "ES512", "ES256K", "PS256", None, 1):
        service.refuses(pair.sign(claims, {"alg": alg}), f"A P-256 key, and alg {alg}")
        if alg in ("ES384", "EdDSA", "RS256", "HS256", None):
            keeps_out(client, key.sign(own, {"alg": alg}), f"A P-256 key, and alg {alg}")
    for alg in ("RS384", "RS512", "PS256", "PS384"):
        token = pairs["RS256"].sign(claims, {"alg": alg}, alg)
        service.refuses(token, f"The RSA key, by {alg}")
    service.refuses(pair.sign(claims, {"alg": "ES384"}, "ES384"), "The P-256 key, by SHA-384")
    for what, header in {
        "an unknown critical header": {"crit": ["x"], "x": 1},
        "a payload that is not in base64": {"crit": ["b64"], "b64": False},
    }.items():
        service.refuses(pair.sign(claims, header), what)
        keeps_out(client, key.sign(own, header), what)
    _other_keys(service, server, claims)
    server.keys = [dict(each.jwk) for each in pairs.values()]
    service.clock.on(301)
    _bent_signatures(service, client, pairs, key.sign(own))


def _other_keys(service: Service, server: KeyServer, claims: dict[str, Any]) -> None:
    """Keys that the issuer publishes for something else, or for another algorithm."""
    others = [draw("ES384", "p384"), draw("ES512", "p521"), draw("ES256K", "k1")]
    secret = {"kty": "oct", "kid": "oct", "k": encoded(b"m" * 32), "alg": "HS256"}
    rsa, signing, sealing = draw("RS256", "ps"), draw(kid="sig"), draw(kid="enc")
    server.keys = [dict(each.jwk) for each in (*others, signing)]
    server.keys += [secret, {**rsa.jwk, "alg": "PS256"}, {**sealing.jwk, "use": "enc"}]
    service.clock.on(301)
    with twin():
        service.accepts(signing.sign(claims), "A key among odd ones")
    for each in others:
        service.refuses(each.sign(claims), f"A key on the curve of {each.alg}")
        service.refuses(each.sign(claims, {"alg": "ES256"}), f"{each.alg}, called ES256")
    token = sign(claims, b"m" * 32, "HS256", {"kid": "oct", "typ": "at+jwt"})
    service.refuses(token, "A secret that stands in the key set")
    service.refuses(rsa.sign(claims), "RS256 by a key that is for PS256")
    service.refuses(sealing.sign(claims), "A signature by a key for encryption")


def _bent_signatures(service: Service, client: Client, pairs: dict[str, Pair], own: str) -> None:
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

    for kind, pair in pairs.items():
        token = good(pair)
        head, body, signature = token.split(".")
        raw = _decoded(signature)
        half = len(raw) // 2
        bent = {
            "none at all": b"",
            "one byte": b"\0",
            "zeros": bytes(len(raw)),
            "its first half": raw[:half],
            "its halves exchanged": raw[half:] + raw[:half],
            "a byte more": raw + b"\0",
            "a byte before": b"\0" + raw,
            "without its last byte": raw[:-1],
            "twice": raw + raw,
        }
        bent |= {f"its byte {n} changed": _flipped(raw, n) for n in (0, half, len(raw) - 1)}
        if kind == "ES256":
            numbers = int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")
            bent["written as DER"] = encode_dss_signature(*numbers)
        for what, each in bent.items():
            service.refuses(f"{head}.{body}.{encoded(each)}", f"{kind}, its signature: {what}")
        other = encoded(json.dumps(claims_of(token) | {"sub": "alice"}).encode())
        service.refuses(f"{head}.{other}.{signature}", f"{kind}, with another `sub`")
        service.refuses(
            good(draw(kind) if kind != "RS256" else pairs["ES256"], {"kid": pair.kid}),
            f"{kind}, signed by another key",
        )
    for what, text in {
        "nothing": "",
        "no token": "not.a.token",
        "two dots": "..",
        "five parts": good(pairs["ES256"]) + ".a.b",
        "not ASCII": "\u00e9.\u00e9.\u00e9",
        "a lone surrogate": good(pairs["ES256"]) + "\ud800",
        "a megabyte": "a" * 1_000_000,
        "10,000 letters": good(pairs["ES256"], x="a" * 10_000),
        "JSON in JSON in JSON": pairs["ES256"].sign_text("[" * 3000, "{}"),
        "claims nested deeply": pairs["ES256"].sign("[" * 3000),
        "claims that are a list": pairs["ES256"].sign("[]"),
        "a header that is a list": pairs["ES256"].sign_text("[]", "{}"),
    }.items():
        service.refuses(text, what)
    client.run(_forged(service, good(pair)))
    service.accepts(good(pair), f"After {BAD} forged tokens that name its key, a good one")
    head, body, signature = own.split(".")
    for what, each in {"none": "", "another": encoded(b"m" * 64)}.items():
        keeps_out(client, f"{head}.{body}.{each}", f"Signature: {what}")


async def _forged(service: Service, token: str) -> None:
    """Show many tokens with other signatures."""
    from solutions.tokens import InvalidToken

    verify = vars(service._candidate._candidate.load())["verify_token"]
    for number in range(BAD):
        with suppress(InvalidToken):
            await verify(f"{token[:-9]}{number:09}", service.keys, ISSUER, AUDIENCE)


def _flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@attack
@todo(3, "check_token")
@asvs("9.2.1", "9.2.2", "9.2.3", "10.3.1")
def test_only_access_tokens_for_us_open(
    client: Client, service: Service, pairs: dict[str, Pair], key: Pair, users: Any, settings: Any
) -> None:
    """Mallory shows an ID token, or one for another service of the issuer (ASVS 9.2.2, 9.2.3).

    `typ` says what a token is for (RFC 9068 section 4), `aud` for whom, `exp` until when.
    """
    from solutions.tokens import create_access_token

    pair, own = pairs["ES256"], own_claims(client)
    with twin():
        service.accepts(good(pair), "A good token")
        lets_in(client, key.sign(own, {"typ": "application/AT+JWT"}))
    kinds = (
        *(None, "", "JWT", "jwt", "at", "id+jwt", "logout+jwt", "secevent+jwt", "dpop+jwt"),
        *("at+jwt2", "xat+jwt", "text/at+jwt", "application/jwt", "application/", 7, ["at+jwt"]),
        *("at+jwt ", " at+jwt", "at+jwt;v=1", "at+jwt\n", "at jwt", "at+jwt,JWT"),
        *("at+jwt\0", "\0at+jwt", "at+jwt\x1f", "at+jwt\u200b", "\uff41t+jwt"),
        *("application/application/at+jwt", "at+application/jwt", "appl\u0131cation/at+jwt"),
    )
    for number, typ in enumerate(kinds):
        service.refuses(good(pair, {"typ": typ}), f"typ {typ!r}")
        if number < 9 or number % 9 == 0:  # what there is, and some of what is made up
            bare = good(pair, {"typ": typ}, scope=None, nonce="n")
            service.refuses(bare, f"typ {typ!r}, no scope")
            keeps_out(client, key.sign(own, {"typ": typ}), f"typ {typ!r}")
    for kind, typ in itertools.product(("EdDSA", "RS256"), kinds[:4]):
        service.refuses(good(pairs[kind], {"typ": typ}), f"By {kind}, typ {typ!r}")
    service.refuses(good(pair, {"typ": "JWT", "cty": "at+jwt"}), "at+jwt in `cty`")
    service.accepts(good(pair, scope=None), "A token without a scope")
    now = int(time.time())
    wrong: dict[str, dict[str, Any]] = {
        "for another service": {"aud": "billing"},
        "for nobody": {"aud": None},
        "for nobody, by a client of our name": {
            "aud": None,
            "client_id": AUDIENCE,
            "azp": AUDIENCE,
        },
        "for every service in development": {"aud": "fastapi-auth-workbook"},
        "for others": {"aud": ["billing", "shop"]},
        "for an empty list": {"aud": []},
        "for a part of our name": {"aud": AUDIENCE[:-1]},
        "for a longer name": {"aud": f"{AUDIENCE} billing"},
        "of another issuer": {"iss": "https://mallory.example"},
        "of nobody": {"iss": None},
        "of an issuer with a slash more": {"iss": f"{ISSUER}/"},
        "of an issuer in capitals": {"iss": ISSUER.upper()},
        "of two issuers": {"iss": [ISSUER]},
        "of a piece of the issuer's name": {"iss": ISSUER[8:-3]},
        "of an issuer whose name goes on": {"iss": f"{ISSUER}.mallory.example"},
        "without an end": {"exp": None},
        "that is over": {"exp": now - TOO_LATE},
        "that is over, with a fraction": {"exp": now - TOO_LATE + 0.5},
        "whose end is a text": {"exp": "tomorrow"},
        "whose end is infinite": {"exp": float("inf")},
        "whose end is no number": {"exp": float("nan")},
        "whose end is true": {"exp": True},
        "without a beginning": {"iat": None},
        "of tomorrow": {"iat": now + 86_400},
        "that begins tomorrow": {"nbf": now + 86_400},
        "of nobody's": {"sub": None},
        "of a number": {"sub": 7},
        "of an empty name": {"sub": ""},
    }
    for what, changes in wrong.items():
        service.refuses(good(pair, **changes), f"A token {what}")
    for what in ("for another service", "of another issuer", "without an end", "that is over"):
        keeps_out(client, key.sign(own | wrong[what]), f"A token {what}")
    service.refuses(good(pair), "A token for another service", audience="billing")
    service.refuses(good(pair), "A token of another issuer", issuer="https://mallory.example")
    for audience in ("", f"{AUDIENCE} billing", f"billing,{AUDIENCE}"):
        service.refuses(good(pair), f"A token for {AUDIENCE}, at {audience!r}", audience=audience)
    token = good(pair)
    service.accepts(token, "A token of this moment")
    with at(datetime.now(UTC) + 12 * MINUTE):
        service.refuses(token, "A token that was good twelve minutes ago")
    tokens = [good(pair, sub=f"guest {n}") for n in range(6)]
    early = good(pair, nbf=now + 300, iat=now + 300, exp=now + 900)
    service.refuses(early, "A token that begins in five minutes")
    with at(datetime.now(UTC) + 6 * MINUTE):
        service.accepts(early, "A token that was shown before its time, in its time,")
    held = remembered(sys.modules["solutions.key_rotation"], service.read, tokens)
    assert not held, f"Tokens are remembered: {held}."
    stamp = users.get("alice").security_stamp
    for header in ({}, {"kid": key.kid, "typ": "at+jwt"}):
        old = create_access_token({"sub": "alice", "stamp": stamp})
        token = sign(claims_of(old), settings.signing_key, "HS256", header) if header else old
        keeps_out(client, token, "A token by HS256 and JWT_SECRET, as lesson 02 makes them,")


@attack
@todo(4, "find")
def test_unknown_keys_are_asked_for_once_a_minute(
    client: Client, service: Service, pairs: dict[str, Pair], server: KeyServer, internet: Any
) -> None:
    """A flood of forged tokens with ever new names is a flood at the issuer (CWE-400).

    One question for all who wait, a failure counts, and nobody who knows a key waits with them.
    """
    known = good(pairs["ES256"])
    with twin():
        service.accepts(known, "A token")
    assert len(internet.asked) == 1, f"One token, and {len(internet.asked)} questions."
    _flood(service, internet, 0, "at once after the first question")
    service.clock.on(61)
    _flood(service, internet, 1, "a minute after the last question")
    service.clock.on(50)
    _flood(service, internet, 0, "50 seconds after the last question")
    service.clock.on(11)
    for what, token in {
        "no kid": good(draw(), {"kid": None}),
        "an empty kid": good(draw(), {"kid": ""}),
        "no token": "not.a.token",
        "a megabyte": good(draw(kid="large"), x="a" * 1_000_000),
    }.items():
        service.refuses(token, what)
        assert len(internet.asked) == 2, f"A token with {what} costs a question."
    for _ in range(3):
        service.accepts(known, "A known key, between unknown ones,")
    assert len(internet.asked) == 2, "A known key costs a question a minute after the last one."
    for what, reply in {
        "a failure": Reply(500),
        "a redirect": Reply(302, {"location": MALLORY}),
    }.items():
        service.clock.on(61)
        server.instead = reply
        _flood(service, internet, 1, f"after {what}")
        _flood(service, internet, 0, f"again after {what}")
    server.instead = None
    service.clock.on(61)
    _some_come_later(client, service, pairs, server, internet)
    _all_at_once(client, service, server, internet, known)
    before = _sizes(service.keys)
    for _ in range(15):
        service.clock.on(61)
        _flood(service, internet, 1, "each minute", 2)
    grown = [name for name, size in _sizes(service.keys).items() if size > before.get(name, 0) + 10]
    assert not grown, f"`{grown[0]}` grows with each unknown key."
    _names_leave_nothing(client, service)


def _flood(service: Service, internet: Any, times: int, when: str, number: int = 6) -> None:
    before = len(internet.asked)
    _, claims, signature = good(draw()).split(".")
    for _ in range(number):
        header = json.dumps({"alg": "ES256", "typ": "at+jwt", "kid": os.urandom(9).hex()})
        token = f"{encoded(header.encode())}.{claims}.{signature}"
        service.refuses(token, "A token with an unknown kid")
    asked = len(internet.asked) - before
    assert asked <= times, f"{number} unknown keys {when}: {asked} questions, not {times}."


def _sizes(thing: Any) -> dict[str, int]:
    own = vars(thing) if hasattr(thing, "__dict__") else {}
    return {name: len(own[name]) for name in own if hasattr(own[name], "__len__")}


def _names_leave_nothing(client: Client, service: Service) -> None:
    """Ask by thousands of names, and measure what is kept, in whatever place.

    The first ones may fill what has a bound. Of each one more, not even a digest is kept.
    """
    from solutions.tokens import InvalidToken

    verify = vars(service._candidate._candidate.load())["verify_token"]

    async def ask(number: int) -> None:
        for n in range(number):
            if n % 4 == 0:
                await service.keys.find(f"{n:04}{os.urandom(200).hex()}")
            header = encoded(f'{{"alg":"ES256","kid":"{os.urandom(60).hex()}"}}'.encode())
            with suppress(InvalidToken):
                await verify(f"{header}.e30.{'A' * 86}", service.keys, ISSUER, AUDIENCE)

    gc.freeze()  # what was there before is not looked through, which would take longest
    with _unread_logs(), warnings.catch_warnings():
        warnings.simplefilter("default")  # each text once, and kept, as outside of a test
        try:
            client.run(ask(WARM_UP))
            gc.collect()
            tracemalloc.start()
            client.run(ask(NAMES))
            gc.collect()
            kept, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
            gc.unfreeze()
    # The sentence that a test still runs, on a busy machine, takes 22,000 bytes.
    assert kept < 40 * NAMES, f"Of {2 * NAMES:,} unknown names {kept:,} bytes are kept."


@contextmanager
def _unread_logs() -> Iterator[None]:
    """Let nobody keep what is logged: pytest would, and a line for each name is no memory."""
    root = logging.getLogger()
    handlers, root.handlers = root.handlers, [logging.NullHandler()]
    try:
        yield
    finally:
        root.handlers = handlers


def _all_at_once(
    client: Client, service: Service, server: KeyServer, internet: Any, known: str
) -> None:
    """Strangers, some with a new key, and one whom everybody knows, while the issuer is slow."""
    from solutions.tokens import InvalidToken

    verify = vars(service._candidate._candidate.load())["verify_token"]
    ended: list[str] = []
    new, stranger = [draw(), draw()], draw()
    server.keys += [dict(each.jwk) for each in new]

    async def read(token: str) -> None:
        try:
            claims = await verify(token, service.keys, ISSUER, AUDIENCE)
        except InvalidToken:
            ended.append("refused")
        else:
            ended.append(claims["sub"])

    async def all_of_them() -> None:
        strangers = [read(good(stranger.named(f"stranger {n}"))) for n in range(12)]
        guests = [read(good(new[n % 2], sub=f"guest {n}")) for n in range(6)]
        await asyncio.gather(*strangers, *guests, read(known))

    before, internet.turns = len(internet.asked), 9
    client.run(all_of_them())
    internet.turns = 0
    asked = len(internet.asked) - before
    assert asked == 1, f"18 unknown keys at once: {asked} questions, not 1."
    assert ended.count("refused") == 12, (
        f"Of 12 strangers and 6 with a new key, all at once, {ended.count('refused')} were refused."
    )
    assert ended[0] == "erin", "Whoever has a known key waits for the question about others."
    guests = {each for each in ended if each.startswith("guest")}
    assert len(guests) == 6, "Of tokens that come at once, one gets the claims of another."


async def _one_after_another(service: Service, internet: Any, names: list[str]) -> list[Any]:
    """Ask by a name; the others ask at several moments until the answer is there, and after it.

    Return what each of them finds, and who was answered before the issuer was.
    """
    internet.gate, before = asyncio.Event(), len(internet.asked)
    calls: list[asyncio.Task[Any]] = []

    async def come(name: str, turns: int) -> None:
        calls.append(asyncio.create_task(service.keys.find(name)))
        for _ in range(turns):
            await asyncio.sleep(0)

    for turns, name in enumerate(names):
        await come(name, 1 + 4 * turns)
        service.clock.on(0.1)
    at_once = [each.result() if each.done() else None for each in calls]
    for _ in range(50):  # for whoever does not ask at once
        if len(internet.asked) == before:
            await asyncio.sleep(0.002)
    await an_hour_of_the_loop(seconds=2.3)  # which whoever asks allows
    internet.gate.set()
    for turn in range(24):  # in each turn of the loop until the set is taken over, and some after
        await come(names[turn % len(names)], 1)
    found = await asyncio.gather(*calls)
    internet.gate = None
    return [at_once, *[[*found[n :: len(names)]] for n in range(len(names))]]


def _some_come_later(
    client: Client,
    service: Service,
    pairs: dict[str, Pair],
    server: KeyServer,
    internet: Any,
) -> None:
    """Nobody is known yet, or a new key is: whoever comes during the question waits for its end."""
    kid, other = pairs["ES256"].kid, pairs["RS256"].kid
    fresh, before = Service(service._candidate), len(internet.asked)
    got = client.run(_one_after_another(fresh, internet, [kid, kid, other, "nobody", kid]))
    asked = len(internet.asked) - before
    assert asked == 1, f"Five come during the first question: {asked} questions, not 1."
    lost = [each for n in (1, 2, 3, 5) for each in got[n] if each is None]
    assert not lost, "Who comes during the first question gets no key, though the set has it."
    assert not any(got[4]), "A key that nobody has is found."
    new = draw()
    server.keys.append(dict(new.jwk))
    fresh.clock.on(61)
    before = len(internet.asked)
    got = client.run(
        _one_after_another(fresh, internet, [new.kid, new.kid, kid, "nobody", new.kid])
    )
    asked = len(internet.asked) - before
    assert asked == 1, f"Five come during a question for a new key: {asked} questions, not 1."
    assert got[0][2], "Whoever has a known key waits for the question about others."
    lost = [each for n in (1, 2, 3, 5) for each in got[n] if each is None]
    assert not lost, "Who comes during a question for a new key gets none, though the set has it."
    new = draw()
    server.keys.append(dict(new.jwk))
    fresh.clock.on(61)
    found = client.run(_all_find(internet, [fresh] * CALLERS, new.kid))
    assert all(found), f"{CALLERS} wait for one answer, and {found.count(None)} get no key."
    others = [Service(service._candidate) for _ in range(2)]
    assert all(client.run(_all_find(internet, others, new.kid))), (
        "Two objects for one address are asked at once, and one finds no key."
    )
    server.instead = Reply(500)
    for seconds in (61, 301):
        fresh.clock.on(seconds)
        before = len(internet.asked)
        got = client.run(_one_after_another(fresh, internet, ["nobody", kid, "a", new.kid, kid]))
        asked = len(internet.asked) - before
        assert asked == 1, f"Five come during a question that fails: {asked} questions, not 1."
        lost = [each for n in (2, 4, 5) for each in got[n] if each is None]
        assert not lost, "Who comes during a question that fails loses a known key."
    server.instead = None


@attack
@todo(4, "find")
def test_known_keys_outlive_a_bad_hour(
    client: Client, service: Service, pairs: dict[str, Pair], server: KeyServer, internet: Any
) -> None:
    """The issuer is down, slow, huge or nonsense: all are thrown out, or all let in (CWE-636).

    Known keys go on, unknown ones are refused, an odd one does no harm, and answers are bounded.
    """
    known, stranger = good(pairs["ES256"]), draw()
    with twin():
        service.accepts(known, "A token")
    replies = {
        "an error": Reply(500),
        "an error with a key set": Reply(503, body=json.dumps({"keys": [stranger.jwk]}).encode()),
        "a redirect to mallory": Reply(302, {"location": MALLORY}),
        "a page": Reply(200, {"content-type": "text/html"}, b"<h1>Good morning"),
        "nothing at all": Reply(never=True),
        "a byte an hour": Reply(drips=True, body=b'{"keys": []}' + b" " * 100),
        "three megabytes": Reply(body=b'{"keys": [' + b" " * 3_000_000 + b"]}"),
        "packed bytes": Reply(200, {"content-encoding": "gzip"}, b"\x1f\x8b" + bytes(40)),
        "JSON in JSON": Reply(body=b"[" * 50_000),
        "a list": Reply(body=b"[]"),
        "null for the keys": Reply(body=b'{"keys": null}'),
        "an object for the keys": Reply(body=b'{"keys": {}}'),
        "a text for the keys": Reply(body=b'{"keys": "none"}'),
        "what is no text": Reply(body=b"\xff\xfe\xfa"),
    }
    for what, reply in replies.items():
        server.instead = reply
        service.clock.on(301)
        internet.asked.clear()
        service.accepts(good(pairs["ES256"]), f"The issuer answers {what}, and a known key")
        service.refuses(good(stranger), f"The issuer answers {what}, and an unknown key")
        _within_bounds(internet, what)
        service.clock.on(50)
        service.accepts(known, f"50 seconds after the issuer answered {what}, a known key")
        asked = len(internet.asked)
        assert asked == 1, f"In the minute after {what} {asked} questions, not 1."
    _a_failure_is_told(client, service)
    server.instead = Reply(500)
    service.clock.on(8 * 86_400)
    service.accepts(known, "The issuer is down for eight days, and a known key")
    server.instead = None
    server.keys = [*odd_entries().values(), *[dict(each.jwk) for each in pairs.values()]]
    service.clock.on(301)
    for kind, pair in pairs.items():
        service.accepts(good(pair), f"The set has odd keys beside, and {kind}")
    fresh = Service(service._candidate)
    server.instead = Reply(500)
    fresh.refuses(known, "Nobody could be asked yet, and a token")
    server.instead = None
    fresh.refuses(known, "A second after a failure, a token")
    fresh.clock.on(61)
    fresh.accepts(known, "A minute after a failure, a token")
    for moment in (0.0, 5.0):  # such a clock says how long the machine runs
        fresh = Service(service._candidate, seconds=moment)
        fresh.accepts(known, f"The clock says {moment} when the first token comes, which")
        _flood(fresh, internet, 0, "at once after the first question")
    _a_caller_who_leaves(client, service, server, internet)


def _a_failure_is_told(client: Client, service: Service) -> None:
    """Whoever reads the log learns that keys grow old, and no password of the issuer's address."""
    secret = os.urandom(12).hex()
    server = KeyServer("https://login.other.example/keys.json")
    with key_servers(server) as internet:
        other = Service(service._candidate, f"{server.address}?key={secret}")
        for what, reply in {
            "an error": Reply(500),
            "nothing at all": Reply(never=True),
            "what is no key set": Reply(body=b"[]"),
        }.items():
            server.instead = reply
            other.clock.on(301)
            internet.asked.clear()
            with listening() as trap:
                client.run(other.keys.find("nobody"))
            assert internet.asked, "Five minutes after a failure nobody is asked."
            assert trap.records, f"The issuer answers {what}, and no log tells it."
            trap.refuse({"key in the issuer's address": secret})


def _within_bounds(internet: Any, what: str) -> None:
    assert internet.hours <= 1, f"A key set with {what} is waited for, {internet.hours} hours."
    assert internet.bytes <= 100_000, f"Of a key set with {what} {internet.bytes:,} bytes are read."
    elsewhere = set(internet.asked) - {ADDRESS}
    assert not elsewhere, f"A key set with {what} leads us to {elsewhere.pop()}."
    assert not internet.unchecked, "The issuer is asked without a look at its certificate."


def _a_caller_who_leaves(
    client: Client, service: Service, server: KeyServer, internet: Any
) -> None:
    """A new key is asked for by somebody who hangs up: whoever comes next gets it all the same."""
    verify = vars(service._candidate._candidate.load())["verify_token"]
    new = draw()
    server.keys.append(dict(new.jwk))
    service.clock.on(61)
    token = good(new)

    async def leave() -> None:
        internet.turns = 9
        call = asyncio.create_task(verify(token, service.keys, ISSUER, AUDIENCE))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        for _ in range(20):
            await asyncio.sleep(0)

    client.run(leave())
    internet.turns = 0
    service.accepts(token, "Somebody asked for a new key and hung up, and its token")
    known = new.kid
    for down in (False, True):
        server.instead = Reply(500) if down else None
        for seconds, kid in ((61, ""), (301, known)):
            service.clock.on(seconds)
            before = len(internet.asked)
            client.run(_hang_ups(service, internet, kid))
            asked = len(internet.asked) - before
            what = "a known" if kid else "an unknown"
            assert asked <= 1, f"24 callers with {what} key hang up: {asked} questions, not 1."
    service.clock.on(61)
    found = client.run(_all_find(internet, [service] * 5, known, "a", "b", known, "c"))
    assert not any(found[1:3]), "A key that nobody has is found."
    assert found[0] and found[3], "Of those who wait for a question that fails, some lose a key."
    server.instead = None
    for leaver in (0, 1):
        new = draw()
        server.keys.append(dict(new.jwk))
        service.clock.on(61)
        before = len(internet.asked)
        found = client.run(_one_of_two(service, internet, new.kid, leaver))
        asked = len(internet.asked) - before
        assert found, "Two ask for a new key, one hangs up, and the other gets none."
        assert asked == 1, f"Two ask for a new key, and one hangs up: {asked} questions, not 1."


async def _all_find(internet: Any, services: list[Service], *names: str) -> list[Any]:
    """Let all ask at once, by one name or each by its own."""
    internet.turns = 9
    calls = zip(services, itertools.cycle(names), strict=False)
    found = await asyncio.gather(*[each.keys.find(name) for each, name in calls])
    internet.turns = 0
    return found


async def _hang_ups(service: Service, internet: Any, kid: str) -> None:
    """Ask and leave, each a turn of the loop later; without a name by ever new ones."""
    internet.turns = 9
    for turns in range(24):
        call = asyncio.create_task(service.keys.find(kid or f"k{turns}"))
        for _ in range(turns):
            await asyncio.sleep(0)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
    for _ in range(40):
        await asyncio.sleep(0)
    internet.turns = 0


async def _one_of_two(service: Service, internet: Any, kid: str, leaver: int) -> Any:
    """Ask twice for a key, and let one of the two leave. Return what the other gets."""
    internet.turns = 9
    calls = [asyncio.create_task(service.keys.find(kid)) for _ in range(2)]
    for _ in range(4):
        await asyncio.sleep(0)
    calls[leaver].cancel()
    await asyncio.sleep(0)
    service.clock.on(0.1)
    calls.append(asyncio.create_task(service.keys.find(kid)))
    ends = await asyncio.gather(*calls, return_exceptions=True)
    internet.turns = 0
    assert calls[leaver].cancelled(), "A caller is cancelled while it waits, and goes on."
    assert isinstance(ends[2], type(ends[1 - leaver])), (
        "Somebody hangs up, and whoever comes then, during the question, gets no key."
    )
    stays = ends[1 - leaver]
    return None if isinstance(stays, BaseException) else stays


@attack
@todo(4, "find")
def test_a_withdrawn_key_is_gone(
    client: Client,
    service: Service,
    pairs: dict[str, Pair],
    server: KeyServer,
    internet: Any,
    folder: KeyFolder,
    key: Pair,
) -> None:
    """A key was stolen and taken back, and a cache goes on with it for ever (CWE-613).

    Five minutes later nobody believes it: the new set takes the old one's place, and is not added.
    """
    token, other = good(pairs["ES256"]), good(pairs["EdDSA"])
    with twin():
        service.accepts(token, "A token")
        service.accepts(other, "A token")
    server.keys = [each for each in server.keys if each["kid"] != pairs["ES256"].kid]
    for _ in range(6):  # it is in use all the time, so that "when it was last used" never comes
        service.clock.on(55)
        service.accepts(other, "A key that stays")
    service.refuses(token, "Five minutes after its key was withdrawn, a token")
    service.accepts(other, "A key that stays")
    _who_comes_while_the_set_is_old(client, service, pairs, server, internet)
    server.keys = []
    service.clock.on(301)
    service.refuses(other, "After all keys were withdrawn, a token")
    server.keys = [dict(pairs["ES256"].jwk)]
    service.clock.on(61)
    service.accepts(good(pairs["ES256"]), "A minute after its key came back, a token")
    impostor = draw().named(pairs["ES256"].kid)  # the issuer has put another key under the name
    server.keys = [dict(impostor.jwk)]
    service.clock.on(301)
    service.refuses(token, "Another key has its name now, and a token")
    service.accepts(good(impostor), "Another key has its name now, and a token of it")
    server.keys = [dict(each.jwk) for each in (impostor, pairs["ES256"])]
    service.clock.on(301)
    service.refuses(good(impostor), "Two keys have its name now, and a token of one")
    service.refuses(token, "Two keys have its name now, and a token of the other")
    _the_pause_is_no_longer(service, pairs, server, internet)
    now = datetime.now(UTC).replace(microsecond=0)
    claims = own_claims(client)
    folder.add(now - HOUR)
    current = folder.add(now - SECOND)
    with at(now + MINUTE):
        lets_in(client, current.sign(claims), "A token of the current key")
        stolen = current.sign(claims)
        folder.remove(now - SECOND)
    with at(now + 2 * MINUTE):
        keeps_out(client, stolen, "A minute after its file was removed, a token")
        assert current.kid not in kids(client), "A key whose file was removed is published."
        lets_in(client, token_of(client), "A token of the key that is left")
    _keys_change_in_the_middle(client, folder, claims)


def _who_comes_while_the_set_is_old(
    client: Client,
    service: Service,
    pairs: dict[str, Pair],
    server: KeyServer,
    internet: Any,
) -> None:
    """A set is asked for anew: all who come until it is there wait for it, by whatever name."""
    gone, stays = draw(), pairs["EdDSA"].kid
    for first in (gone.kid, stays, "nobody"):
        kept = server.keys
        server.keys = [dict(gone.jwk), *kept]
        service.clock.on(301)
        assert client.run(service.keys.find(gone.kid)), "A key that is new in the set is not found."
        server.keys = kept
        service.clock.on(301)
        before = len(internet.asked)
        names = [first, gone.kid, stays, gone.kid, "nobody"]
        got = client.run(_one_after_another(service, internet, names))
        asked = len(internet.asked) - before
        assert asked == 1, f"Five come while an old set is asked for: {asked} questions, not 1."
        believed = [each for n in (2, 4) for each in got[n] if each]
        assert not believed, "Who comes while an old set is asked for gets a withdrawn key."
        assert all(got[3]), "Who comes while an old set is asked for gets no key, though it stays."


def _keys_change_in_the_middle(client: Client, folder: KeyFolder, claims: dict[str, Any]) -> None:
    """The first key and the last one stay, and what is between them changes."""
    now = datetime.now(UTC).replace(microsecond=0) + 10 * MINUTE
    folder.clear()
    retired, _ = folder.add(now - HOUR), folder.add(now + HOUR)
    ring = {now - MINUTE: folder.add(now - MINUTE)}
    former: list[Pair] = []
    for step, (gone, comes) in enumerate(
        (
            (None, None),
            (now - MINUTE, None),  # taken back, and the retired one signs
            (None, now - 2 * MINUTE),  # a new one
            (now - 2 * MINUTE, now - 2 * MINUTE),  # another one for the same moment
            (now - 2 * MINUTE, now - 3 * MINUTE),  # another one, and as many
            (None, now - 4 * MINUTE),  # one between, which signs for nobody
        )
    ):
        if gone:
            folder.remove(gone)
            former.append(ring.pop(gone))
        if comes:
            ring[comes] = folder.add(comes)
        with at(now + step * 31 * SECOND):
            signer = ring[max(ring)] if ring else retired
            token = token_of(client)
            assert header_of(token)["kid"] == signer.kid, (
                "Keys changed between the first one and the last one, and another key signs."
            )
            lets_in(
                client, token, "Keys changed between the first one and the last one, and a token"
            )
            shown = kids(client)
            assert {each.kid for each in ring.values()} <= shown, "A new key is not published."
            for each in former:
                assert each.kid not in shown, "A key whose file was removed is published."
                keeps_out(client, each.sign(claims), "A token of a key whose file was removed")


def _the_pause_is_no_longer(
    service: Service, pairs: dict[str, Pair], server: KeyServer, internet: Any
) -> None:
    """Forged tokens all the time put off no question: new keys come, and withdrawn ones go."""
    forged, new, old = draw(), draw(), pairs["ES256"]
    server.keys = [dict(each.jwk) for each in pairs.values()]
    service.clock.on(301)
    service.accepts(good(old), "A token")
    server.keys = [dict(new.jwk), dict(pairs["EdDSA"].jwk)]
    for seconds in (20, 20, 19):  # a minute since the last question: not since the last forgery
        service.clock.on(seconds)
        before = len(internet.asked)
        service.refuses(good(forged), "A forged token")
        assert len(internet.asked) == before, "An unknown key within the pause costs a question."
    service.clock.on(2)
    service.accepts(good(new), "61 seconds after the last question, unknown names between, a new")
    service.refuses(good(old), "After the new set came, a token of a withdrawn key")
    server.keys = [dict(new.jwk)]
    before = len(internet.asked)
    for n in range(24):
        service.clock.on(50)
        service.refuses(good(forged.named(f"forged {n}")), "A forged token")
    asked = len(internet.asked) - before
    assert 10 <= asked <= 20, f"A forged token each 50 seconds, 1,200 long: {asked} questions."
    service.refuses(good(pairs["EdDSA"]), "1,200 seconds after its key was withdrawn, a token")
    server.keys = []
    for _ in range(11):
        service.clock.on(29)
        service.refuses(good(forged), "A forged token")
    service.refuses(good(new), "319 seconds after all keys were withdrawn, a token")
    server.keys = [dict(each.jwk) for each in pairs.values()]
    service.clock.on(301)
    service.accepts(good(old), "A key that came back")
    server.keys, server.instead = [], Reply(500)
    service.clock.on(301)
    service.accepts(good(old), "A known key, when the issuer is down,")
    server.instead = None
    service.clock.on(301)
    service.refuses(good(old), "301 seconds after a failure, a token of a withdrawn key")
