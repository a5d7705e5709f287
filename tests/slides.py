"""How big the demos are. `python -m tests.slides` prints their words, lines and tallest slides.

A slide's height is computed from its text and pictures, so that no browser is needed. The numbers
below were fitted to Chromium's, for `jupyter nbconvert --to slides` on a page of 1080 by 700: over
all slides of the first eight demos the result was never below the browser's, and at most 95 above.
"""

import base64
import io
import math
import re
from dataclasses import dataclass

from nbformat import NotebookNode
from PIL import Image

from tests.notebooks import find_notebooks, read

WORDS, LINES, BEFORE_MALLORY, HEIGHT = 450, 100, 40, 700  # the limits
WIDTH = 80  # characters of a line of code beside its prompt
PROOF = "mallory_gets_in("


@dataclass(frozen=True)
class Size:
    """What is too long when a demo is."""

    words: int  # of all texts, the speaker's notes and the answers too
    lines: int  # of code that is not folded
    before_mallory: int  # the line in which she is in
    longest: int  # line of code, in characters
    slides: tuple[int, ...]  # heights

    def __str__(self) -> str:
        return (
            f"{self.words} words, {self.lines} lines, mallory is in by line {self.before_mallory}, "
            f"{len(self.slides)} slides, the tallest {max(self.slides)} pixels"
        )


def is_folded(cell: NotebookNode) -> bool:
    """Tell whether JupyterLab shows the cell's code only when asked."""
    return bool(cell.metadata.get("jupyter", {}).get("source_hidden"))


def size_of(notebook: NotebookNode) -> Size:
    texts = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    words = re.sub(r"<[^>]+>", " ", " ".join(texts)).split()
    code = [cell for cell in notebook.cells if cell.cell_type == "code" and not is_folded(cell)]
    lines = [line for cell in code for line in cell.source.splitlines()]
    return Size(
        words=len([word for word in words if re.search(r"\w", word)]),
        lines=len(lines),
        before_mallory=_end_of_proof(lines),
        longest=max(map(len, lines)),
        slides=tuple(heights(notebook)),
    )


def _end_of_proof(lines: list[str]) -> int:
    """Return the number of the line that ends the first call of `mallory_gets_in`."""
    first = next(number for number, line in enumerate(lines) if PROOF in line)
    depth = 0
    for number, line in enumerate(lines[first:], first + 1):
        depth += line.count("(") - line.count(")")
        if depth == 0:
            return number
    raise ValueError("The call does not end.")


def heights(notebook: NotebookNode) -> list[int]:
    """Return the heights of the slides, with answers folded."""
    slides: list[float] = []
    for cell in notebook.cells:
        kind = cell.metadata.get("slideshow", {}).get("slide_type")
        if kind in ("notes", "skip"):
            continue
        if kind in ("slide", "subslide"):
            slides.append(32)
        slides[-1] += _height_of(cell)
    return [math.ceil(each) for each in slides]


def _height_of(cell: NotebookNode) -> float:
    if cell.cell_type == "markdown":
        blocks = re.sub(r"(?s)<details>.*?</details>", "Answer", cell.source).split("\n\n")
        return sum(_height_of_block(block.strip("\n")) for block in blocks)
    shown = [_height_of_output(output) for output in cell.outputs]
    return 21.8 * (cell.source.count("\n") + 1) + 35 + sum(shown)


def _height_of_block(block: str) -> float:
    if block.startswith("# "):
        return 90 * math.ceil(len(block) / 22) + 40
    if block.startswith("## "):
        return 52 * math.ceil(len(block) / 42) + 30
    rows = block.count("\n") + 1
    if block.startswith("|"):
        return 32 * (rows - 1) + 20
    if block.startswith("1. "):
        return 30 * rows + 20
    return 25 * math.ceil(len(block) / 95) + 22


def _height_of_output(output: NotebookNode) -> float:
    if output.output_type == "stream":
        wrapped = [max(1, math.ceil(len(line) / 73)) for line in output.text.splitlines()]
        return 21.8 * sum(wrapped) + 28
    if "image/png" in output.data:
        image = Image.open(io.BytesIO(base64.b64decode(output.data["image/png"])))
        return image.height * min(1, 890 / image.width) + 50
    banner = re.sub("<[^>]+>", "", output.data["text/html"])
    return 40 * math.ceil(len(banner) / 62) + 35


if __name__ == "__main__":
    for path in find_notebooks():
        print(f"{path.stem:12} {size_of(read(path))}")
