"""Your attacks: `pytest lessons/02 --hunt` tells how many wrong solutions they catch.

A good one passes on every right solution, and fails on wrong ones. This is an example. Its fixtures
are in `lessons/conftest.py`. While you write: `pytest lessons/02/hunt.py --solutions`, `--naive`.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest


def test_a_token_is_dead_tomorrow(candidate: Any, later: Callable[..., Any]) -> None:
    """Mallory finds a token in an old log."""
    token = candidate.create_access_token({"sub": "johndoe"})
    assert candidate.decode_token(token)["sub"] == "johndoe", "A good token was not believed."
    with later(timedelta(days=1)), pytest.raises(candidate.InvalidToken):
        candidate.decode_token(token)
