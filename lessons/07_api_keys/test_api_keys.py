"""Lesson 07: API keys. Four tests of what you build, then mallory.

For maintainers
Goal: a program gets a key of its own that opens no more than it needs, ends by itself, can be
taken back at once, and is nowhere to be read: not in the store, the list, the log or an address.
Teach: random keys and why a quick digest is enough for them, one refusal, scopes within the
maker's, life and death of a key, one credential at a time.
Do not teach: limits on how often a key is used, and audit (10), keys in a database (12).
"""

import asyncio
import base64
import hashlib
import json
import re
import sys
import unicodedata
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from itertools import product
from string import ascii_letters, digits
from typing import Any

import pytest

from lessons.harness.answers import differs, says, surplus_headers
from lessons.harness.client import Client
from lessons.harness.clock import FAR_EAST, FAR_WEST, at, pauses, zone
from lessons.harness.crowd import each_gets_theirs
from lessons.harness.failing import Before, Failing, Held, Slow, Watched, in_place
from lessons.harness.kept import snapshot
from lessons.harness.literals import texts_in
from lessons.harness.memory import texts
from lessons.harness.meter import Meter
from lessons.harness.near_misses import flips
from lessons.harness.outside import outside
from lessons.harness.people import (
    bearer,
    refuse_hostile_passwords,
    refuse_hostile_tokens,
    speak_as,
    token_for,
)
from lessons.harness.randomness import (
    NOON,
    Tape,
    bits_of,
    bytes_drawn,
    bytes_that_count,
    drawing_from,
    draws_again,
)
from lessons.harness.reads import reading
from lessons.harness.routes import served
from lessons.harness.side_doors import Contract, side_doors, with_door
from lessons.harness.trap import holds, listening
from lessons.harness.verdicts import check_type, twin

asvs = pytest.mark.asvs
attack = pytest.mark.attack
todo = pytest.mark.todo

PROTECTED, ITEMS, KEYS = "/api/protected", "/api/items", "/api-keys"
DOORS = (PROTECTED, ITEMS)
ROLES = {"johndoe": "user", "alice": "admin", "carol": "superadmin"}
LETTERS = {*ascii_letters, *digits, *"-_"}
HIDDEN = 22  # characters: as many as 128 bits need in base64
NEVER_MADE = "faw_" + "A1b-" * 10 + "A1b"
JSON = {"Content-Type": "application/json"}
DAY, MINUTE, SECOND = timedelta(days=1), timedelta(minutes=1), timedelta(seconds=1)
TOO_MUCH = (400, 403, 422)  # for scopes that the caller cannot give away
CONFUSED = (400, 401, 403)  # for two credentials at once
PUBLIC = {("POST", "/register"), ("POST", "/token"), ("POST", "/revoke")}
FOR_TOKENS = {
    *(("POST", KEYS), ("GET", KEYS), ("DELETE", "/api-keys/{key_id}")),
    *(("GET", "/users/me"), ("GET", "/users/me/items"), ("GET", "/protected-resource")),
    *(("GET", "/users/me/permissions"), ("POST", "/users/me/password")),
    *(("GET", "/users/{username}/items"), ("GET", "/admin/users")),
    ("PATCH", "/admin/users/{username}"),
}


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
    """Assert that each of these keys is refused like one that was never made.

    That is a 403, or a 401 that says how to come in.
    """
    with pauses() as usual:
        never = client.get(url, headers=present(NEVER_MADE))
    assert never.status_code in (401, 403), f"A bad key: {never.status_code}, not 403 (or 401)."
    assert never.status_code == 403 or never.headers.get("www-authenticate"), (
        f"A bad key: the 401 of {url} lacks a WWW-Authenticate header."
    )
    check_headers(never, "A refusal")
    for what, key in keys.items():
        with pauses() as waits:
            answer = client.get(url, headers=present(key))
        how = differs(never, answer)
        assert how is None, f"{what} on {url}, beside a key that was never made: {how}"
        assert waits == usual, f"{what} waits {waits} seconds, a key that was never made {usual}."


def without_credentials(client: Client, what: str, url: str = PROTECTED, **send: Any) -> Any:
    """Assert that a request is a 401 that says how to come in."""
    answer = client.get(url, **send)
    assert answer.status_code == 401, f"{what}: {url} said {answer.status_code}, not 401."
    assert answer.headers.get("www-authenticate"), (
        f"{what}: the 401 of {url} lacks a WWW-Authenticate header."
    )
    return answer


def check_headers(answer: Any, what: str) -> None:
    """Assert that an answer has no header that it should not have."""
    said = surplus_headers(answer)
    assert not said, f"{what}: {said[0]}"


def listed(client: Client, users: Any, username: str = "johndoe") -> list[Any]:
    """Return somebody's list of keys."""
    answer = client.get(KEYS, headers=speak_as(users, username))
    assert answer.status_code == 200, f"GET {KEYS} answered {answer.status_code}, not 200."
    check_headers(answer, f"GET {KEYS}")
    return list(answer.json())


def day_of(made: Any, name: str) -> datetime:
    """Return a date of a key; one without a zone counts as UTC."""
    day = datetime.fromisoformat(made[name])
    return day if day.tzinfo else day.replace(tzinfo=UTC)


def revoke(client: Client, users: Any, made: Any, username: str = "johndoe") -> Any:
    """Revoke a key, as somebody."""
    return client.request("DELETE", f"{KEYS}/{made['id']}", headers=speak_as(users, username))


def hidden(made: Any) -> str:
    """Return the part of a key that its prefix does not show."""
    return str(made["key"]).removeprefix(made["prefix"])


def add_person(users: Any, username: str, **fields: Any) -> None:
    """Register somebody who never logs in with a password."""
    from solutions.stores.users import UserInDB

    users.add(UserInDB(username=username, hashed_password="none", **fields))


class Meanwhile(Before):
    """A store in which somebody else does something right after one of your calls."""

    def __init__(self, store: Any, call: int, deed: Callable[[], Awaitable[Any]]) -> None:
        super().__init__(store)
        self._calls, self._call, self._deed = 0, call, deed

    async def _after(self, *_: Any) -> None:
        self._calls += 1
        if self._calls == self._call:
            await self._deed()


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
    assert abs(expires - created - 7 * DAY) < MINUTE, f"7 days became {expires - created}."
    assert abs(datetime.now(UTC) - created) < MINUTE, (
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
        greeting = client.get(PROTECTED, headers=present(each["key"]))
        assert greeting.status_code == 200, f"A good key: {greeting.status_code}, not 200."
        said = greeting.json()
        assert set(said) == {"message", "owner"}, f"{PROTECTED} says {said}."
        assert said["owner"] == owner, f"{owner}'s key greets {said['owner']}."


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
    """No key, or an empty one: 401 and a challenge (RFC 9110 section 15.5.2). A bad one: 403.

    A bad one may be a 401 too.
    """
    for what, headers in {"No key": {}, "An empty key": present("")}.items():
        answer = without_credentials(client, what, headers=headers)
        says(answer, {"detail": "API Key required"}, what)
    without_credentials(client, "Neither token nor key", ITEMS)
    refuse(client, {})


@todo(4, "create_api_key")
def test_a_token_or_a_key_opens_the_items(client: Client, users: Any) -> None:
    """GET /api/items takes either. A key has a name, and lives 1 to 365 days."""
    made = make_key(client, users, scopes=["items"])
    answer = client.get(ITEMS, headers=present(made["key"]))
    assert answer.status_code == 200, f"A good key on {ITEMS}: {answer.status_code}, not 200."
    says(answer, [{"item_id": "Foo", "owner": "johndoe"}], f"{ITEMS} with johndoe's key")
    answer = client.get(ITEMS, headers=speak_as(users, "alice"))
    assert answer.status_code == 200, f"A good token on {ITEMS}: {answer.status_code}, not 200."
    says(answer, [{"item_id": "Foo", "owner": "alice"}], f"{ITEMS} with alice's token")
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
    client: Client, candidate: Any, users: Any, key_store: Any, meter: Meter, monkeypatch: Any
) -> None:
    """Who reads the table of keys, or the list later on, must not hold keys (CWE-312).

    A password hash instead is the other error: mallory makes you run one at each request (CWE-400).
    """
    with twin():
        answer = ask(client, speak_as(users, "johndoe"))
        assert answer.status_code == 201, f"POST {KEYS} answered {answer.status_code}, not 201."
        made = answer.json()
        with meter.counting() as hashes:
            client.get(PROTECTED, headers=present(made["key"]))
        rows = client.get(KEYS, headers=speak_as(users, "johndoe")).json()
        assert made["id"] in [row["id"] for row in rows], "The new key is not in the list."
    with meter.counting() as more:
        for url in DOORS:
            client.get(url, headers=present(NEVER_MADE))
    assert not hashes + more, f"A look at one key ran {len(hashes + more)} password hashes."
    kept = texts(sys.modules["solutions.api_keys"], key_store.store, users.store)
    how = holds(kept, hidden(made))
    assert how is None, f"The program keeps the key, {how}. Whoever copies that can use it."
    digest = hashlib.sha256(NEVER_MADE.encode()).hexdigest()
    for trace in (NEVER_MADE, digest):
        assert trace not in kept, "The program remembers bad keys, as many as mallory sends."
    shown = [{name: made[name] for name in made if name != "key"}, *rows]
    for what in shown:
        how = holds(repr(what), hidden(made))
        assert how is None, f"What is shown of a key again holds it, {how}: {list(what)}."
        for kind in ("digest", "stamp"):
            secret = getattr(key_store.owned_by("johndoe")[0], kind)
            assert secret not in repr(what), f"What is shown of a key holds the {kind}."
    check_headers(answer, "The new key")
    assert "no-store" in answer.headers.get("cache-control", ""), (
        "Cache-Control: no-store is missing from the one answer that shows the key."
    )
    for url in DOORS:
        check_headers(client.get(url, headers=present(made["key"])), f"GET {url}")
    with in_place(candidate.app, _get_key_store(), Failing(key_store.store, "add")):
        seen = client.status_of("POST", KEYS, headers=speak_as(users, "johndoe"), json=_wanted())
    assert seen >= 300 or len(key_store.owned_by("johndoe")) == 2, (
        f"The store failed, the key was not kept, and the answer was {seen}."
    )
    first, second = _digests_of_two_like(made["key"], client, users, key_store, monkeypatch)
    assert first != second, "Two keys that differ in their last letter are one in the store."
    assert len(first) >= HIDDEN, f"{len(first)} characters of a digest: another key has it too."
    same = sum(one == other for one, other in zip(first, second, strict=True))
    assert same < len(first) / 2, (
        f"Of two keys that differ in one letter the store keeps {first} and {second}: no digest."
    )
    _refuse_weak_digests(kept, made["key"])


def _added_nothing(watched: Watched, what: str) -> None:
    """Assert that nothing was added: it may bring back what somebody revokes at this moment."""
    called = [call.name for call in watched.calls]
    assert "add" not in called, f"{what} called `keys.add`: it writes, and should only look."


def _wanted() -> dict[str, Any]:
    return {"name": "backup", "scopes": ["me"], "expires_in_days": 30}


def _get_key_store() -> Any:
    from solutions.stores.api_keys import get_key_store

    return get_key_store


def _get_users() -> Any:
    from solutions.stores.users import get_users

    return get_users


def _digests_of_two_like(
    key: str, client: Client, users: Any, key_store: Any, monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    """Make two keys that differ in the last letter, and return what the store finds them by."""
    drawn, digests = [key + "z", key + "y"], []

    def draw_key() -> str:
        assert drawn, "draw_key was called twice for one key."
        return drawn.pop()

    monkeypatch.setattr(sys.modules["solutions.api_keys"], "draw_key", draw_key)
    for _ in range(2):
        make_key(client, users, "alice")
        digests.append(key_store.owned_by("alice")[-1].digest)
    return digests


def _refuse_weak_digests(kept: str, key: str) -> None:
    for name, weak in {"MD5": hashlib.md5, "SHA-1": hashlib.sha1}.items():
        digest = weak(key.encode()).digest()
        spelled = (
            digest.hex(),
            base64.b64encode(digest).decode().rstrip("="),
            base64.urlsafe_b64encode(digest).decode().rstrip("="),
        )
        assert not any(each in kept for each in spelled), (
            f"{name} is no digest to rely on any more (ASVS 11.4.1)."
        )


@attack
@todo(1, "draw_key")
def test_a_key_cannot_be_guessed(
    client: Client, candidate: Any, users: Any, key_store: Any
) -> None:
    """What was drawn from the clock or from `random`, mallory draws again (CWE-338).

    128 random bits or more (ASVS 11.5.1), also of what the list does not show; a UUID has 122.
    """
    with twin():
        key = candidate.draw_key()
        check_type("draw_key", key, str)
        odd = sorted({*key} - LETTERS)
        assert not odd, f"draw_key drew {''.join(odd)!a}, and not letters, digits, - or _ alone."
    draw = candidate.draw_key.__wrapped__
    assert not draws_again(draw), (
        "With the same clock and the same random.seed, draw_key draws the same keys again."
    )
    taken = bytes_drawn(draw)
    assert taken >= 16, f"draw_key took {taken} bytes from `secrets`, not 16 or more."
    count = bytes_that_count(draw)
    assert count >= 16, f"{count} bytes from `secrets` decide what draw_key draws, not 16 or more."
    drawn = [draw() for _ in range(128)]
    bits = bits_of(drawn)
    assert bits >= 128, f"The letters of a key can hold {bits:.0f} bits, not 128."
    with twin():
        shown = len(make_key(client, users)["prefix"])
    bits = bits_of([each[shown:] for each in drawn])
    assert bits >= 128, f"Behind the {shown} letters that the list shows are {bits:.0f} bits."
    own = _bytes_of_its_own(client, users, key_store)
    assert own >= 3, "What decides about a new key is not random, or decides about its id, too."


def _bytes_of_its_own(client: Client, users: Any, key_store: Any) -> int:
    """Try one in four of the random bytes; count those that change a new key, and not its id."""
    tape = Tape()
    with at(NOON, stands=True):
        john, put_back = speak_as(users, "johndoe"), snapshot(key_store.store)

        def make() -> tuple[str, str]:
            put_back()
            answer = ask(client, john)
            assert answer.status_code == 201, f"POST {KEYS}: {answer.status_code}, not 201."
            return answer.json()["key"], answer.json()["id"]

        with drawing_from(tape.draw):
            key, key_id = tape.play(make)
            tried = [tape.play(make, changed=place) for place in range(0, len(tape.drawn), 4)]
    return sum(other != key and other_id == key_id for other, other_id in tried)


@attack
@todo(3, "get_api_key")
def test_odd_keys_are_one_refusal(
    client: Client,
    candidate: Any,
    users: Any,
    key_store: Any,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A key nearly right, or no text at all: a 500 for it is a crash that mallory can order.

    One letter off is as wrong as all of them, and it reads the same (CWE-755).
    """
    with twin():
        made, other = make_key(client, users), make_key(client, users)
        enter(client, made)
        enter(client, other, ITEMS)
    key, half, shown = made["key"], len(made["key"]) // 2, made["prefix"]
    row = key_store.owned_by("johndoe")[0]
    odd: dict[str, str | bytes] = {
        "An e with an accent": "\u00e9",
        "The prefix alone": shown or "faw_",
        "The key without its prefix": key.removeprefix(shown),
        "The key without its first four letters": key[4:],
        "The key with another prefix": key.replace(shown, "x" * len(shown)),
        "The key with its first four letters in capitals": key[:4].upper() + key[4:],
        "The key with a letter percent-encoded": f"%{ord(key[0]):02x}{key[1:]}",
        "The key with a letter escaped for HTML": f"&#{ord(key[0])};{key[1:]}",
        "The id": made["id"],
        "The digest": row.digest,
        "The SHA-256 of the key": hashlib.sha256(key.encode()).hexdigest(),
        "The stamp": row.stamp,
        "The signing key": settings.signing_key,
        "One half of each of two keys": key[:half] + other["key"][half:],
        "Two keys": f"{key},{other['key']}",
        "A bad key and a good one": f"{NEVER_MADE}, {key}",
        "The key and an e with an accent": key + "\u00e9",
        "The key and bytes that are no text": key.encode() + b"\xff\xfe",
        "The key with look-alike letters": _look_alike(key),
        "Bearer and the key": f"Bearer {key}",
        "A token": token_for(users, "johndoe", scope="me items"),
        "A percent sign": shown + "%",
        "100 kB": key + "a" * 100_000,
    }
    begin = getattr(sys.modules["solutions.api_keys"], "PREFIX", "")
    for text in texts_in(sys.modules["solutions.api_keys"]):
        odd |= {repr(text): text, f"The prefix and {text!r}": begin + text}
    near = {what: each for what, each in flips(key).items() if "\n" not in each}
    plain = [what for what in near if not re.search("letter|before|inside", what)]
    odd |= {f"The key {what}": near[what] for what in plain}
    good = {key, other["key"]}
    doubtful = [what for what in odd if odd[what] not in good]
    for half, url in enumerate(DOORS):
        refuse(client, {what: odd[what] for what in doubtful[half::2]}, url)
    find_key = candidate.find_key
    for what, each in near.items():
        assert each == other["key"] or find_key(key_store, users, each) is None, (
            f"find_key takes a key with {what} for the key."
        )
    monkeypatch.setitem(vars(settings), "environment", "development")
    for url in DOORS:
        refuse(client, {"A key in development": f"{key}x"}, url)


def _look_alike(key: str) -> str:
    """Put another character where one compatible with it exists in Latin-1."""
    twins = {unicodedata.normalize("NFKC", each): each for each in "\u00aa\u00ba\u00b9\u00b2\u00b3"}
    return "".join(twins.get(letter, letter) for letter in key)


@attack
@todo(2, "find_key")
def test_an_expired_key_is_dead(client: Client, users: Any, key_store: Any) -> None:
    """The key in a forgotten script opens the door for ever, unless it ends by itself.

    On its day, wherever the server stands, however often it was used (ASVS 13.3.4).
    """
    with twin():
        made = {name: make_key(client, users, name, expires_in_days=2) for name in ROLES}
        (row,), there = key_store.owned_by("johndoe"), timezone(timedelta(hours=14))
        # The same moment in its own zone, as a database may give it.
        key_store.revoke("johndoe", row.id)
        key_store.add(replace(row, expires_at=row.expires_at.astimezone(there)))
        expires = day_of(made["johndoe"], "expires_at")  # the others some milliseconds later
        for early in (DAY, MINUTE):
            with at(expires - early):
                for each in made.values():
                    enter(client, each)
    keys = {f"The key of {name}, expired": each["key"] for name, each in made.items()}
    last = max(day_of(each, "expires_at") for each in made.values())
    for place in (FAR_WEST, FAR_EAST):
        with zone(place), at(expires - MINUTE):
            enter(client, made["johndoe"], ITEMS)
            new = make_key(client, users, expires_in_days=1)
            ends = day_of(new, "expires_at") - expires
            assert abs(ends - DAY) < 2 * MINUTE, f"One day became {ends}, in the zone {place}."
    for place in (FAR_WEST, FAR_EAST):
        with zone(place), at(last + SECOND):
            refuse(client, keys)
            refuse(client, {"A key that has expired": made["johndoe"]["key"]}, ITEMS)
    with at(expires + 400 * DAY):
        refuse(client, keys)


@attack
@todo(2, "find_key")
@asvs("6.5.6")
def test_a_revoked_key_is_dead_at_once(
    client: Client, candidate: Any, users: Any, key_store: Any
) -> None:
    """A key was published by mistake, and revoked. Mallory was reading along (ASVS 13.3.4)."""
    with twin():
        used, unused, sibling = (make_key(client, users) for _ in range(3))
        alice = make_key(client, users, "alice")
        for made in (used, alice):
            enter(client, made)
            enter(client, made, ITEMS)
        for _ in range(30):  # what is used often must not be remembered either
            enter(client, used)
        for made, name in ((used, "johndoe"), (unused, "johndoe"), (alice, "alice")):
            answer = revoke(client, users, made, name)
            assert answer.status_code == 204, f"DELETE answered {answer.status_code}, not 204."
    for url in DOORS:
        dead = {"used by johndoe": used, "never used": unused, "used by alice": alice}
        refuse(client, {f"A revoked key, {what}": dead[what]["key"] for what in dead}, url)
    rows = [row["id"] for row in listed(client, users)]
    assert rows == [sibling["id"]], f"After two of three were revoked the list has {len(rows)}."
    new = make_key(client, users)
    taken = {each["id"] for each in (used, unused, sibling)}
    assert new["id"] not in taken, "A new key has the id of an old one."
    for odd in ({"id": "0"}, {"id": "1"}, {"id": sibling["prefix"]}, {"id": "%2A"}, used):
        answer = revoke(client, users, odd)
        assert answer.status_code == 404, f"No id of a key: {answer.status_code}, not 404."
    _refuse_other_methods(client, users, sibling)
    enter(client, sibling)
    _revoke_at_bad_moments(client, candidate, users, key_store, sibling, used)


def _refuse_other_methods(client: Client, users: Any, made: Any) -> None:
    for method in ("HEAD", "GET", "OPTIONS", "POST", "PUT", "PATCH"):
        answer = client.request(method, f"{KEYS}/{made['id']}", headers=speak_as(users, "johndoe"))
        assert answer.status_code >= 400, f"{method} {KEYS}/...: {answer.status_code}, not 405."


def _revoke_at_bad_moments(
    client: Client, candidate: Any, users: Any, key_store: Any, live: Any, dead: Any
) -> None:
    """While a use is under way, and while the store fails: say 204 only after the deed."""
    keys, get, owner = key_store.store, _get_key_store(), speak_as(users, "johndoe")
    with in_place(candidate.app, get, Failing(keys, "find")):
        seen = client.status_of("GET", PROTECTED, headers=present(dead["key"]))
        assert seen >= 400, f"`keys.find` failed, and a revoked key is answered {seen}."
    with in_place(candidate.app, get, Failing(keys, "revoke")):
        seen = client.status_of("DELETE", f"{KEYS}/{live['id']}", headers=owner)
        left = [each.id for each in key_store.owned_by("johndoe")]
        assert seen >= 300 or live["id"] not in left, f"The store failed, and DELETE said {seen}."
    with in_place(candidate.app, get, Slow(keys)):
        seen = client.status_of("DELETE", f"{KEYS}/{live['id']}", headers=owner)
        left = [each.id for each in key_store.owned_by("johndoe")]
        assert live["id"] not in left, f"DELETE answered {seen} before the key was revoked."
    made = make_key(client, users)
    go = Meanwhile(keys, 1, partial(keys.revoke, "johndoe", made["id"]))
    with in_place(candidate.app, get, go):
        client.get(PROTECTED, headers=present(made["key"]))
    refuse(client, {"A key revoked during a use": made["key"]})
    made = make_key(client, users)
    with in_place(candidate.app, get, (held := Held(keys, "find"))):
        second = client.run(_ask_while_another_is_asked(client, held, made, owner))
    assert second.status_code in (401, 403), (
        f"DELETE has said 204 while the key was looked up, and a request after it "
        f"gets {second.status_code}."
    )


async def _ask_while_another_is_asked(client: Client, held: Held, made: Any, owner: Any) -> Any:
    """Revoke a key while the store looks it up for one request; then send another one."""
    key = {"headers": present(made["key"])}
    first = asyncio.create_task(client.ask("GET", PROTECTED, **key))
    with suppress(TimeoutError):
        await asyncio.wait_for(held.is_there.wait(), 1)
    await client.ask("DELETE", f"{KEYS}/{made['id']}", headers=owner)
    second = asyncio.create_task(client.ask("GET", PROTECTED, **key))
    for _ in range(20):
        await asyncio.sleep(0)
    held.let_go.set()
    await first
    return await second


@attack
@todo(4, "create_api_key")
@asvs("8.3.3")
def test_a_key_has_no_more_than_its_scopes(
    client: Client, candidate: Any, users: Any, key_store: Any
) -> None:
    """Mallory has a token for `me` and wants `items`: a key must not widen it (CWE-250, CWE-269).

    And a key loses what its owner loses. No role has an exception.
    """
    users.change("carol", scopes=["me", "items", "items:readonly"])
    with twin():
        only_me = {name: make_key(client, users, name, scopes=["me"]) for name in ROLES}
        both = make_key(client, users)
        enter(client, both, ITEMS)
        readonly = ask(
            client, speak_as(users, "carol", "me items:readonly"), scopes=["items:readonly"]
        )
        assert readonly.status_code == 201, f"A narrow key: {readonly.status_code}, not 201."
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
        for name in ROLES if token_scope == "me" else ["johndoe"]:
            before = len(key_store.owned_by(name))
            answer = ask(client, speak_as(users, name, token_scope), scopes=wanted)
            assert answer.status_code in TOO_MUCH, (
                f"{what}: {answer.status_code}, not 403, for the scopes {wanted}."
            )
            kept = len(key_store.owned_by(name)) == before
            assert kept, f"{what}: it was refused, and the key is stored."
    lacking = {f"The key of {name} for `me`": present(only_me[name]["key"]) for name in ROLES}
    lacking |= {f"{name}'s token for `me`": speak_as(users, name, "me") for name in ROLES}
    lacking["A key for items:readonly"] = present(readonly.json()["key"])
    lacking["A token for items:readonly"] = speak_as(users, "carol", "items:readonly")
    for what, headers in (
        ("A token without scopes", speak_as(users, "johndoe", "")),
        ("A token that says nothing of scopes", bearer(token_for(users, "johndoe"))),
        ("An administrator's token for `me`", speak_as(users, "alice", "me")),
        ("A token for both", speak_as(users, "johndoe")),
    ):
        answer = ask(client, headers, scopes=[])
        if answer.status_code == 201:
            lacking[f"{what}: a key without scopes"] = present(answer.json()["key"])
    for what, headers in lacking.items():
        answer = client.get(ITEMS, headers=headers)
        assert answer.status_code == 403, f"{what}: {ITEMS} said {answer.status_code}, not 403."
    wide = speak_as(users, "johndoe")
    for left in (["me", "items:readonly"], []):
        users.change("johndoe", scopes=left)
        watched = Watched(key_store.store)
        with in_place(candidate.app, _get_key_store(), watched):
            for what, headers in {"key": present(both["key"]), "token": wide}.items():
                answer = client.get(ITEMS, headers=headers)
                assert answer.status_code == 403, (
                    f"The owner lost the scope `items`, the {what} has it still: "
                    f"{answer.status_code}."
                )
        _added_nothing(watched, "A use of a key whose owner has lost a scope")
    enter(client, both)


@attack
@todo(4, "create_api_key")
@asvs("8.2.2")
def test_somebody_else_s_key_is_not_there(
    client: Client, candidate: Any, users: Any, key_store: Any
) -> None:
    """Mallory tries ids: to revoke your keys, or to learn which there are (CWE-639, CWE-204).

    Also when many people come at once, each gets what is theirs.
    """
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
        check_headers(answer, what)
        bodies.append(answer.text.replace(made["id"], "..."))
    assert bodies[0] == bodies[1], f"No such key: {bodies[0]}. Not yours: {bodies[1]}."
    for name in ("alice", "carol"):
        answer = revoke(client, users, john, name)
        assert answer.status_code == 404, f"{name} revokes it: {answer.status_code}, not 404."
    enter(client, john)
    for name in ("mallory", "alice", "carol"):
        assert listed(client, users, name) == [], f"{name}'s list shows somebody else's key."
    _try_side_doors(client, users, john)
    answer = ask(client, speak_as(users, "mallory"), owner="johndoe")
    if answer.status_code == 201:
        own_keys = [row["id"] for row in listed(client, users, "mallory")]
        assert answer.json()["id"] in own_keys, "Mallory named johndoe as the owner, and he is it."
    with in_place(candidate.app, _get_key_store(), Failing(key_store.store, "owned_by", times=9)):
        seen = client.status_of("GET", KEYS, headers=speak_as(users, "johndoe"))
        assert seen >= 400, f"The store failed, and the list of keys was answered {seen}."
    _crowd(client, candidate, users, key_store)


def _try_side_doors(client: Client, users: Any, john: Any) -> None:
    """Ask again as mallory, with whatever else the program reads of a request."""
    mallory, contract = {"headers": speak_as(users, "mallory")}, Contract({"authorization"})
    making = mallory | {"json": _wanted()}
    for method, url, send in (
        ("GET", KEYS, mallory),
        ("DELETE", f"{KEYS}/{john['id']}", mallory),
        ("POST", KEYS, making),
    ):
        with reading() as reads:
            client.request(method, url, **send)
        for what, door in side_doors(reads, contract, ["johndoe", "admin", "1", "true"]):
            said = client.request(method, url, **with_door(send, door)).text
            assert john["id"] not in said, f"With {what} mallory lists john's keys."
            theirs = [row["id"] for row in listed(client, users)]
            assert theirs == [john["id"]], f"{method} {url} with {what} changes john's keys."
            if method == "POST":
                _make_as_two(client, users, what, door)


def _make_as_two(client: Client, users: Any, what: str, door: Any) -> None:
    """Make a key as alice and then as mallory, both with the same side door."""
    first, second = (
        client.post(KEYS, **with_door({"headers": speak_as(users, name), "json": _wanted()}, door))
        for name in ("alice", "mallory")
    )
    key = first.json().get("key", NEVER_MADE) if first.status_code == 201 else NEVER_MADE
    assert key not in second.text, f"With {what} mallory is shown the key that alice made."
    kept = texts(sys.modules["solutions.api_keys"])
    assert key not in kept, f"With {what} the program keeps the key."


def _crowd(client: Client, candidate: Any, users: Any, key_store: Any) -> None:
    """Many programs and people at once, with stores that let others run at each step."""
    slow_keys = in_place(candidate.app, _get_key_store(), Slow(key_store.store))
    with slow_keys, in_place(candidate.app, _get_users(), Slow(users.store)):
        made = {name: make_key(client, users, name) for name in ROLES}
        theirs = {f"{name} at {url}": (name, url) for name in ROLES for url in DOORS}
        asked = {
            who: ("GET", url, {"headers": present(made[name]["key"])})
            for who, (name, url) in theirs.items()
        }
        each_gets_theirs(client, asked, _owner_shown, theirs, in_threads=False)
        sends = [{"headers": speak_as(users, name), "json": _wanted()} for name in ROLES]
        answers = client.together("POST", KEYS, sends)
    for name, answer in zip(ROLES, answers, strict=True):
        assert answer.status_code == 201, f"Three keys at once: {answer.status_code}, not 201."
        owner = enter(client, answer.json())["owner"]
        assert owner == name, f"Of three keys made at once {name} was shown {owner}'s."


def _owner_shown(answer: Any) -> tuple[str, str]:
    named = [name for name in ROLES if f'"{name}"' in answer.text]
    return ", ".join(named) or answer.text, answer.request.url.path


@attack
@todo(2, "find_key")
@asvs("8.3.2")
def test_a_key_dies_with_its_owner(
    client: Client, candidate: Any, users: Any, key_store: Any
) -> None:
    """Whoever once had the session made a key, and stays in after the password was changed.

    Dismissed, deleted, deleted and registered anew, password changed: no key outlives it (CWE-613).
    """
    ends = {
        "password": lambda name: users.change(name, hashed_password="another"),
        "disabled": lambda name: users.change(name, disabled=True),
        "enabled": lambda name: [users.change(name, disabled=each) for each in (True, False)],
        "deleted": users.remove,
        "anew": lambda name: [users.remove(name), add_person(users, name)],
    }
    everybody = [f"{end}-{role}" for end in ("password", "disabled") for role in ROLES.values()]
    people = [*everybody, "enabled-superadmin", "deleted-admin", "anew-user"]
    for name in people:
        add_person(users, name, role=name.partition("-")[2])
    with twin():
        keys = {name: make_key(client, users, name) for name in (*people, "carol")}
        for name in ("carol", "password-user", "disabled-admin"):
            enter(client, keys[name])
    for name in people:
        ends[name.partition("-")[0]](name)
    dead = {f"The key of {name}": keys[name]["key"] for name in people}
    with in_place(candidate.app, _get_key_store(), (watched := Watched(key_store.store))):
        refuse(client, dead)
    _added_nothing(watched, "A use of a dead key")
    refuse(client, {what: dead[what] for what in list(dead)[::2]}, ITEMS)
    for name in ("anew-user", "password-admin"):
        rows = listed(client, users, name)
        assert rows == [], f"The list of {name} still shows what died, or was another's."
    enter(client, keys["carol"])
    _owner_cannot_be_read(client, candidate, users, keys["carol"])
    _password_changes_meanwhile(client, candidate, users, key_store)


def _password_changes_meanwhile(client: Client, candidate: Any, users: Any, key_store: Any) -> None:
    """Change a password after each look of yours, while its owner, or mallory, makes a key."""
    for store, get, call in (
        (users.store, _get_users(), 1),
        (users.store, _get_users(), 2),
        (key_store.store, _get_key_store(), 1),
    ):
        alice, before = speak_as(users, "alice"), users.get("alice").security_stamp
        change = partial(users.store.change, "alice", hashed_password="another")
        go = Meanwhile(store, call, change)
        with in_place(candidate.app, get, go):
            answer = ask(client, alice)
        if answer.status_code == 201 and users.get("alice").security_stamp != before:
            refuse(client, {"A key made while the password changed": answer.json()["key"]})


def _owner_cannot_be_read(client: Client, candidate: Any, users: Any, made: Any) -> None:
    for url, error in product(DOORS, (None, TimeoutError("The store is slow."))):
        failing = Failing(users.store, "get", error, times=9)
        with in_place(candidate.app, _get_users(), failing):
            seen = client.status_of("GET", url, headers=present(made["key"]))
            assert seen >= 400, f"The owner could not be looked up, and {url} answered {seen}."


@attack
@todo(3, "get_api_key")
def test_a_key_in_the_address_opens_nothing(client: Client, users: Any) -> None:
    """Addresses stand in logs and histories, and logs are read by many (ASVS 14.2.1, CWE-598).

    A cookie would let any web page use the key. Only the header X-API-Key counts.
    """
    with twin():
        made = make_key(client, users)
        enter(client, made)
        enter(client, made, ITEMS)
    key, contract = made["key"], Contract({"x-api-key", "authorization"})
    basic = [base64.b64encode(each.encode()).decode() for each in (f"{key}:", f"x:{key}")]
    schemes = ("Bearer ", "ApiKey ", "APIKey ", "Api-Key ", "Token ", "")
    credentials = [f"{scheme}{key}" for scheme in schemes] + [f"Basic {each}" for each in basic]
    in_body = {"content": json.dumps({"api_key": key}), "headers": JSON}
    for url in DOORS:
        with reading() as reads:
            nothing = without_credentials(client, "No key", url)
            bad = client.get(url, headers=present(NEVER_MADE))
        for name in ("api_key", "key"):
            without_credentials(client, f"?{name}=<key>", url, params={name: key})
            without_credentials(client, "A cookie", url, headers={"Cookie": f"{name}={key}"})
        without_credentials(client, "The key in a body", url, **in_body)
        for value in credentials:
            scheme = value.partition(" ")[0].replace(key, "")
            without_credentials(
                client, f"Authorization: {scheme} <key>", url, headers={"Authorization": value}
            )
        for what, door in side_doors(reads, contract, [key, "johndoe", "1", "true"]):
            what = what.replace(key[:12], "<key>")
            for send, usual in (({}, nothing), ({"headers": present(NEVER_MADE)}, bad)):
                how = differs(usual, client.get(url, **with_door(send, door)))
                assert how is None, f"With {what} the refusal of {url} differs: {how}"


@attack
@todo(3, "get_api_key")
def test_the_key_is_in_no_log(
    client: Client, users: Any, candidate: Any, key_store: Any, capfd: Any
) -> None:
    """Logs are kept for years and read by many (ASVS 16.2.5, CWE-532).

    Nor does an answer repeat what was pasted in the wrong field (CWE-209).
    """
    with listening(capfd) as trap, outside() as reached:
        with twin():
            made = [make_key(client, users) for _ in range(3)]
            for each in made:
                enter(client, each)
                enter(client, each, ITEMS)
        for each in made:
            key, wrong = present(each["key"]), present(each["key"][:-1])
            quoted = present(f"\u201c{each['key']}\u201d".encode()), present(each["key"] + "\u00a0")
            for url in DOORS:
                for headers in (wrong, *quoted):
                    client.get(url, headers=headers)
            client.get(ITEMS, headers=key | speak_as(users, "johndoe"))
        pasted = {"name": made[0]["key"], "scopes": []}
        answer = client.post(KEYS, headers=speak_as(users, "johndoe"), json=pasted)
        client.post(KEYS, headers=present(made[0]["key"]))
        listed(client, users)
        revoke(client, users, made[0])
        client.get(PROTECTED, headers=present(made[0]["key"]))
        with in_place(candidate.app, _get_key_store(), Failing(key_store.store, "find")):
            client.status_of("GET", PROTECTED, headers=present(made[1]["key"]))
    assert not reached, f"The program reaches outside: {reached[0]}."
    trap.refuse({f"hidden part of key {at}": hidden(each) for at, each in enumerate(made, 1)})
    assert answer.status_code == 422, f"Without an end: {answer.status_code}, not 422."
    assert made[0]["key"] not in answer.text, "The 422 repeats the key that was pasted."
    written = "\n".join(text for _, text in trap.pieces)
    short = min(len(hidden(each)) for each in made) - 3
    for place in range(-4, -short, -1):
        ends = [each["key"][place:][:4] for each in made]
        assert not all(each in written for each in ends), (
            f"Four letters of each key, {-place} before its end, are in the log."
        )


@attack
@todo(4, "create_api_key")
@asvs("7.2.2")
def test_one_credential_at_a_time(client: Client, users: Any, candidate: Any) -> None:
    """A stolen key that makes keys, or new passwords, is never got rid of (CWE-269).

    And if the token counts where the key fails, a bad key goes unnoticed (RFC 6750 section 2). The
    second door needs the first one's lock: forty tokens of mallory's, all refused.
    """
    token = speak_as(users, "johndoe")
    with twin():
        made = make_key(client, users)
        key = present(made["key"])
        enter(client, made, ITEMS)
        answer = client.get(ITEMS, headers=token)
        assert answer.status_code == 200, f"A good token: {answer.status_code}, not 200."
    routes = set(served(candidate.app)) - PUBLIC - {("GET", url) for url in DOORS}
    surplus = routes - FOR_TOKENS
    assert not surplus, f"Nobody asked for {' '.join(sorted(surplus)[0])}."
    for path in texts_in(sys.modules["solutions.api_keys"]):
        if path.startswith("/") and path not in {known for _, known in routes | PUBLIC}:
            answer = client.get(path, headers=token)
            assert answer.status_code == 404, f"GET {path}, no route: {answer.status_code}."
    body = {"current_password": "secret", "new_password": "bassoon and nine"} | _wanted()
    for method, path in sorted(routes):
        url = path.format(key_id=made["id"], username="johndoe")
        answer = client.request(method, url, headers=key, json=body)
        assert answer.status_code == 401, f"A key, {method} {path}: {answer.status_code}, not 401."
    for text in (made["key"], hidden(made)):
        answer = client.get("/users/me", headers=bearer(text))
        assert answer.status_code == 401, f"The key as a token: {answer.status_code}, not 401."
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
    twice = [("X-API-Key", NEVER_MADE), ("X-API-Key", made["key"])]
    for lines in (twice, twice[::-1]):
        for url in DOORS:
            answer = client.get(url, headers=lines)
            assert answer.status_code in CONFUSED, f"Two keys on {url}: {answer.status_code}."
    _refuse_bad_tokens(client, users)


def _refuse_bad_tokens(client: Client, users: Any) -> None:
    good, alice = token_for(users, "johndoe", scope="me items"), speak_as(users, "alice")
    with twin():
        answer = client.get(ITEMS, headers=alice)
        assert answer.status_code == 200, f"A good token: {answer.status_code}, not 200."
    hostile = refuse_hostile_tokens(client, ITEMS, good)
    refuse_hostile_passwords(client)
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
