"""Every Mermaid block in the texts is a picture: the real library draws it."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from sybil import Document
from sybil.parsers.markdown.lexers import FencedCodeBlockLexer

from lessons.harness.catalogue import ROOT, find_lessons
from tests.mermaid import CannotDraw, Mermaid, load

IN_A_LIST = """\
- A picture in a list:

  ```mermaid
  flowchart LR
      a --> b
  ```
"""
GOOD = "sequenceDiagram\n    alice->>app: POST /token\n    app-->>alice: 200"
BROKEN = [
    "sequenceDiagram\n    alice->>app POST /token",
    "sequenceDiagram\n    deactivate app",
    "sequenceDiagram\n    alice->>app: POST /token; then more\n    alt refused",
    "sequenceDiagramm\n    alice->>app: POST /token",
    "flowchart LR\n    a[GET /users/me (guarded)] --> b",
    "flowchart LR\n    a --> end",
    "",
]


def pictures(markdown: str) -> list[str]:
    """Return the Mermaid blocks of a text. Raises AssertionError when one is hidden from us."""
    lexer = FencedCodeBlockLexer(language="mermaid")
    found = [lexed.lexemes["source"] for lexed in lexer(Document(markdown, "text"))]
    begun = re.findall(r"^[ >*-]*(?:`{3,}|~{3,})\s*mermaid\b", markdown, re.M | re.I)
    assert len(begun) == len(found), f"{len(begun)} blocks begin, {len(found)} are read: {begun}"
    return found


def texts() -> Iterator[tuple[Path, str]]:
    """Yield all Markdown in the repository, also that in notebooks."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for path in map(ROOT.joinpath, listed.split("\0")):
        if path.suffix == ".md":
            yield path, path.read_text("utf-8")
        elif path.suffix == ".ipynb":
            cells = json.loads(path.read_text("utf-8"))["cells"]
            prose = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
            yield path, "\n\n".join(prose)


@pytest.fixture(scope="module")
def mermaid() -> Iterator[Mermaid]:
    with load() as mermaid:
        yield mermaid


def test_every_picture_can_be_drawn(mermaid: Mermaid) -> None:
    drawn = 0
    for path, text in texts():
        for number, picture in enumerate(pictures(text), start=1):
            try:
                assert mermaid.draw(picture).startswith("<svg")
            except CannotDraw as error:
                pytest.fail(f"{path.relative_to(ROOT)}, picture {number}:\n{picture}\n{error}")
            drawn += 1
    assert drawn, "There is no picture any more."


def test_a_good_block_is_drawn(mermaid: Mermaid) -> None:
    picture = mermaid.draw(GOOD)
    assert "POST /token" in picture
    assert picture.count("alice") >= 2  # above and below


@pytest.mark.parametrize("text", BROKEN)
def test_a_broken_block_is_seen(text: str, mermaid: Mermaid) -> None:
    with pytest.raises(CannotDraw):
        mermaid.draw(text)


def test_blocks_are_found_where_they_stand() -> None:
    fenced = f"Text.\n\n```mermaid\n{GOOD}\n```\n\n```text\nmermaid\n```\n"
    assert [each.strip() for each in pictures(fenced)] == [GOOD]
    assert "a --> b" in pictures(IN_A_LIST)[0]
    assert not pictures("Write `mermaid` after the fence.")
    with pytest.raises(AssertionError, match="1 blocks begin, 0 are read"):
        pictures(f"> ~~~ mermaid\n> {GOOD}\n> ~~~\n")


def test_the_map_of_the_system_has_every_lesson() -> None:
    (drawn,) = pictures((ROOT / "README.md").read_text("utf-8"))
    assert set(re.findall(r'\[\(?"(\d\d) ', drawn)) == {lesson.number for lesson in find_lessons()}


def test_lessons_in_which_requests_meet_have_a_picture() -> None:
    for lesson in find_lessons()[2:]:
        assert pictures(lesson.readme.read_text("utf-8")), lesson
