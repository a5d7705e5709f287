"""Lesson 07: API keys. Four tests of what you build, then mallory.

For maintainers
Goal: a program gets a key of its own that opens no more than it needs, ends by itself, can be
taken back at once, and is nowhere to be read: not in the store, the list, the log or an address.
Teach: random keys and why a quick digest is enough for them, one refusal, scopes within the
maker's, life and death of a key, one credential at a time.
Do not teach: limits on how often a key is used, and audit (10), keys in a database (11).
"""

import base64
import hashlib
import itertools
import logging
import math
import os
import random
import re
import sys
import time
import unicodedata
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine

from lessons.harness.client import Client
from lessons.harness.hostile import hostile_tokens
from lessons.harness.meter import Meter
from lessons.harness.people import (
    bearer,
    refuse_hostile_passwords,
    refuse_hostile_tokens,
    speak_as,
    token_for,
)
from lessons.harness.verdicts import check_type, twin

attack = pytest.mark.attack
todo = pytest.mark.todo

PROTECTED, ITEMS, KEYS = "/api/protected", "/api/items", "/api-keys"
HIDDEN = 22  # characters: as many as 128 bits need in base64
NEVER_MADE = "faw_" + "A1b-" * 10 + "A1b"
NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
TOO_MUCH = (400, 403, 422)  # for scopes that the caller cannot give away
CONFUSED = (400, 401, 403)  # for two credentials at once


def ask(client: Client, headers: Any, **wanted: Any) -> Any:
    """Ask for a key, as whoever the headers speak for."""
    body = {"name": "backup", "scopes": ["me", "items"], "expires_in_days": 30} | wanted
    return client.post(KEYS, headers=headers, json=body)


def make_key(client: Client, users: Any, username: str = "johndoe", **wanted: Any) -> Any:
    """Make a key with a good token, and return the answer."""
    answer = ask(client, speak_as(users, username), **wanted)
    assert answer.status_code == 201, f"POST {KEYS} answered {answer.status_code}, not 201."
    return answer.json()


def present(key: str | bytes) -> dict[str, Any]:
    """Return the header that presents a key, also one that no header should hold."""
    plain = isinstance(key, bytes) or key.isascii()
    return {"X-API-Key": key if plain else key.encode("latin-1")}


def enter(client: Client, made: Any, url: str = PROTECTED) -> Any:
    """Open a door with a good key: the twin of every refusal below."""
    answer = client.get(url, headers=present(made["key"]))
    assert answer.status_code == 200, f"A good key on {url}: {answer.status_code}, not 200."
    return answer.json()


def refuse(client: Client, keys: dict[str, str | bytes], url: str = PROTECTED) -> None:
    """Assert that each of these keys gets the same 403 as one that was never made."""
    first = None
    for what, key in {"A key that was never made": NEVER_MADE, **keys}.items():
        answer = client.get(url, headers=present(key))
        assert answer.status_code == 403, f"{what}: {url} said {answer.status_code}, not 403."
        said = answer.text, sorted(answer.headers.items())
        first = first or said
        assert said == first, f"{what}: {said}. A key that never was: {first}."


def without_credentials(client: Client, what: str, url: str = PROTECTED, **send: Any) -> Any:
    """Assert that a request is a 401 that says how to come in."""
    answer = client.get(url, **send)
    assert answer.status_code == 401, f"{what}: {url} said {answer.status_code}, not 401."
    assert answer.headers.get("www-authenticate"), (
        f"{what}: the 401 of {url} lacks a WWW-Authenticate header."
    )
    return answer


def runs(secret: str) -> set[str]:
    """Return each run of ten characters of a secret."""
    return {secret[start : start + 10] for start in range(len(secret) - 9)}


def listed(client: Client, users: Any, username: str = "johndoe") -> list[Any]:
    """Return somebody's list of keys."""
    answer = client.get(KEYS, headers=speak_as(users, username))
    assert answer.status_code == 200, f"GET {KEYS} answered {answer.status_code}, not 200."
    return list(answer.json())


def day_of(made: Any, name: str) -> datetime:
    """Return a date of a key; one without a zone counts as UTC."""
    day = datetime.fromisoformat(made[name])
    return day if day.tzinfo else day.replace(tzinfo=UTC)


def revoke(client: Client, users: Any, made: Any, username: str = "johndoe") -> Any:
    """Revoke a key, as somebody."""
    return client.request("DELETE", f"{KEYS}/{made['id']}", headers=speak_as(users, username))


def add_person(users: Any, username: str) -> None:
    """Register somebody who never logs in with a password."""
    from solutions.users import UserInDB

    users.add(UserInDB(username=username, hashed_password="none"))


@pytest.fixture
def far_west() -> Iterator[None]:
    """A server whose local time is ten hours behind UTC. Windows cannot play that."""
    set_zone = getattr(time, "tzset", lambda: None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "WEST10")
        set_zone()
        yield
    set_zone()


# --- build ----------------------------------------------------------------------------------


@todo(4, "create_api_key")
def test_a_key_is_made_and_opens_the_door(client: Client, users: Any) -> None:
    """POST /api-keys shows a new key; in the header X-API-Key it opens GET /api/protected."""
    made = make_key(client, users, name="nightly", scopes=["items"], expires_in_days=7)
    fields = {"id", "prefix", "name", "scopes", "created_at", "expires_at", "key"}
    assert fields <= set(made), f"The answer lacks {', '.join(sorted(fields - set(made)))}."
    assert (made["name"], made["scopes"]) == ("nightly", ["items"]), (
        f"Asked for nightly with items, got {made['name']!r} with {made['scopes']}."
    )
    created, expires = day_of(made, "created_at"), day_of(made, "expires_at")
    assert expires - created == timedelta(days=7), f"7 days became {expires - created}."
    assert abs(datetime.now(UTC) - created) < timedelta(minutes=1), (
        f"`created_at` is {created}, and that is not now."
    )
    key, prefix = made["key"], made["prefix"]
    assert key.startswith(prefix), f"`prefix` is {prefix!r}, and the key begins otherwise."
    assert len(key) - len(prefix) >= HIDDEN, (
        f"`prefix` shows all but {len(key) - len(prefix)} characters; {HIDDEN} must stay hidden."
    )
    other = make_key(client, users, "alice")
    assert key[:3] == other["key"][:3], "Two keys begin differently: PREFIX is missing."
    for each, owner in ((made, "johndoe"), (other, "alice")):
        greeting = enter(client, each)
        assert set(greeting) == {"message", "owner"}, f"{PROTECTED} says {greeting}."
        assert greeting["owner"] == owner, f"{owner}'s key greets {greeting['owner']}."


@todo(4, "create_api_key")
def test_two_keys_live_while_one_replaces_the_other(client: Client, users: Any) -> None:
    """List keys, revoke one, and the other goes on: so a key is replaced without a pause."""
    old, new = make_key(client, users, name="old"), make_key(client, users, name="new")
    enter(client, old)
    enter(client, new)
    rows = {row["id"]: row for row in listed(client, users)}
    assert set(rows) == {old["id"], new["id"]}, f"The list has {len(rows)} ids, not both."
    for name in ("id", "prefix", "name", "created_at", "expires_at"):
        assert rows[old["id"]].get(name) == old[name], f"The list does not give {name} again."
    answer = revoke(client, users, old)
    assert answer.status_code == 204, f"DELETE answered {answer.status_code}, not 204."
    enter(client, new)


@todo(3, "get_api_key")
def test_a_missing_key_is_a_401(client: Client) -> None:
    """No key, or an empty one: 401 and a challenge (RFC 9110 section 15.5.2). A bad one: 403."""
    for what, headers in {"No key": {}, "An empty key": present("")}.items():
        answer = without_credentials(client, what, headers=headers)
        assert answer.json() == {"detail": "API Key required"}, f"{what}: {answer.text}."
    without_credentials(client, "Neither token nor key", ITEMS)
    answer = client.get(PROTECTED, headers=present(NEVER_MADE))
    assert answer.status_code == 403, f"A bad key: {answer.status_code}, not 403."


@todo(4, "create_api_key")
def test_a_token_or_a_key_opens_the_items(client: Client, users: Any) -> None:
    """GET /api/items takes either. A key has a name, and lives 1 to 365 days."""
    made = make_key(client, users, scopes=["items"])
    assert enter(client, made, ITEMS) == [{"item_id": "Foo", "owner": "johndoe"}]
    answer = client.get(ITEMS, headers=speak_as(users, "alice"))
    assert answer.status_code == 200, f"A good token on {ITEMS}: {answer.status_code}, not 200."
    assert answer.json() == [{"item_id": "Foo", "owner": "alice"}], f"{ITEMS} says {answer.text}."
    make_key(client, users, expires_in_days=1)
    make_key(client, users, expires_in_days=365)
    days = ({"expires_in_days": each} for each in (0, 366))
    for wrong in (*days, *({"name": each} for each in ("", "x" * 65, "a\nb"))):
        answer = ask(client, speak_as(users, "johndoe"), **wrong)
        assert answer.status_code == 422, f"{wrong}: {answer.status_code}, not 422."


# --- attack ---------------------------------------------------------------------------------


@attack
@todo(4, "create_api_key")
def test_the_key_is_shown_once_and_kept_as_a_digest(
    client: Client, users: Any, meter: Meter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who reads the table of keys, or the list later on, must not hold keys (CWE-312).

    A password hash instead is the other error: mallory makes you run one at each request (CWE-400).
    """
    from solutions.key_store import open_key_store

    with twin():
        answer = ask(client, speak_as(users, "johndoe"))
        assert answer.status_code == 201, f"POST {KEYS} answered {answer.status_code}, not 201."
        made = answer.json()
        with meter.counting() as hashes:
            enter(client, made)
        rows = listed(client, users)
        assert made["id"] in [row["id"] for row in rows], "The new key is not in the list."
    with meter.counting() as more:
        client.get(PROTECTED, headers=present(NEVER_MADE))
        client.get(ITEMS, headers=present(NEVER_MADE))
    assert not hashes + more, f"A look at one key ran {len(hashes + more)} password hashes."
    secret = made["key"].removeprefix(made["prefix"])
    kept = repr(vars(open_key_store()))
    shapes = {
        "the key": made["key"],
        "the secret part of the key": secret,
        "the key in base64": base64.b64encode(made["key"].encode()).decode().rstrip("="),
        "the key in hex": made["key"].encode().hex(),
        "the key backwards": made["key"][::-1],
    }
    shapes |= {f"{run!r}, a part of the key": run for run in runs(secret)}
    for name, shape in shapes.items():
        assert shape not in repr(rows), f"GET {KEYS} shows {name} again."
        assert shape not in kept, f"The store keeps {name}; whoever copies it can use it."
    for name, weak in {"MD5": hashlib.md5, "SHA-1": hashlib.sha1}.items():
        digest = weak(made["key"].encode()).digest()
        spelled = (
            digest.hex(),
            base64.b64encode(digest).decode().rstrip("="),
            base64.urlsafe_b64encode(digest).decode().rstrip("="),
        )
        assert not any(each in kept for each in spelled), (
            f"{name} is no digest to rely on any more (ASVS 11.4.1)."
        )
    for shown in (made, *rows):
        assert not {"digest", "stamp"} & set(shown), f"What is shown of a key: {list(shown)}."
    first, second = _digests_of_two_like(made["key"], client, users, monkeypatch)
    assert len(first) >= HIDDEN, f"{len(first)} characters of a digest: another key has it too."
    same = sum(one == other for one, other in zip(first, second, strict=True))
    assert same < len(first) / 2, (
        f"Of two keys that differ in one letter the store keeps {first} and {second}: no digest."
    )
    assert "no-store" in answer.headers.get("cache-control", ""), (
        "Cache-Control: no-store is missing from the one answer that shows the key."
    )


def _digests_of_two_like(
    key: str, client: Client, users: Any, monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    """Make two keys that differ in the last letter, and return what the store finds them by."""
    from solutions.key_store import open_key_store

    drawn = iter((key + "y", key + "z"))
    monkeypatch.setattr(sys.modules["solutions.api_keys"], "draw_key", lambda: next(drawn))
    for _ in range(2):
        make_key(client, users, "alice")
    return [each.digest for each in open_key_store().owned_by("alice")]


@attack
@todo(1, "draw_key")
def test_a_key_cannot_be_guessed(candidate: Any) -> None:
    """What was drawn from the clock or from `random`, mallory draws again (CWE-338).

    128 random bits or more (ASVS 11.5.1); a UUID has 122.
    """
    with twin():
        key = candidate.draw_key()
        check_type("draw_key", key, str)
        assert key and key.isascii() and key.isprintable(), f"{key!a} does not fit a header."
    draw, before = candidate.draw_key.__wrapped__, random.getstate()
    drawn = []
    try:
        for _ in range(2):
            random.seed(7)
            with time_machine.travel(NOON, tick=False):
                drawn += [draw() for _ in range(64)]
    finally:
        random.setstate(before)
    taken = min(_bytes_taken(draw) for _ in range(64))
    assert taken >= 16, f"draw_key took {taken} bytes from `secrets`, not 16 or more."
    assert drawn[:64] != drawn[64:], (
        "With the same clock and the same random.seed, draw_key draws the same keys again."
    )
    assert len(set(drawn)) == len(drawn), "draw_key drew one key twice."
    columns = set(itertools.zip_longest(*drawn, fillvalue=""))  # a repeated half counts once
    varying = [column for column in columns if len(set(column)) > 1]
    alphabet = set().union(*varying) - {""}
    bits = len(varying) * math.log2(len(alphabet))
    assert bits >= 128, (
        f"{len(varying)} characters of {len(alphabet)} kinds are {bits:.0f} bits at most, not 128."
    )


def _bytes_taken(draw: Any) -> int:
    """Count the bytes of true randomness, below `secrets` and `uuid4`, that one call takes."""
    taken, urandom = [], os.urandom

    def count(size: int) -> bytes:
        taken.append(size)
        return urandom(size)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "urandom", count)
        patch.setattr(random, "_urandom", count)
        if "urandom" in draw.__globals__:
            patch.setitem(draw.__globals__, "urandom", count)
        draw()
    return sum(taken)


@attack
@todo(3, "get_api_key")
def test_odd_keys_are_one_403(client: Client, users: Any) -> None:
    """A key nearly right, or no text at all: a 500 for it is a crash that mallory can order.

    One letter off is as wrong as all of them, and it reads the same (CWE-755).
    """
    from solutions.key_store import open_key_store

    with twin():
        made, other = make_key(client, users), make_key(client, users)
        enter(client, made)
        enter(client, other)
    key, half = made["key"], len(made["key"]) // 2
    kept = re.findall(r"'([^'\\]{16,200})'", repr(vars(open_key_store())))
    odd: dict[str, str | bytes] = {
        "An e with an accent": "\u00e9",
        "The prefix alone": made["prefix"] or "faw_",
        "The key without its prefix": key.removeprefix(made["prefix"]),
        "The key without its first four letters": key[4:],
        "The key with another first letter": "x" + key[1:],
        "The key with another prefix": key.replace(made["prefix"], "x" * len(made["prefix"])),
        "The key with another middle letter": key[:half] + "~" + key[half + 1 :],
        "The key with _ for -, and - for _": key.translate({45: 95, 95: 45}),
        "The key and a hard space": key + "\u00a0",
        "The id": made["id"],
        "The SHA-256 of the key": hashlib.sha256(key.encode()).hexdigest(),
        "One half of each of two keys": key[:half] + other["key"][half:],
        "Two keys": f"{key},{other['key']}",
        "The key in lower case": key.lower(),
        "The key in upper case": key.upper(),
        "The key without its end": key[:-1],
        "The key and one letter": key + "x",
        "The key and =": key + "=",
        "The key in quotes": f'"{key}"',
        "The key and an e with an accent": key + "\u00e9",
        "The key and bytes that are no text": key.encode() + b"\xff\xfe",
        "The key with look-alike letters": _look_alike(key),
        "Bearer and the key": f"Bearer {key}",
        "A token": token_for(users, "johndoe", scope="me items"),
        "A star": "*",
        "A percent sign": made["prefix"] + "%",
        "100 kB": key + "a" * 100_000,
    }
    odd |= {f"What the store keeps, {text!r:.12}...'": text for text in kept}
    good = {key, other["key"]}
    refuse(client, {what: text for what, text in odd.items() if text not in good})


def _look_alike(key: str) -> str:
    """Put another character where one compatible with it exists in Latin-1."""
    twins = {unicodedata.normalize("NFKC", each): each for each in "\u00aa\u00ba\u00b9\u00b2\u00b3"}
    return "".join(twins.get(letter, letter) for letter in key)


@attack
@todo(2, "find_key")
def test_an_expired_key_is_dead(far_west: None, client: Client, users: Any) -> None:
    """The key in a forgotten script opens the door for ever, unless it ends by itself.

    It ends on its day, however often it was used (ASVS 13.3.4).
    """
    with twin():
        made = make_key(client, users, expires_in_days=2)
        expires = day_of(made, "expires_at")
        for early in (timedelta(days=1), timedelta(minutes=1)):
            with time_machine.travel((expires - early).timestamp()):
                enter(client, made)
    for late in (timedelta(minutes=1), timedelta(days=1), timedelta(days=400)):
        with time_machine.travel((expires + late).timestamp()):
            refuse(client, {f"A key that expired {late} ago": made["key"]})
            refuse(client, {f"A key that expired {late} ago": made["key"]}, ITEMS)
            enter(client, make_key(client, users, expires_in_days=1))


@attack
@todo(2, "find_key")
def test_a_revoked_key_is_dead_at_once(client: Client, users: Any) -> None:
    """A key was published by mistake, and revoked. Mallory was reading along (ASVS 13.3.4)."""
    with twin():
        used, unused, sibling = (make_key(client, users) for _ in range(3))
        enter(client, used)
        enter(client, used, ITEMS)
        for made in (used, unused):
            answer = revoke(client, users, made)
            assert answer.status_code == 204, f"DELETE answered {answer.status_code}, not 204."
    for url in (PROTECTED, ITEMS):
        refuse(client, {"A key revoked after use": used["key"]}, url)
        refuse(client, {"A key revoked before use": unused["key"]}, url)
    rows = [row["id"] for row in listed(client, users)]
    assert rows == [sibling["id"]], f"After two of three were revoked the list has {len(rows)}."
    enter(client, sibling)
    answer = revoke(client, users, used)
    assert answer.status_code == 404, f"Revoked twice: {answer.status_code}, not 404."


@attack
@todo(4, "create_api_key")
def test_a_key_has_no_more_than_its_scopes(client: Client, users: Any) -> None:
    """Mallory has a token for `me` and wants `items`: a key must not widen it (CWE-250, CWE-269).

    And a key loses what its owner loses.
    """
    narrow = speak_as(users, "johndoe", "me")
    with twin():
        only_me = ask(client, narrow, scopes=["me"])
        assert only_me.status_code == 201, f"A narrow key: {only_me.status_code}, not 201."
        only_me = only_me.json()
        enter(client, only_me)
        both = make_key(client, users)
        enter(client, both, ITEMS)
    for what, token_scope, wanted in (
        ("A token for `me` made a key for `items`", "me", ["items"]),
        ("A token for `me` made a key for both", "me", ["me", "items"]),
        ("A token without scopes made a key for `me`", "", ["me"]),
        ("A scope that nobody has was granted", "me items", ["admin"]),
        ("A scope that the user lacks was granted", "me items admin", ["admin"]),
        ("Two scopes in one text were granted", "me items", ["me items"]),
        ("A part of a scope was granted", "me items:readonly", ["items"]),
        ("A scope in capitals was granted", "me items", ["ITEMS"]),
    ):
        answer = ask(client, speak_as(users, "johndoe", token_scope), scopes=wanted)
        assert answer.status_code in TOO_MUCH, f"{what}: {answer.status_code}, not 403."
    for what, headers in (("key", present(only_me["key"])), ("token", narrow)):
        answer = client.get(ITEMS, headers=headers)
        assert answer.status_code == 403, f"A {what} for `me`: {answer.status_code}, not 403."
    for what, headers in (
        ("A token without scopes", speak_as(users, "johndoe", "")),
        ("A token that says nothing of scopes", bearer(token_for(users, "johndoe"))),
        ("An administrator's token for `me`", speak_as(users, "alice", "me")),
    ):
        answer = ask(client, headers, scopes=["items"])
        assert answer.status_code in TOO_MUCH, f"{what}: {answer.status_code}, not 403."
        answer = ask(client, headers, scopes=[])
        if answer.status_code == 201:
            answer = client.get(ITEMS, headers=present(answer.json()["key"]))
            assert answer.status_code == 403, f"{what} made a key without scopes, and it has all."
    wide = speak_as(users, "johndoe")
    users.change("johndoe", scopes=["me", "items:readonly"])
    for what, headers in {"key": present(both["key"]), "token": wide}.items():
        answer = client.get(ITEMS, headers=headers)
        assert answer.status_code == 403, (
            f"The owner lost the scope `items`, the {what} has it still: {answer.status_code}."
        )
    enter(client, both)


@attack
@todo(4, "create_api_key")
def test_somebody_else_s_key_is_not_there(client: Client, users: Any) -> None:
    """Mallory tries ids: to revoke your keys, or to learn which there are (CWE-639, CWE-204)."""
    add_person(users, "mallory")
    with twin():
        john, own = make_key(client, users), make_key(client, users, "mallory")
        enter(client, john)
        answer = revoke(client, users, own, "mallory")
        assert answer.status_code == 204, f"DELETE answered {answer.status_code}, not 204."
    bodies = []
    for what, made in (("An id that is gone", own), ("John's id", john)):
        answer = revoke(client, users, made, "mallory")
        assert answer.status_code == 404, f"{what}: {answer.status_code}, not 404."
        bodies.append(answer.text.replace(made["id"], "..."))
    assert bodies[0] == bodies[1], f"No such key: {bodies[0]}. Not yours: {bodies[1]}."
    for name in ("alice", "carol"):
        answer = revoke(client, users, john, name)
        assert answer.status_code == 404, f"{name} revokes it: {answer.status_code}, not 404."
    enter(client, john)
    assert listed(client, users, "mallory") == [], "Mallory's list shows somebody else's key."
    answer = ask(client, speak_as(users, "mallory"), owner="johndoe")
    if answer.status_code == 201:
        own_keys = [row["id"] for row in listed(client, users, "mallory")]
        assert answer.json()["id"] in own_keys, "Mallory named johndoe as the owner, and he is it."


@attack
@todo(2, "find_key")
def test_a_key_dies_with_its_owner(client: Client, users: Any) -> None:
    """Whoever once had the session made a key, and stays in after the password was changed.

    Dismissed, deleted, deleted and registered anew, password changed: no key outlives it (CWE-613).
    """
    for name in ("erin", "frank", "grace"):
        add_person(users, name)
    users.change("grace", role="superadmin")
    ends = {
        "johndoe": "The owner was disabled",
        "grace": "The owner, a superadmin, was disabled",
        "alice": "The owner changed the password",
        "erin": "The owner was deleted",
        "frank": "The owner's name was registered anew",
    }
    with twin():
        keys = {name: make_key(client, users, name) for name in (*ends, "carol")}
        for made in keys.values():
            enter(client, made)
    users.change("johndoe", disabled=True)
    users.change("grace", disabled=True)
    users.change("alice", hashed_password="another")
    users.remove("erin")
    users.remove("frank")
    add_person(users, "frank")
    for url in (PROTECTED, ITEMS):
        refuse(client, {what: keys[name]["key"] for name, what in ends.items()}, url)
    enter(client, keys["carol"])


@attack
@todo(3, "get_api_key")
def test_a_key_in_the_address_opens_nothing(
    client: Client, users: Any, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture
) -> None:
    """Addresses stand in logs and histories, and logs are read by many (ASVS 14.2.1, CWE-532).

    A cookie would let any web page use the key. Only the header X-API-Key counts.
    """
    caplog.set_level(logging.DEBUG)
    with twin():
        made = make_key(client, users)
        enter(client, made)
        enter(client, made, ITEMS)
        without_credentials(client, "No key")
    key = made["key"]
    client.get(PROTECTED, headers=present(key[:-1]))
    client.get(ITEMS, headers=present(key) | speak_as(users, "johndoe"))
    listed(client, users)
    printed = capsys.readouterr()
    log = caplog.text + printed.out + printed.err
    for shape in (key.encode().hex(), base64.b64encode(key.encode()).decode().rstrip("=")):
        assert shape not in log, "The log holds the key, in other letters."
    for line in log.splitlines():
        held = sorted(run for run in runs(key.removeprefix(made["prefix"])) if run in line)
        assert not held, f"The log holds the key: {line.replace(key, '<key>')}"
    caplog.clear()
    caplog.set_level(logging.CRITICAL)  # from here on the address is in the log of the test itself
    names = ("api_key", "api-key", "apikey", "apiKey", "key", "X-API-Key", "x_api_key", "token")
    for url in (PROTECTED, ITEMS):
        for name in (*names, "access_token"):
            without_credentials(client, f"?{name}=<key>", url, params={name: key})
        cookies = "; ".join(f"{name}={key}" for name in (*names, "session"))
        without_credentials(client, "The key in a cookie", url, headers={"Cookie": cookies})
        for scheme in ("Bearer ", "ApiKey ", "Api-Key ", "Token ", "Basic ", ""):
            header = {"Authorization": f"{scheme}{key}"}
            without_credentials(client, f"Authorization: {scheme}<key>", url, headers=header)


@attack
@todo(4, "create_api_key")
def test_one_credential_at_a_time(client: Client, users: Any) -> None:
    """A stolen key that makes keys is never got rid of (CWE-269).

    And if the token counts where the key fails, a bad key goes unnoticed (RFC 6750 section 2).
    """
    token = speak_as(users, "johndoe")
    with twin():
        made = make_key(client, users)
        key = present(made["key"])
        enter(client, made, ITEMS)
        answer = client.get(ITEMS, headers=token)
        assert answer.status_code == 200, f"A good token: {answer.status_code}, not 200."
    one = f"{KEYS}/{made['id']}"
    wanted = {"name": "mallory", "scopes": ["me"], "expires_in_days": 365}
    for what, method, url, body in (
        ("made a key", "POST", KEYS, {"json": wanted}),
        ("listed the keys", "GET", KEYS, {}),
        ("revoked a key", "DELETE", one, {}),
    ):
        answer = client.request(method, url, headers=key, **body)
        assert answer.status_code == 401, f"A key alone {what}: {answer.status_code}, not 401."
    enter(client, made)
    for what, both in {
        "A bad key beside a good token": present(NEVER_MADE) | token,
        "Garbage beside a good token": present("garbage") | token,
        "A good key beside a bad token": key | bearer("not.a.token"),
        "A good key beside a good token": key | token,
        "A good key beside somebody else's token": key | speak_as(users, "carol"),
    }.items():
        answer = client.get(ITEMS, headers=both)
        assert answer.status_code in CONFUSED, f"{what}: {answer.status_code}, not 400."
        assert made["key"] not in answer.text, f"{what}: the answer repeats the key."


@attack
@todo(4, "create_api_key")
def test_hostile_tokens_are_refused(client: Client, users: Any) -> None:
    """The second door needs the first one's lock: forty tokens of mallory's, all refused.

    So are those of before a change of password, and of the disabled (CWE-613).
    """
    from solutions.settings import get_settings

    good, alice = token_for(users, "johndoe", scope="me items"), speak_as(users, "alice")
    with twin():
        make_key(client, users)
        answer = client.get(ITEMS, headers=alice)
        assert answer.status_code == 200, f"A good token: {answer.status_code}, not 200."
    refuse_hostile_tokens(client, ITEMS, good)
    refuse_hostile_passwords(client)
    hostile = hostile_tokens(good, get_settings().signing_key)
    for what in ("alg none", "another key", "no exp", "another aud"):
        answer = ask(client, bearer(hostile[what]))
        assert answer.status_code == 401, f"{what}: POST {KEYS} {answer.status_code}, not 401."
    users.change("johndoe", hashed_password="another")
    users.change("alice", disabled=True)
    for what, headers in {"stale": bearer(good), "disabled user's": alice}.items():
        answers = client.get(ITEMS, headers=headers), client.get(KEYS, headers=headers)
        gone = client.request("DELETE", f"{KEYS}/none", headers=headers)
        for answer in (*answers, gone, ask(client, headers)):
            assert answer.status_code in CONFUSED, f"A {what} token: {answer.status_code}, not 401."
