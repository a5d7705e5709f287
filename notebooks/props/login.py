"""Who is listened to in demo 03, the stopwatch and the spy, the storm, and the two pictures."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any
from unittest.mock import MagicMock, patch

import bcrypt
import httpx2

from stage import BAD, CALM, GOOD, GREY, THIRD, Server, Visitor, plt, show_figure

NAMES = ("aaron", "alice", "bob", "dave", "johndoe", "peggy")
SERVERS = {
    "async def": "notebooks.slow_apps:inline",  # breakable on purpose
    "plain def": "notebooks.slow_apps:threads",  # breakable on purpose
    "the repair": "solutions.oauth2:app",
}
WINDOWS, RATE, CALM_SECONDS, SECONDS = 12, 40, 0.3, 1.8
ME = {"username": "mallory", "password": "trombone + 7 plums"}


@dataclass(frozen=True)
class Heard:
    """What one wrong login gave away. The hashes are ours: mallory cannot see them."""

    milliseconds: float
    answer: tuple[int, bytes, str]
    hashes: int
    costs: frozenset[bytes]  # such as $2b$10$


@contextmanager
def spy_on_bcrypt() -> Iterator[MagicMock]:
    """Count bcrypt's hashes in this process."""
    with patch.object(bcrypt, "hashpw", wraps=bcrypt.hashpw) as spy:
        yield spy


def time_login(visitor: Visitor, name: str) -> Heard:
    """Try a name with a wrong password."""
    form = {"username": name, "password": "a wild guess"}
    with spy_on_bcrypt() as spy:
        began = time.perf_counter()
        answer = visitor.http.post("/token", data=form)
        took = (time.perf_counter() - began) * 1000
    costs = frozenset(bytes(call.args[1])[:7] for call in spy.call_args_list)
    said = answer.status_code, answer.content, str(answer.headers)
    return Heard(took, said, spy.call_count, costs)


def print_by_time(heard: dict[str, list[Heard]]) -> None:
    """Print the names, the slowest first: the median time, and what our spy counted."""
    medians = {name: median(each.milliseconds for each in heard[name]) for name in heard}
    slowest = max(medians.values())
    for name in sorted(medians, key=medians.__getitem__, reverse=True):
        counted = ", ".join(str(count) for count in {each.hashes for each in heard[name]})
        bar = "#" * round(30 * medians[name] / slowest)
        print(f"{name:<8} {medians[name]:>4.0f} ms  {bar:30}  hashes: {counted}")


def draw_times(
    people: set[str], tutorial: dict[str, list[Heard]], repair: dict[str, list[Heard]]
) -> None:
    """Draw the times of names without an account and with one, at both apps."""

    def times(heard: dict[str, list[Heard]], here: bool) -> list[float]:
        chosen = [name for name in NAMES if (name in people) == here]
        return [each.milliseconds for name in chosen for each in heard[name]]

    top = 1.9 * max(median(times(tutorial, True)), median(times(repair, True)))
    bins = [top * number / 30 for number in range(31)]
    figure, axes = plt.subplots(2, sharex=True, sharey=True, figsize=(10, 4.8))
    for ax, heard, title in zip(
        axes, (tutorial, repair), ("THE TUTORIAL", "THE REPAIR"), strict=True
    ):
        for here, look in (
            (False, {"color": CALM, "label": "no account"}),
            (True, {"color": THIRD, "hatch": "///", "label": "an account"}),
        ):
            shown = [min(each, top) for each in times(heard, here)]
            ax.hist(shown, bins, alpha=0.7, edgecolor="black", **look)
        ax.text(top, ax.get_ylim()[1] * 0.9, title, ha="right", va="top")
        ax.set_ylabel("logins")
    axes[0].legend(loc="upper center")
    axes[1].set_xlabel("milliseconds until the refusal (measured on this machine)")
    axes[0].set_title("A login that stops early is a list of accounts")
    show_figure(figure)


async def measure_storm() -> dict[str, list[float]]:
    """Return what small requests wait at three servers, while mallory logs in again and again."""
    waits = {}
    for name, app in SERVERS.items():
        server = Server(app)
        waits[name] = await _measure(server.address)
        server.stop()
    return waits


async def _measure(address: str) -> list[float]:
    """Return what each small request waited, in milliseconds.

    Each is sent when its time has come, whether or not earlier ones were answered: a server that
    stands still cannot hide it.
    """
    options: dict[str, Any] = {"base_url": address, "trust_env": False, "timeout": 60}
    async with httpx2.AsyncClient(**options) as http:
        (await http.post("/register", json=ME)).raise_for_status()
        token = (await http.post("/token", data=ME)).json()["access_token"]
        http.headers["Authorization"] = f"Bearer {token}"
        await http.get("/users/me")
        windows = [asyncio.create_task(_keep_logging_in(http)) for _ in range(WINDOWS)]
        waits = await asyncio.gather(*(_ask(http, pause) for pause in _pauses()))
        assert not any(each.done() for each in windows)  # none gave up
        for each in windows:
            each.cancel()
        await asyncio.gather(*windows, return_exceptions=True)
    return waits


def _pauses() -> list[float]:
    return [number / RATE for number in range(int(RATE * SECONDS))]


async def _keep_logging_in(http: httpx2.AsyncClient) -> None:
    await asyncio.sleep(CALM_SECONDS)
    while True:
        (await http.post("/token", data=ME)).raise_for_status()


async def _ask(http: httpx2.AsyncClient, pause: float) -> float:
    await asyncio.sleep(pause)
    began = time.perf_counter()
    (await http.get("/users/me")).raise_for_status()
    return (time.perf_counter() - began) * 1000


def draw_storm(waits: dict[str, list[float]]) -> None:
    """Draw what each small request waited, and the medians at the right."""
    figure, ax = plt.subplots(figsize=(10, 4))
    spot = 0.0
    for name, colour, marker in (
        ("the repair", GOOD, "^"),
        ("plain def", THIRD, "s"),
        ("async def", BAD, "o"),
    ):
        look: dict[str, Any] = {"color": colour, "marker": marker, "clip_on": False}
        ax.plot(_pauses(), waits[name], markersize=5, linewidth=1.5, **look)
        typical = median(waits[name][round(RATE * CALM_SECONDS) :])
        spot = max(typical, 5 * spot)  # so that no label covers another
        ax.plot(SECONDS + 0.07, typical, **look)
        ax.text(SECONDS + 0.12, spot, f"{name}:\n{typical:,.0f} ms", va="center")
    ax.axvline(CALM_SECONDS, color=GREY, linestyle=":")
    ax.text(CALM_SECONDS, 9000, " the logins begin", va="top")
    ax.set(xlim=(0, SECONDS), ylim=(0.8, 10_000), yscale="log")
    ax.set_xticks([0, 0.5, 1, 1.5])
    ax.set_yticks([1, 10, 100, 1000], ["1", "10", "100", "1,000"])
    ax.set_xlabel("seconds (measured on this machine; at the right, medians)")
    ax.set_ylabel("wait in ms, log scale")
    ax.set_title("Hash in a worker thread, and few at once")
    show_figure(figure)
