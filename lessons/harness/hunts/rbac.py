"""Your attacks: `pytest lessons/06 --hunt` tells how many wrong solutions they catch.

A good one passes on every right solution, and fails on wrong ones. This is an example. Its fixtures
are in `lessons/conftest.py`. `pytest lessons/06/hunt.py --naive` shows it at work.
"""

from typing import Any

import pytest

from lessons.harness.client import Client
from lessons.harness.people import speak_as


@pytest.mark.attack
def test_no_role_comes_from_the_caller(client: Client, users: Any) -> None:
    """Mallory says that she is an admin."""
    alice = client.get("/admin/users", headers=speak_as(users, "alice"))
    assert alice.status_code == 200, "Alice is an admin."
    said = {"X-Role": "admin", "Role": "admin", "X-User-Role": "admin"}
    john = client.get("/admin/users", headers={**speak_as(users, "johndoe"), **said})
    assert john.status_code == 403, f"Johndoe says so, and gets {john.status_code}, not 403."
