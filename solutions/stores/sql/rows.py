"""How values lie in a row: moments as whole microseconds, lists as JSON, yes and no as 1 and 0."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)

SWEEP = timedelta(minutes=1)  # between two searches for what has expired
GRACE = timedelta(hours=1)  # what has expired here may live for a worker whose clock is behind
SWEPT_AT_ONCE = 1000  # rows; more would keep others waiting


def to_number(moment: datetime) -> int:
    """Return a moment as microseconds since 1970 in UTC. SQLite would drop a time zone."""
    return (moment - EPOCH) // MICROSECOND


def to_moment(number: int) -> datetime:
    """Return the moment, in UTC."""
    return EPOCH + number * MICROSECOND


def to_text(words: Iterable[str]) -> str:
    """Return a list of words as one text."""
    return json.dumps([*words])


def to_words(text: str) -> list[str]:
    """Return the words of such a text."""
    words: list[str] = json.loads(text)
    return words


class Sweeper:
    """Forgets rows that nobody needs, some at a time, at most once a minute in each process."""

    def __init__(self, *deletions: str) -> None:
        """Take statements that use `:long_ago` and `:most`."""
        self._deletions = deletions
        self._next = datetime.now(UTC) + SWEEP

    def due(self) -> list[tuple[str, dict[str, int]]]:
        """Return the statements whose time has come, with their values."""
        now = datetime.now(UTC)
        if now < self._next:
            return []
        self._next = now + SWEEP
        values = {"long_ago": to_number(now - GRACE), "most": SWEPT_AT_ONCE}
        return [(deletion, values) for deletion in self._deletions]
