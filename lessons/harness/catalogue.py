"""Which lessons there are, and what `pytest lessons/03` means."""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

LESSONS = Path(__file__).resolve().parents[1]
ROOT = LESSONS.parent


class UnknownLesson(Exception):
    """There is no such lesson; the message lists those that there are."""


@dataclass(frozen=True)
class Lesson:
    """One folder: `03_login` is number 03 with the slug login, and the slug is the whole map."""

    number: str
    slug: str

    @property
    def folder(self) -> Path:
        return LESSONS / f"{self.number}_{self.slug}"

    @property
    def starter(self) -> Path:
        return self.folder / f"{self.slug}.py"

    @property
    def naive(self) -> Path:
        return self.folder / "naive.py"

    @property
    def tests(self) -> Path:
        return self.folder / f"test_{self.slug}.py"

    @property
    def readme(self) -> Path:
        return self.folder / "README.md"

    @property
    def hints(self) -> Path:
        return self.folder / "HINTS.md"

    @property
    def kept_starter(self) -> Path:
        """The starter once more, untouched: for `--reset`, and to tell what is still open."""
        return LESSONS / "harness" / "starters" / f"{self.slug}.py"

    @property
    def hunt(self) -> Path:
        """The learner's own attacks, for `--hunt`."""
        return self.folder / "hunt.py"

    @property
    def kept_hunt(self) -> Path:
        """The same as it is given, with an example."""
        return LESSONS / "harness" / "hunts" / f"{self.slug}.py"

    @property
    def reference(self) -> Path:
        return ROOT / "solutions" / f"{self.slug}.py"

    @property
    def module(self) -> str:
        return f"solutions.{self.slug}"


@cache
def find_lessons() -> tuple[Lesson, ...]:
    """Return all lessons in their order."""
    names = (re.fullmatch(r"(\d\d)_(\w+)", folder.name) for folder in sorted(LESSONS.iterdir()))
    return tuple(Lesson(*name.groups()) for name in names if name)


@cache
def lesson_of(path: Path) -> Lesson | None:
    """Return the lesson whose folder holds `path`."""
    return next((each for each in find_lessons() if path.is_relative_to(each.folder)), None)


@cache
def shown(path: Path) -> str:
    """Return a path as the learner would type it in the root."""
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else str(path)


def expand(argument: str, folder: Path) -> str:
    """Write a short path out: `lessons/03::test_x` means `lessons/03_login/test_login.py::test_x`.

    `folder` is where the learner stands. Anything else comes back unchanged.
    Raises UnknownLesson for a number or name that no lesson has.
    """
    path, colons, test = argument.partition("::")
    if folder.is_relative_to(LESSONS) and Path(path).parts[:1] == (LESSONS.name,):
        path = str(ROOT / path)  # the screen says `lessons/03`, wherever the learner stands
    parts = list(Path(path).parts)
    for index, part in enumerate(parts):
        parent = folder.joinpath(*parts[:index]).resolve()
        if (parent / part).exists():
            continue
        if parent == LESSONS or (parent == ROOT and part.isdigit()):
            parts[index] = _find(part).folder.name
            if parent == ROOT:
                parts.insert(index, LESSONS.name)
        break
    path = str(Path(*parts)) if parts else path
    lesson = lesson_of((folder / path).resolve())
    if colons and lesson and (folder / path).resolve() == lesson.folder:
        path = str(Path(path) / lesson.tests.name)
    elif lesson and (folder / path).resolve() == lesson.starter:
        path = str(Path(path).with_name(lesson.tests.name))
    return path + colons + test


def _find(name: str) -> Lesson:
    for lesson in find_lessons():
        if name in (lesson.slug, lesson.number, lesson.number.lstrip("0")):
            return lesson
    there_are = ", ".join(f"{lesson.number} {lesson.slug}" for lesson in find_lessons())
    raise UnknownLesson(f"There is no lesson {name!r}. There are: {there_are}.")
