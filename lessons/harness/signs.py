"""Which known mistake a learner's file looks like, by the way in which its tests fail.

`signs/<slug>.json` has the sign of each mistake that comes with a hint and fails like no other.
`python -m tests.signs` writes it.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path

from lessons.harness.catalogue import Lesson

FOLDER = Path(__file__).with_name("signs")
DRAWN = re.compile(r"'[^']*'|\S*[\d/]\S*")  # what may be another value in the next run


def sign_of(failures: Mapping[str, str]) -> str:
    """Return a short text that stands for failed tests, by name, and what they said."""
    told = [f"{name} {' '.join(DRAWN.sub('', failures[name]).split())}" for name in failures]
    return hashlib.sha256("\n".join(sorted(told)).encode()).hexdigest()[:16]


def find_hint(lesson: Lesson, failures: Mapping[str, str]) -> str | None:
    """Return the hint of the one known mistake whose tests fail in the same way."""
    file = FOLDER / f"{lesson.slug}.json"
    if not failures or not file.exists():
        return None
    hints: dict[str, str] = json.loads(file.read_text("utf-8"))
    return hints.get(sign_of(failures))
