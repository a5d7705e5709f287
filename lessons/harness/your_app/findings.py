"""What came of an attack: refused, open, or not tried and why."""

from dataclasses import dataclass, field
from typing import Literal

Level = Literal["break-in", "leak", "hardening"]
Status = Literal["refused", "open", "accepted", "not tried"]
LEVELS: dict[Level, str] = {
    "break-in": "somebody does what only others may",
    "leak": "a secret gets out, or the service stops",
    "hardening": "a wall is missing that others lean on",
}
FAILING: tuple[Level, ...] = ("break-in", "leak")  # what a run ends with 1 for


class NotTried(Exception):
    """The attack would prove nothing here. The message says why, and what would change it."""


@dataclass(frozen=True)
class Success:
    """What mallory has now; and how bad it is, where that is not what it mostly is."""

    evidence: str
    level: Level | None = None


@dataclass(frozen=True)
class Finding:
    """An attack, and what came of it."""

    name: str
    title: str  # what is true when it succeeds
    lesson: str  # the number of the one that teaches the repair
    authority: str
    status: Status
    level: Level
    why: str = ""  # the evidence, or why it was not tried, or why it is accepted
    transcript: list[str] = field(default_factory=list)

    @property
    def fails(self) -> bool:
        """Whether a run with this in it must not be green."""
        return self.status == "open" and self.level in FAILING
