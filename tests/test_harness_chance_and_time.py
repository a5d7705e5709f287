"""What the tools for randomness, near misses and time tell of right and wrong code."""


# What is right in one zone only is what these tests look at.
# ruff: noqa: DTZ001, DTZ005, DTZ006

import base64
import hashlib
import itertools
import os
import random
import secrets
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import bcrypt
import pytest

from lessons.harness.clock import FAR_EAST, FAR_WEST, SUMMER, at, later, zone
from lessons.harness.near_misses import flips
from lessons.harness.randomness import bits_of, bytes_drawn, bytes_that_count, draws_again

LETTERS = "abcdefghijklmnopqrstuvwxyz"
counter = itertools.count()


def chosen() -> str:
    return "".join(secrets.choice(LETTERS) for _ in range(32))


def in_a_thread() -> str:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(secrets.token_hex).result()


def short() -> str:
    return secrets.token_bytes(32)[:4].hex()


def squeezed() -> str:
    return hashlib.sha256(secrets.token_bytes(32)[:3]).hexdigest()


def thrown_away() -> str:
    secrets.token_bytes(32)
    return hashlib.sha256(b"what is stored").hexdigest()


GOOD: dict[str, tuple[Callable[[], Any], int]] = {
    "token_urlsafe": (secrets.token_urlsafe, 32),
    "token_hex": (lambda: secrets.token_hex(16), 16),
    "urandom": (lambda: os.urandom(24).hex(), 24),
    "SystemRandom": (lambda: random.SystemRandom().getrandbits(128), 16),
    "uuid4": (lambda: str(uuid.uuid4()), 16),
    "gensalt": (lambda: bcrypt.gensalt(4), 16),
    "a thread": (in_a_thread, 32),
}
BAD: dict[str, Callable[[], Any]] = {
    "randbytes": lambda: random.randbytes(32).hex(),
    "choice": lambda: "".join(random.choice(LETTERS) for _ in range(32)),
    "the clock": lambda: hashlib.sha256(str(time.time()).encode()).hexdigest(),
    "local time": lambda: datetime.now().isoformat(),
    "what is stored": lambda: hashlib.sha256(b"what is stored").hexdigest(),
}


@pytest.mark.parametrize("name", GOOD)
def test_true_randomness_is_counted(name: str) -> None:
    draw, size = GOOD[name]
    assert bytes_drawn(draw) == size
    assert bytes_that_count(draw) == size
    assert not draws_again(draw)


@pytest.mark.parametrize("name", BAD)
def test_what_only_looks_random_is_none(name: str) -> None:
    assert bytes_drawn(BAD[name]) == 0
    assert draws_again(BAD[name])


def test_a_choice_of_letters_draws_and_counts() -> None:
    assert bytes_drawn(chosen) >= 32
    assert bytes_that_count(chosen) >= 20  # a byte that was rejected twice may not count


@pytest.mark.parametrize(("draw", "used"), [(short, 4), (squeezed, 3), (thrown_away, 0)])
def test_what_is_drawn_and_not_used_does_not_count(draw: Callable[[], str], used: int) -> None:
    assert bytes_drawn(draw) == 32
    assert bytes_that_count(draw) == used


def test_a_counter_cannot_be_played_again() -> None:
    assert bytes_that_count(lambda: next(counter)) == 0


def test_sources_are_put_back() -> None:
    before = os.urandom, random._urandom
    bytes_drawn(secrets.token_hex)
    assert (os.urandom, random._urandom) == before
    state = random.getstate()
    draws_again(random.random)
    assert random.getstate() == state


def test_bits_are_counted_by_places() -> None:
    def bits(draw: Callable[[], str]) -> float:
        return bits_of([draw() for _ in range(128)])

    assert 250 < bits(lambda: secrets.token_urlsafe(32)) <= 258.1
    assert bits(lambda: secrets.token_hex(16)) == 128
    assert 120 <= bits(lambda: str(uuid.uuid4())) <= 122
    assert bits(lambda: secrets.token_hex(4) * 8) == 32
    assert bits(lambda: "faw_" + "x" * 40) == 0
    assert bits(lambda: secrets.token_hex(4) + "0" * 56) == 32


@pytest.mark.parametrize(
    "secret",
    [secrets.token_urlsafe(32), secrets.token_hex(16), "faw_0aZ-", str(uuid.uuid4()), "\u00e9=+/"],
    ids=["base64url", "hex", "prefix", "uuid", "other letters"],
)
def test_near_misses_are_near_and_miss(secret: str) -> None:
    near = flips(secret)
    assert secret not in near.values() and "" not in near.values()
    for place in range(len(secret)):
        changed = near[f"its letter {place + 1} changed"]
        differing = [one != other for one, other in zip(secret, changed, strict=True)]
        assert [at for at, differs in enumerate(differing) if differs] == [place]
    assert all(name.isascii() for name in near)


def test_near_misses_catch_what_compares_too_little() -> None:
    good = base64.urlsafe_b64encode(bytes(range(32))).decode().rstrip("=")
    bytes_of = base64.urlsafe_b64decode

    def lenient(text: str) -> bytes:
        try:
            return bytes_of(text + "=" * (-len(text) % 4))
        except ValueError:
            return b""

    wrong: dict[str, Callable[[str], bool]] = {
        "its start": lambda sent: sent[:30] == good[:30],
        "without blanks": lambda sent: sent.strip() == good,
        "in any case": lambda sent: sent.lower() == good.lower(),
        "its bytes": lambda sent: lenient(sent) == lenient(good),
        "up to a NUL": lambda sent: sent.partition("\0")[0] == good,
        "in it": lambda sent: good in sent,
        "a part": lambda sent: sent in good,
    }
    for name, opens in wrong.items():
        assert [each for each in flips(good).values() if opens(each)], name
    near_ends = [each for name, each in flips(good).items() if name.startswith("its last letter")]
    assert len(near_ends) == 3 and all(lenient(each) == lenient(good) for each in near_ends)


# --- time -----------------------------------------------------------------------------------


def test_the_clock_moves_everywhere() -> None:
    began = datetime.now(UTC)
    with later(timedelta(days=3)):
        assert timedelta(days=3) <= datetime.now(UTC) - began < timedelta(days=3, minutes=1)
        with later(timedelta(days=-1)), ThreadPoolExecutor(1) as pool:
            in_thread = pool.submit(lambda: datetime.now(UTC)).result()
        assert timedelta(days=2) <= in_thread - began < timedelta(days=2, minutes=1)
    assert datetime.now(UTC) - began < timedelta(minutes=1)


def test_a_moment_is_the_same_in_each_zone() -> None:
    moment = datetime(2030, 6, 1, 12, tzinfo=timezone(timedelta(hours=5)))
    with zone(FAR_WEST), at(moment, stands=True):
        assert datetime.now(UTC) == moment
        if hasattr(time, "tzset"):
            assert datetime.now() == datetime(2030, 5, 31, 19)
    with pytest.raises(ValueError, match="zone"):
        at(datetime(2030, 6, 1))


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="this system cannot change its zone")
@pytest.mark.parametrize("name", [FAR_WEST, FAR_EAST])
def test_local_time_shows_in_a_far_zone(name: str) -> None:
    before = os.environ.get("TZ"), time.localtime(0)
    with zone(name), later(timedelta(days=1)):
        apart = datetime.now() - datetime.now(UTC).replace(tzinfo=None)
        assert abs(apart) > timedelta(hours=11)
        with zone(FAR_EAST), ThreadPoolExecutor(1) as pool:
            assert pool.submit(time.localtime, 0).result().tm_hour == 14
        assert (datetime.fromtimestamp(0) > datetime(1970, 1, 1)) is (name == FAR_EAST)
    assert (os.environ.get("TZ"), time.localtime(0)) == before


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="this system cannot change its zone")
def test_in_autumn_an_hour_comes_twice() -> None:
    end_of_summer = datetime(2030, 10, 27, 1, tzinfo=UTC)
    with zone(SUMMER):
        with at(end_of_summer - timedelta(minutes=10), stands=True):
            before = datetime.now()
        with at(end_of_summer + timedelta(minutes=10), stands=True):
            assert datetime.now() < before
