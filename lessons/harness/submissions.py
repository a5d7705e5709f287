"""What a class handed in: which file is whose work on which lesson, and what is no such file.

Each folder is a student. In it a lesson is `login.py`, `03_login/login.py`, or, where the whole
workbook was handed in, `lessons/03_login/login.py`.
"""

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from lessons.harness.catalogue import Lesson

MOST = 1 << 20  # bytes; the longest reference has a hundredth of that
NO_STUDENTS = ("__MACOSX", "__pycache__")  # nor is what begins with a dot
EXAMPLES = 3  # of what a folder holds instead
SIMILAR = 0.75  # from 0 to 1, two file names


class Unfit(Exception):
    """There is nothing to grade; the message is a sentence that says why."""


@dataclass(frozen=True)
class HandIn:
    """A student's work on a lesson, or the sentence that says why there is none to grade."""

    student: str
    lesson: Lesson | None = None  # none was found, and several were looked for
    file: Path | None = None
    text: bytes = b""
    sentence: str = ""


def find_hand_ins(folder: Path, lessons: Sequence[Lesson]) -> list[HandIn]:
    """Return what each student handed in of some lessons; at least one for each student."""
    names = sorted(name for name in os.listdir(folder) if not name.startswith("."))
    students = [folder / name for name in names if name not in NO_STUDENTS]
    return [
        each for student in students if os.path.isdir(student) for each in _works(student, lessons)
    ]


def _works(student: Path, lessons: Sequence[Lesson]) -> list[HandIn]:
    try:
        top = _names(student)
        works = [work for lesson in lessons for work in _work(student, lesson)]
    except Unfit as error:
        return [HandIn(student.name, sentence=str(error))]
    if works:
        return works
    only = lessons[0] if len(lessons) == 1 else None
    looked_for = " or ".join(map(str, _places(only))) if only else "file like 03_login/login.py"
    more = len(top) - EXAMPLES
    held = ", ".join(top[:EXAMPLES]) + (f" and {more} more" if more > 0 else "")
    sentence = f"has no {looked_for}. It holds {held or 'nothing'}."
    return [HandIn(student.name, only, sentence=sentence)]


def _places(lesson: Lesson) -> list[Path]:
    name, folder = lesson.starter.name, lesson.folder.name
    return [Path(name), Path(folder, name), Path("lessons", folder, name)]


def _work(student: Path, lesson: Lesson) -> Iterator[HandIn]:
    """Yield a student's work on a lesson, if there is any, or something like it."""
    path = None
    try:
        held = {place: _names(student / place.parent) for place in _places(lesson)}
        found = [place for place in held if place.name in held[place]]
        texts = {place: _read(student, place) for place in found}
        if len(set(texts.values())) > 1:
            raise Unfit(f"has {' and '.join(map(str, found))}, which differ: keep one.")
        if found:
            path, text = student / found[-1], texts[found[-1]]
            yield HandIn(student.name, lesson, path, text)
        elif near := [each for place in held for each in _similar(place, held[place], lesson)]:
            raise Unfit(f"has {near[0]}. Its name must be {lesson.starter.name}.")
    except Unfit as error:
        yield HandIn(student.name, lesson, path, sentence=str(error))


def _similar(place: Path, names: list[str], lesson: Lesson) -> list[Path]:
    """Return what may have been meant: `Login.py`, `login (1).py`, `my_login.py`, `login.txt`."""
    folded = {name.casefold(): name for name in names if not name.startswith("test_")}
    close = get_close_matches(place.name, folded, cutoff=SIMILAR)
    close += [name for name in folded if lesson.slug in name and "." in name]
    return [place.with_name(folded[name]) for name in close]


def _names(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise Unfit(f"cannot be read: {folder.name}: {error.strerror}.") from None


def _read(student: Path, path: Path) -> bytes:
    """Return a file's content. Raises Unfit for what is no file of the student's own."""
    file = student / path
    try:
        if not Path(os.path.realpath(file)).is_relative_to(os.path.realpath(student)):
            raise Unfit(f"{path} is a link that leads out of the folder.")
        about = file.stat()
        if not stat.S_ISREG(about.st_mode):
            raise Unfit(f"{path} is not a file.")
        if about.st_size > MOST:
            raise Unfit(f"{path} is too large: {about.st_size >> 20} MB.")
        text = file.read_bytes()
    except OSError as error:
        raise Unfit(f"{path} cannot be read: {error.strerror}.") from None
    if not text.strip():
        raise Unfit(f"{path} is empty.")
    return text
