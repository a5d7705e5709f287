"""Your attacks: `pytest lessons/04 --hunt` tells how many wrong solutions they catch.

A good one passes on every right solution, and fails on wrong ones. This is an example. Its fixtures
are in `lessons/conftest.py`. `pytest lessons/04/hunt.py --naive` shows it at work.
"""

from typing import Any

import pytest

from lessons.harness.client import Client
from lessons.harness.people import bearer, token_for


@pytest.mark.attack
def test_a_token_in_the_address_opens_nothing(client: Client, users: Any) -> None:
    """Addresses stand in logs and in the history, and mallory reads there."""
    token = token_for(users, "johndoe")
    assert client.get("/users/me", headers=bearer(token)).status_code == 200, "It is a good token."
    answer = client.get("/users/me", params={"access_token": token, "token": token})
    assert answer.status_code == 401, f"In the address it got {answer.status_code}, not 401."
