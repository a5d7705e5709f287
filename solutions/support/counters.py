"""Counters of attempts: in this process, or in Redis for all processes at once."""

import asyncio
import json
import math
import threading
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

from .digests import digest_of
from .settings import get_settings

if TYPE_CHECKING:
    from limits import RateLimitItem

MOST_COUNTERS = 100_000  # memory has an end; then the oldest one is forgotten (CWE-770)
REDIS_SECONDS = 1  # to connect, and for an answer


@dataclass(frozen=True)
class Limit:
    """At most so many attempts in a window of so many seconds, which the first one begins."""

    name: str
    most: int
    seconds: int


def limit_of(kind: str) -> Limit:
    """Return a limit of the settings: "login" (a name from an address), "address" or "name"."""
    settings = get_settings()
    most: int = getattr(settings, f"attempts_per_{kind}")
    return Limit(kind, most, settings.attempts_minutes * 60)


def counter_key(kind: str, *parts: str | None) -> str:
    """Return the key by which such parts are counted, of 64 letters.

    Other parts, and parts in another order, have another key; None is no text. Each process makes
    the same one, at each start. What somebody typed does not stand in it.
    """
    return digest_of(json.dumps([kind, *parts]))


class Counters(Protocol):
    """Counters by limit and key. Each method is one step: no other request comes in between."""

    async def hit(self, limit: Limit, key: str) -> int:
        """Count one and return 0. If it is one too many return how many seconds are to wait."""

    async def clear(self, limit: Limit, key: str) -> None:
        """Begin at zero again."""


class MemoryCounters:
    """`Counters` in memory, for one process."""

    def __init__(self, most: int = MOST_COUNTERS) -> None:
        self._lock = threading.Lock()  # held for some lines, and never while waiting
        self._most = most
        self._counts: dict[tuple[Limit, str], tuple[int, float]] = {}  # the oldest first

    async def hit(self, limit: Limit, key: str) -> int:
        """Count one and return 0. If it is one too many return how many seconds are to wait."""
        now = datetime.now(UTC).timestamp()
        with self._lock:
            count, end = self._counts.get((limit, key), (0, 0.0))
            if end <= now:
                self._counts.pop((limit, key), None)
                self._forget(now)
                count, end = 0, now + limit.seconds
            if count >= limit.most:
                return math.ceil(end - now)
            self._counts[limit, key] = count + 1, end
            return 0

    async def clear(self, limit: Limit, key: str) -> None:
        """Begin at zero again."""
        with self._lock:
            self._counts.pop((limit, key), None)

    def _forget(self, now: float) -> None:
        """Forget the oldest ones: those that are over, and one where there are too many."""
        for each in list(islice(self._counts, 2)):  # two for one that comes: they get fewer
            if self._counts[each][1] <= now or len(self._counts) >= self._most:
                del self._counts[each]

    def __len__(self) -> int:
        return len(self._counts)


class RedisCounters:
    """`Counters` in Redis, by the library `limits`, for as many processes as there are."""

    def __init__(self, url: str) -> None:
        from limits.aio.storage import RedisStorage
        from limits.aio.strategies import FixedWindowRateLimiter

        patience: dict[str, Any] = {
            "socket_timeout": REDIS_SECONDS,
            "socket_connect_timeout": REDIS_SECONDS,
        }
        self._storage = RedisStorage(
            f"async+{url}", wrap_exceptions=True, implementation="redispy", **patience
        )
        self._limiter = FixedWindowRateLimiter(self._storage)

    async def hit(self, limit: Limit, key: str) -> int:
        """Count one and return 0. If it is one too many return how many seconds are to wait."""
        item = self._item(limit)
        if await self._limiter.hit(item, key):
            return 0
        end, _ = await self._limiter.get_window_stats(item, key)
        return max(1, math.ceil(end - datetime.now(UTC).timestamp()))

    async def clear(self, limit: Limit, key: str) -> None:
        """Begin at zero again. What cannot be asked is left as it is: every window has its end."""
        from limits.errors import StorageError

        with suppress(StorageError, TimeoutError):
            async with asyncio.timeout(REDIS_SECONDS):
                await self._limiter.clear(self._item(limit), key)

    async def close(self) -> None:
        """Close the connections."""
        bridge: Any = self._storage.bridge
        await bridge.storage.aclose()

    def _item(self, limit: Limit) -> "RateLimitItem":
        from limits import RateLimitItemPerSecond

        return RateLimitItemPerSecond(limit.most, limit.seconds, f"attempts-{limit.name}")


@lru_cache
def open_counters() -> Counters:
    """Build the process's counters: in Redis if LIMITS_URL says where, else in memory."""
    url = get_settings().limits_url.get_secret_value()
    return RedisCounters(url) if url else MemoryCounters()


async def get_counters() -> Counters:
    """Return the process's counters."""
    return open_counters()


async def close_counters() -> None:
    """Close the connections, if there are any."""
    if not open_counters.cache_info().currsize:
        return
    counters = open_counters()
    open_counters.cache_clear()
    if isinstance(counters, RedisCounters):
        await counters.close()
