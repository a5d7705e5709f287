"""Fresh copies of the workbook, one for each hand-in, from what was read when grading began.

So nothing that a hand-in writes, into its copy or into the workbook itself, meets the next one.
"""

import compileall
import tempfile
from collections.abc import Mapping
from pathlib import Path
from py_compile import PycInvalidationMode

from lessons.harness.catalogue import ROOT, Lesson, find_lessons

FILES = ("conftest.py", "pyproject.toml", "dev.env")
FOLDERS = ("lessons", "solutions")
CACHE = "__pycache__/"


class Originals:
    """The workbook's files, in memory, and compiled once for all copies."""

    def __init__(self) -> None:
        self._sources = read_workbook()
        with tempfile.TemporaryDirectory() as folder:
            _write(Path(folder), self._sources)
            unchecked = PycInvalidationMode.UNCHECKED_HASH
            compileall.compile_dir(folder, quiet=2, invalidation_mode=unchecked)
            self._compiled = _contents(Path(folder), [*Path(folder).rglob("*")])

    def lay_out(self, folder: Path, lesson: Lesson, beside: Mapping[Path, bytes]) -> None:
        """Write a copy without the answers to a lesson and those above, and some files beside."""
        slugs = [each.slug for each in find_lessons() if each.number >= lesson.number]
        answers = tuple(f"solutions/{where}{name}" for where in ("", CACHE) for name in slugs)
        kept = {
            path: content
            for path, content in self._compiled.items()
            if not path.as_posix().startswith(answers)
        }
        _write(folder, kept)
        _write(folder, beside)

    @property
    def changed(self) -> list[str]:
        """The files of the workbook that are not as they were when grading began."""
        now = read_workbook()
        paths = sorted(now.keys() | self._sources.keys())
        return [path.as_posix() for path in paths if now.get(path) != self._sources.get(path)]


def read_workbook() -> dict[Path, bytes]:
    """Return what is in the files that grading needs, by their paths in the workbook."""
    files = [ROOT / name for name in FILES]
    for name in FOLDERS:
        files += (each for each in (ROOT / name).rglob("*") if each.suffix != ".pyc")
    return _contents(ROOT, files)


def _contents(root: Path, files: list[Path]) -> dict[Path, bytes]:
    return {each.relative_to(root): each.read_bytes() for each in files if each.is_file()}


def _write(folder: Path, contents: Mapping[Path, bytes]) -> None:
    for path, content in contents.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
