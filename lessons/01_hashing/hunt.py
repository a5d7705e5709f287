"""Your attacks: `pytest lessons/01 --hunt` tells how many wrong solutions they catch.

A good one passes on every right solution, and fails on wrong ones. This is an example. Its fixtures
are in `lessons/conftest.py`. `pytest lessons/01/hunt.py --naive` shows it at work.
"""

from typing import Any

import pytest


@pytest.mark.attack
def test_the_end_of_a_long_password_counts(candidate: Any) -> None:
    """bcrypt reads 72 bytes. Whoever knows those need not know the rest."""
    try:
        hashed = candidate.hash_password("a" * 72 + "X")
    except ValueError:
        return  # to refuse such a password is as good
    assert candidate.verify_password("a" * 72 + "X", hashed), "The right password was refused."
    assert not candidate.verify_password("a" * 72 + "Y", hashed), "Its end does not count."
