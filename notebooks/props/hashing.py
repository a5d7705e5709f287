"""Four people and a word list for demo 01, a stopwatch, and its two pictures."""

import hashlib
import time
import timeit
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import argon2
import bcrypt
import httpx2
from pydantic import BaseModel

from solutions.stores.users import open_user_store
from solutions.support.passwords import refuse_weak_password
from stage import BAD, CALM, GOOD, GREY, ROOT, Visitor, plt, show_figure

WORDS = (ROOT / "solutions/support/common_passwords.txt").read_text("utf-8").split()
PEOPLE = {
    "erin": "trombone + 7 plums",
    "frank": "iloveyou",
    "grace": "q1w2e3r4t5",
    "heidi": "q1w2e3r4t5",
}
SECOND_CHOICE = {
    "frank": "seven quiet tubas",
    "grace": "we share one desk",
    "heidi": "we share one desk",
}
MEMORY = 64  # MiB for one hash of argon2id


class SignUp(BaseModel):
    """What a new user sends."""

    username: str
    password: str


def sign_up(visitor: Visitor, people: dict[str, str]) -> list[int]:
    """Register people. Print and return the statuses."""
    statuses = []
    for name, password in people.items():
        new = {"username": name, "password": password}
        answer = visitor.http.post("/register", json=new)
        print(f"{name:6} signs up with {password!r}: {answer.status_code}")
        statuses.append(answer.status_code)
    return statuses


def log_in(visitor: Visitor, name: str, password: str) -> httpx2.Response:
    """Log in, and print how it went."""
    form = {"username": name, "password": password}
    answer = visitor.http.post("/token", data=form)
    print(f"{name:6} logs in with {password!r}: {answer.status_code}")
    return answer


def print_table(table: dict[str, str]) -> None:
    """Print who has which hash."""
    for name, stored in table.items():
        print(f"{name:6} {stored[:60]}{'...' if len(stored) > 60 else ''}")


async def copy_table(names: Iterable[str]) -> dict[str, str]:
    """Return the hashes of these people, as the workbook stores them."""
    store = open_user_store()
    return {name: (await store.get(name)).hashed_password for name in names}


def may_sign_up(password: str) -> bool:
    """Tell whether sign-up takes this password."""
    try:
        refuse_weak_password(password)
    except ValueError:
        return False
    return True


@contextmanager
def stopwatch(guesses: int) -> Iterator[None]:
    """Print how long a number of guesses takes, and all of the list for four people."""
    start = time.perf_counter()
    yield
    each = (time.perf_counter() - start) / guesses
    every = len(WORDS) * len(PEOPLE)
    print(f"{guesses:,} guesses, {each * 1000:.3g} ms each; all {every:,}: {each * every:,.2f} s")


def seconds(work: Callable[[], object], repeat: int = 2) -> float:
    """Return how long the work takes, the best of a few times."""
    return min(timeit.repeat(work, number=1, repeat=repeat))


def measure_costs() -> dict[int, float]:
    """Return the milliseconds of one bcrypt hash, for each cost."""

    def measure(cost: int) -> float:
        salt = bcrypt.gensalt(cost)
        return seconds(lambda: bcrypt.hashpw(b"trombone + 7 plums", salt), 1 if cost > 12 else 2)

    return {cost: measure(cost) * 1000 for cost in range(4, 14)}


def draw_costs(took: dict[int, float], budget: int) -> None:
    """Draw what a login waits at each cost, and the highest cost within the budget."""
    best = max((cost for cost in took if took[cost] < budget), default=4)
    figure, ax = plt.subplots()
    ax.plot(took.keys(), took.values(), marker="o", color=GREY)
    ax.plot(best, took[best], marker="o", markersize=18, color=GOOD)
    ax.annotate(
        f"cost {best}: {took[best]:.0f} ms a login",
        (best, took[best]),
        (10.4, 4),
        ha="center",
        color=GOOD,
        weight="bold",
        arrowprops={"arrowstyle": "->", "color": GOOD, "shrinkB": 12},
    )
    ax.axhline(budget, color=GREY, linestyle="--")
    ax.text(4, budget * 1.25, f"our budget: {budget} ms", color=GREY)
    ax.set(yscale="log", ylim=(0.5, 2000), xticks=list(took))
    ax.set_yticks([1, 10, 100, 1000], ["1", "10", "100", "1,000"])
    ax.set(xlabel="bcrypt's cost (measured on this machine)", ylabel="ms (log scale)")
    ax.set_title("One step of cost more, and each guess costs double")
    show_figure(figure)


def draw_guesses() -> None:
    """Draw one core's guesses a second: of a quick hash, and of two at the same wait for a login.

    argon2id gets as many passes as fit into the time of bcrypt at cost 12. So the two bars are
    equal as nearly as a whole number of passes allows, and what differs is the memory.
    """
    word, salt = b"trombone + 7 plums", bcrypt.gensalt(12)
    wait = seconds(lambda: bcrypt.hashpw(word, salt))

    def argon(passes: int) -> argon2.PasswordHasher:
        return argon2.PasswordHasher(passes, MEMORY * 1024, parallelism=1)

    one = seconds(lambda: argon(1).hash(word))
    two = seconds(lambda: argon(2).hash(word))
    hasher = argon(max(1, round(1 + (wait - one) / max(two - one, one / 10))))
    waits = {
        "SHA-256": seconds(lambda: [hashlib.sha256(word).digest() for _ in range(20_000)]) / 20_000,
        "bcrypt\ncost 12": wait,
        f"argon2id\n{MEMORY} MiB": seconds(lambda: hasher.hash(word)),
    }
    figure, ax = plt.subplots()
    rates = [1 / each for each in waits.values()]
    bars = ax.barh(
        list(waits),
        rates,
        color=[BAD, GOOD, CALM],
        hatch=["", "//", "//"],
        edgecolor="white",
    )
    says = [
        f"{round(rates[0], -5):,.0f}",
        f"{rates[1]:.0f}   (a login waits {wait * 1000:.0f} ms)",
        f"{rates[2]:.0f}   (a login waits as long, and each guess fills {MEMORY} MiB)",
    ]
    ax.bar_label(bars, says, padding=6)
    ax.invert_yaxis()
    ax.set(xscale="log", xlim=(1, 50_000_000))
    ax.set_xticks([1, 1000, 1_000_000], ["1", "1,000", "1,000,000"])
    ax.set_xlabel("guesses a second, one core (log scale, measured on this machine)")
    ax.set_title("The same wait at a login is the same price for a guess")
    show_figure(figure)
