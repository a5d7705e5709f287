"""Makes the workbook without its answers, to hand out: `python -m tests.handout PATH`.

One source serves both: what is not true in a hand-out stands in the texts between
`<!-- not in the hand-out -->` and `<!-- /not in the hand-out -->`, and what is true only there in
`<!-- in the hand-out: ... -->`. In a table, the first in a row takes the whole row away.
"""

import argparse
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from lessons.harness.catalogue import LESSONS, ROOT, find_lessons

FILES = (
    ".gitignore",
    "GLOSSARY.md",
    "LICENSE",
    "README.md",
    "conftest.py",
    "constraints.txt",
    "dev.env",
    "pyproject.toml",
)
FOLDERS = ("lessons", "solutions/stores", "solutions/support")
LEFT_OUT = ("__pycache__", ".*", "*.before-reset-*", "*.egg-info")
PACKAGE = '''\
"""The system in the making: each step is your file in `lessons/`, on `stores/` and `support/`."""

from pathlib import Path

__path__ += sorted(map(str, Path(__file__).parents[1].glob("lessons/[0-9][0-9]_*")))
'''


class CannotMake(Exception):
    """There is no hand-out; the message says why."""


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.handout", description="Make the workbook without its answers."
    )
    parser.add_argument("path", type=Path, help="a new folder, or a new file that ends in .zip")
    parser.add_argument("--without-hints", action="store_true", help="leave out HINTS.md as well")
    chosen = parser.parse_args(arguments)
    try:
        made = make(chosen.path, with_hints=not chosen.without_hints)
    except CannotMake as error:
        parser.error(str(error))
    except OSError as error:
        parser.error(f"{error.filename or chosen.path}: {error.strerror or error}.")
    print(f"made   {made}: the starters of {len(find_lessons())} lessons, and no answers")
    print("then   learners follow README.md there, and type: pytest lessons/01")
    return 0


def make(path: Path, with_hints: bool = True) -> Path:
    """Write the hand-out into a new folder, or a .zip. Return its path. Raises CannotMake."""
    if path.is_file() or (path.is_dir() and any(path.iterdir())):
        raise CannotMake(f"{path} is there already. Name a new folder, or an empty one.")
    if path.resolve().is_relative_to(LESSONS):
        raise CannotMake(f"{path} is in lessons/. Name a folder outside of it.")
    if path.suffix != ".zip":
        _write(path, with_hints)
        return path
    with tempfile.TemporaryDirectory() as folder:
        _write(Path(folder) / path.stem, with_hints)
        return Path(shutil.make_archive(str(path.with_suffix("")), "zip", folder, path.stem))


def _write(to: Path, with_hints: bool) -> None:
    left_out = (*LEFT_OUT, *(() if with_hints else ("HINTS.md",)))
    for name in FOLDERS:
        ignore = shutil.ignore_patterns(*left_out)
        shutil.copytree(ROOT / name, to / name, ignore=ignore, dirs_exist_ok=True)
    for name in FILES:
        shutil.copy(ROOT / name, to / name)
    (to / "solutions" / "__init__.py").write_text(PACKAGE, "utf-8")
    shutil.copy(ROOT / "solutions" / "main.py", to / "solutions")
    for lesson in find_lessons():  # whoever makes it may have done the lessons meanwhile
        shutil.copy(lesson.kept_starter, to / lesson.starter.relative_to(ROOT))
        shutil.copy(lesson.kept_hunt, to / lesson.hunt.relative_to(ROOT))
    for text in to.rglob("*.md"):
        text.write_text(for_learners(text.read_text("utf-8"), with_hints), "utf-8")


def for_learners(text: str, with_hints: bool = True) -> str:
    """Return a text as it is in the hand-out. `<!-- hints -->` marks what speaks of hints."""
    text = _without("not in the hand-out", text)
    if not with_hints:
        text = _without("hints", text)
    text = re.sub(r"^<!-- /?hints -->\n+|<!-- /?hints -->", "", text, flags=re.M)
    return re.sub(r"<!-- in the hand-out:\s(.*?)\s*-->", r"\1", text, flags=re.S)


def _without(name: str, text: str) -> str:
    """Take out what stands between the two marks of a name, and rows that have the first."""
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    text = re.sub(rf"^\|.*{begin}.*\n", "", text, flags=re.M)
    # Marks on lines of their own go with these, and with the empty line below.
    text = re.sub(rf"^{begin}\n.*?^{end}\n\n?", "", text, flags=re.M | re.S)
    return re.sub(rf"[ \n]?{begin}.*?{end}", "", text, flags=re.S)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
