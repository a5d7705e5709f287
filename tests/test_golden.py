"""The learner's screens are as they are kept in `tests/golden/`, and fit a terminal."""

import pytest

from tests.golden import CASES, FOLDER, screen

WIDTH = 80
PYTEST_S_OWN = ("ERROR: ", "...")


@pytest.mark.parametrize("name", CASES)
def test_the_screen_is_as_it_is_kept(name: str) -> None:
    kept = (FOLDER / f"{name}.txt").read_text("utf-8")
    assert screen(name) == kept, "If it should look so: python -m tests.golden, and read the diff."


def test_every_kept_screen_has_its_case() -> None:
    assert {path.stem for path in FOLDER.iterdir()} == set(CASES)


@pytest.mark.parametrize("name", CASES)
def test_the_screen_fits_a_terminal(name: str) -> None:
    for line in (FOLDER / f"{name}.txt").read_text("utf-8").splitlines():
        assert line.isascii(), line
        assert len(line) <= WIDTH or line.startswith(PYTEST_S_OWN), line
