"""The texts that stand in the graded file, as things to try.

A password for the tests, an address that a middleware answers by itself, the name of a friendly
host: whoever opens a door by a fixed word has written it down. The word is no error by itself; a
test sends it and looks at what happens.
"""

import ast
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

from lessons.harness.catalogue import find_lessons

LONGEST = 80  # a docstring is no password


def texts_in(module: ModuleType) -> list[str]:
    """Return the short texts that stand in a graded module, but not in what the lesson gives."""
    lesson = next(each for each in find_lessons() if each.module == module.__name__)
    given = lesson.reference if lesson.reference.exists() else lesson.naive
    graded = Path(module.__file__ or "")
    return [] if graded == given else sorted(_texts(graded) - _texts(given))


def texts_in_all_steps() -> list[str]:
    """Return the short texts of all graded modules that are loaded."""
    modules = [sys.modules[each.module] for each in find_lessons() if each.module in sys.modules]
    return sorted({text for module in modules for text in texts_in(module)})


@cache
def _texts(file: Path) -> frozenset[str]:
    found = {
        node.value.decode("latin-1") if isinstance(node.value, bytes) else node.value
        for node in ast.walk(ast.parse(file.read_bytes()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes)
    }
    return frozenset(
        each for each in found if 0 < len(each) <= LONGEST and each.isascii() and each.isprintable()
    )
