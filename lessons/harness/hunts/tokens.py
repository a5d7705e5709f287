"""Your attacks: `pytest lessons/02 --hunt` tells how many wrong solutions they catch.

A good one passes on every right solution, and fails on wrong ones. This is an example. Its fixtures
are in `lessons/conftest.py`. `pytest lessons/02/hunt.py --naive` shows it at work.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest


@pytest.mark.attack
def test_no_token_lives_as_long_as_the_caller_says(
    candidate: Any, later: Callable[..., Any]
) -> None:
    """Some code puts all that mallory sends into a token."""
    sent = {"sub": "mallory", "exp": 4_102_444_800}  # the year 2100
    token = candidate.create_access_token(sent)
    assert candidate.decode_token(token)["sub"] == "mallory", "A good token was not believed."
    with later(timedelta(days=1)):
        try:
            candidate.decode_token(token)
        except candidate.InvalidToken:
            return
    raise AssertionError("The token lives for as long as the caller says.")
