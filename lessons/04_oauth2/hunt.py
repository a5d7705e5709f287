"""Your attacks: `pytest lessons/04 --hunt` tells how many wrong solutions they catch.

A good one passes on every right solution, and fails on wrong ones. This is an example. Its fixtures
are in `lessons/conftest.py`. While you write: `pytest lessons/04/hunt.py --solutions`, `--naive`.
"""

from typing import Any

from lessons.harness.client import Client
from lessons.harness.people import bearer, token_for


def test_a_token_in_the_address_opens_nothing(client: Client, users: Any) -> None:
    """Addresses stand in logs and in the history, and mallory reads there."""
    token = token_for(users, "johndoe")
    assert client.get("/users/me", headers=bearer(token)).status_code == 200, "It is a good token."
    answer = client.get("/users/me", params={"access_token": token, "token": token})
    assert answer.status_code == 401, f"In the address it got {answer.status_code}, not 401."
