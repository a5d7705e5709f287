"""Puts a function in the place of a library's, also where a graded module imported it by name."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

Make = Callable[[Any], Any]  # from the original, what stands for it


@contextmanager
def standing_in(module: ModuleType, places: list[tuple[Any, str, Make]]) -> Iterator[None]:
    """Replace in the block each name of an owner, and all globals of `module` that are the same."""
    import pytest

    with pytest.MonkeyPatch.context() as patch:
        for owner, name, make in places:
            original = getattr(owner, name)
            changed = make(original)
            patch.setattr(owner, name, changed)
            for own in [own for own, value in vars(module).items() if value is original]:
                patch.setattr(module, own, changed)
        yield
