"""The attacks of the lessons, each once, for any app with a description.

Each returns what mallory has when it succeeds, and None when she is refused. Each lets the right
user in first; where that does not work, or nothing would be proved, it raises NotTried.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

from lessons.harness.your_app.findings import Level, Success
from lessons.harness.your_app.site import Visit

Run = Callable[[Visit], Success | None]


@dataclass(frozen=True)
class Attack:
    """What mallory tries."""

    name: str
    title: str  # what is true when she succeeds
    lesson: str  # the number of the one that teaches the repair
    level: Level
    authority: str
    run: Run
    storms: bool = False  # tried last: what it does, the app remembers


MODULES = (
    *("passwords", "tokens", "logins", "guards", "twice"),
    *("rights", "browsers", "answers", "storms"),
)
_ATTACKS: list[Attack] = []


def attack(
    name: str, title: str, *, lesson: str, level: Level, authority: str, storms: bool = False
) -> Callable[[Run], Run]:
    """Put a function into the list of attacks."""

    def enlist(run: Run) -> Run:
        _ATTACKS.append(Attack(name, title, lesson, level, authority, run, storms))
        return run

    return enlist


def all_attacks() -> list[Attack]:
    """Return the attacks by lesson, storms last."""
    for name in MODULES:
        import_module(f"{__name__}.{name}")
    return sorted(_ATTACKS, key=lambda each: (each.storms, each.lesson))
