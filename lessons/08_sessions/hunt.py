"""Your attacks: `pytest lessons/08 --hunt` tells how many wrong solutions they catch.

A good one passes on every right solution, and fails on wrong ones. This is an example. Its fixtures
are in `lessons/conftest.py`. `pytest lessons/08/hunt.py --naive` shows it at work.
"""

from typing import Any

import pytest

from lessons.harness.client import Client
from lessons.harness.visitors import LOGOUT, Visitor


@pytest.mark.attack
def test_a_copied_cookie_dies_with_the_session(client: Client, users: Any) -> None:
    """Mallory has copied the cookie, and its owner logs out."""
    john = Visitor(client)
    john.log_in("johndoe")
    mallory = john.copy()
    assert mallory.status == 200, "The cookie is good."
    john.post(LOGOUT)
    assert mallory.status == 401, f"After the logout it gets {mallory.status}, not 401."
