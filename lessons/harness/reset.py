"""`pytest lessons/03 --reset`: brings the starter back, and keeps the learner's file beside it.

It needs neither git nor `solutions/`: `starters/` has an untouched copy of each starter.
"""

import os
import textwrap
from itertools import count
from pathlib import Path

from lessons.harness.catalogue import Lesson, shown

WIDTH = 80


class Unchanged(Exception):
    """The learner's file stays as it is; the message says why."""


class CannotReset(Unchanged):
    """It stays because something is wrong: with the folder, or with this copy of the workbook."""


def reset(lesson: Lesson) -> list[str]:
    """Bring a lesson's starter back. Return what to say: what was done, and how to undo it.

    The learner's file has its copy before the starter takes its place, in one step. So whatever
    fails, and whenever, nothing is lost. Raises Unchanged.
    """
    try:
        starter = lesson.kept_starter.read_bytes()
        yours = lesson.starter.read_bytes() if lesson.starter.exists() else None
        if yours == starter:
            raise Unchanged(f"{shown(lesson.starter)} is the starter already. Nothing was changed.")
        kept = _keep(yours, lesson.starter) if yours is not None else None
        _put(starter, lesson.starter)
    except OSError as error:
        raise CannotReset(f"Nothing was reset: {_reason(error)}.") from None
    if kept is None:
        return [f"reset  {shown(lesson.starter)} was not there. Now it is, as the starter."]
    return [
        *_wrap(f"reset  {shown(lesson.starter)} is the starter again. Yours is kept."),
        *_wrap(f"back   rename {shown(kept)} to {lesson.starter.name}"),
    ]


def _wrap(line: str) -> list[str]:
    return textwrap.wrap(line, WIDTH, subsequent_indent=" " * 7, break_on_hyphens=False)


def _keep(text: bytes, file: Path) -> Path:
    """Write a copy beside a file, under a new name that no import and no test finds."""
    names = (f"{file.stem}.before-reset-{number}.py" for number in count(1))
    kept = next(path for path in map(file.with_name, names) if not path.exists())
    with kept.open("xb") as copy:  # x: never over another one
        copy.write(text)
    return kept


def _put(text: bytes, file: Path) -> None:
    """Put a file in its place whole, or not at all."""
    new = file.with_name(f".{file.name}.new")
    try:
        new.write_bytes(text)
        os.replace(new, file)
    except OSError:
        new.unlink(missing_ok=True)
        raise


def _reason(error: OSError) -> str:
    where = f"{shown(Path(error.filename))}: " if error.filename else ""
    return f"{where}{error.strerror or type(error).__name__}"
