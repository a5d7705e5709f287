"""People who log in, refresh and log out all the time, and write down what they were told."""

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx

from tests.cluster import PASSWORD, Cluster, from_somewhere
from tests.processes import PATIENCE

ANSWERED = 5  # seconds, also when nothing else answers
GONE = -1  # instead of a status: the connection broke, and nobody knows what was done


@dataclass
class Ledger:
    """What has been answered. It must hold for ever."""

    alive: list[str] = field(default_factory=list)  # refresh tokens that have been given out
    dead: list[str] = field(default_factory=list)  # those that have been used or revoked
    names: list[str] = field(default_factory=list)  # people who have registered
    answers: Counter[tuple[str, int]] = field(default_factory=Counter)
    slowest: dict[bool, float] = field(default_factory=lambda: {True: 0.0, False: 0.0})
    odd: list[str] = field(default_factory=list)  # what nobody may answer
    warm_up: float = 0.0  # seconds until everybody had done everything, when nothing was wrong

    def count(self, *statuses: int, what: str = "") -> int:
        """Return how many answers there were of these statuses, to any question or to one."""
        return sum(
            number
            for (kind, status), number in self.answers.items()
            if status in statuses and what in ("", kind)
        )

    def answered_in_time(self) -> bool:
        """Tell whether nobody was refused late. How busy the machine is, a good answer shows."""
        return self.slowest[False] < ANSWERED + self.slowest[True]

    async def has(self, condition: Callable[[], bool], seconds: float = PATIENCE) -> None:
        """Wait until something has been seen."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"It does not happen: {self.answers}"
            await asyncio.sleep(0.02)


async def _ask(ledger: Ledger, what: str, call: Awaitable[httpx.Response]) -> httpx.Response | None:
    """Return a good answer. None where nobody can say what was done, and that is written down."""
    began = time.monotonic()
    try:
        answer = await call
    except httpx.TransportError:
        ledger.answers[what, GONE] += 1
        return None
    is_good = answer.status_code < 400
    ledger.slowest[is_good] = max(ledger.slowest[is_good], time.monotonic() - began)
    ledger.answers[what, answer.status_code] += 1
    if is_good:
        return answer
    if answer.status_code != 503 or "retry-after" not in answer.headers:
        ledger.odd.append(f"{what}: {answer.status_code} {answer.text} {dict(answer.headers)}")
    await asyncio.sleep(0.05)  # whoever is told to wait does so
    return None


async def _one_person(cluster: Cluster, ledger: Ledger, is_over: asyncio.Event) -> None:
    """Register, come and go, and register again. Who cannot register still has the last name."""
    name = ""
    async with cluster.client() as client:
        while not is_over.is_set():
            wanted = f"erin-{secrets.token_hex(6)}"
            body = {"username": wanted, "password": PASSWORD}
            if await _ask(ledger, "register", client.post("/register", json=body)):
                ledger.names.append(wanted)
                name = wanted
            for turn in range(2 if name else 0):
                client.headers.update(from_somewhere())
                await _one_session(client, ledger, name, turn)


async def _one_session(client: httpx.AsyncClient, ledger: Ledger, name: str, turn: int) -> None:
    """Log in, refresh some times, and log out or not."""
    form = {"username": name, "password": PASSWORD}
    answer = await _ask(ledger, "login", client.post("/token", data=form))
    for _ in range(4):
        if answer is None:
            return
        token = answer.json()["refresh_token"]
        form = {"grant_type": "refresh_token", "refresh_token": token}
        answer = await _ask(ledger, "refresh", client.post("/token", data=form))
        if answer:
            ledger.dead.append(token)
    if answer is None:
        return
    token = answer.json()["refresh_token"]
    if turn % 2:
        ledger.alive.append(token)
    elif await _ask(ledger, "revoke", client.post("/revoke", data={"token": token})):
        ledger.dead.append(token)


@asynccontextmanager
async def load(cluster: Cluster, people: int = 6) -> AsyncIterator[Ledger]:
    """Let people come and go until the block ends, and then see whether all holds."""
    ledger, is_over = Ledger(), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for _ in range(people):
            group.create_task(_one_person(cluster, ledger, is_over))
        try:
            began = time.monotonic()
            await ledger.has(lambda: ledger.count(200, what="revoke") > people)
            ledger.warm_up = time.monotonic() - began
            yield ledger
        finally:
            is_over.set()
    await _compare(cluster, ledger)


async def _compare(cluster: Cluster, ledger: Ledger) -> None:
    assert not ledger.odd, ledger.odd[:5]
    async with cluster.client(most=16) as client:

        async def refresh(token: str) -> int:
            form = {"grant_type": "refresh_token", "refresh_token": token}
            return (await client.post("/token", data=form)).status_code

        alive = Counter(await asyncio.gather(*map(refresh, ledger.alive)))
        assert alive == {200: len(ledger.alive)}, f"Something was lost: {alive}"
        dead = Counter(await asyncio.gather(*map(refresh, ledger.dead)))
        assert dead == {400: len(ledger.dead)}, f"Something dead came back: {dead}"
    known = cluster.execute("SELECT username FROM users WHERE username = ANY(%s)", ledger.names)
    assert len(known) == len(ledger.names), "Somebody was lost."
