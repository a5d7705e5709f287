"""The program and the thief of demo 07, and what a look-up costs."""

import random
import re
import string
import time
from statistics import median
from timeit import repeat
from typing import Any

import bcrypt
from matplotlib.axes import Axes
from pydantic import BaseModel

from lessons.harness.people import bearer
from onstage import ServerHere
from solutions.api_keys import draw_key
from solutions.stores.api_keys import MemoryKeyStore, open_key_store
from solutions.stores.users import User, open_user_store
from solutions.support.digests import digest_of
from solutions.support.key_forms import KeyRequest, record_of
from stage import BAD, GOOD, GREY, plt, show_figure

WISH = {"name": "nightly", "scopes": ["items:read"], "expires_in_days": 30}
COUNTS = [1, 10, 100, 1_000, 10_000]


class NewItem(BaseModel):
    """What is written."""

    item_id: str


def draw_weak_key() -> str:
    """Draw a key as tutorials do."""
    letters = string.ascii_lowercase + string.digits
    return "".join(random.choices(letters, k=12))  # noqa: S311 - as tutorials do


def words_of(loot: str) -> list[str]:
    """Return every word that is long enough to be a key."""
    return list(dict.fromkeys(re.findall(r"[\w-]{12,}", loot)))


async def let_alice_in(server: ServerHere) -> dict[str, Any]:
    """Return the header of alice's login. Her account may read and write items."""
    await open_user_store().change("alice", scopes=["items:read", "items:write"])
    form = {"username": "alice", "password": "secretalice"}
    token = server.visitor.http.post("/token", data=form).json()["access_token"]
    return bearer(token)


async def table_of_keys() -> list[dict[str, Any]]:
    """Return alice's rows in the table of keys, and print what is in them."""
    rows = [vars(key) for key in await open_key_store().owned_by("alice")]
    for row in rows:
        print("owner", row["owner"], " scopes", row["scopes"], " prefix", row["prefix"])
        print("digest", row["digest"][:48] + "...")
    return rows


async def draw_look_ups() -> None:
    """Measure and draw what one wrong key costs: looked up by its digest, and tried with bcrypt.

    One hash of cost 12 is measured, the rest is computed: its time, times the number of keys.
    """
    wrong = draw_key()
    by_digest = [await _look_up(await _table_of(count), wrong) for count in COUNTS]
    hashed = bcrypt.hashpw(draw_key().encode(), bcrypt.gensalt(12))
    one = min(repeat(lambda: bcrypt.checkpw(wrong.encode(), hashed), number=1, repeat=3))
    figure, ax = plt.subplots()
    ax.loglog()
    _draw(ax, [one], "bcrypt, cost 12", color=BAD, marker="D")
    _draw(ax, by_digest, "digest", color=GOOD, marker="o")
    ax.axhline(0.1, 0, 0.75, color=GREY, linestyle=":")
    ax.text(16_000, 0.1, "a request's budget:\n0.1 s, we assume", va="center")
    ax.text(60, 4e-5, "filled: measured on this machine\nhollow: computed, cost x n", va="center")
    ax.set_xticks(COUNTS, [f"{count:,}" for count in COUNTS])
    ax.set_yticks(
        [1e-6, 1e-3, 1, 60, 3600],
        ["1 microsecond", "1 millisecond", "1 second", "1 minute", "1 hour"],
    )
    ax.minorticks_off()
    ax.set_ylim(bottom=3e-7)
    ax.set(xlim=(0.7, 400_000), xlabel="keys in the table", ylabel="time to refuse\none wrong key")
    ax.set_title("A digest is looked up once, bcrypt tries every key")
    show_figure(figure)


async def _table_of(count: int) -> MemoryKeyStore:
    store, owner, wanted = MemoryKeyStore(), User(username="alice"), KeyRequest(**WISH)
    for _ in range(count):
        await store.add(record_of(draw_key(), wanted, owner))
    return store


async def _look_up(store: MemoryKeyStore, wrong: str) -> float:
    times = []
    for _ in range(1_000):
        start = time.perf_counter()
        assert await store.find(digest_of(wrong)) is None
        times.append(time.perf_counter() - start)
    return median(times)


def _draw(ax: Axes, measured: list[float], text: str, **look: str) -> None:
    known = len(measured)
    one_key = measured[-1] / COUNTS[known - 1]
    times = measured + [one_key * count for count in COUNTS[known:]]
    ax.plot(COUNTS, times, "--" if known < len(COUNTS) else "-", color=look["color"])
    ax.plot(COUNTS[known:], times[known:], linestyle="", mfc="white", **look)
    ax.plot(COUNTS[:known], measured, linestyle="", **look)
    ax.text(16_000, times[-1], text, va="center", weight="bold")
