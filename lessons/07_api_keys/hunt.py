"""Your attacks: `pytest lessons/07 --hunt` tells how many wrong solutions they catch.

A good one passes on every right solution, and fails on wrong ones. This is an example. Its fixtures
are in `lessons/conftest.py`. `pytest lessons/07/hunt.py --naive` shows it at work.
"""

from typing import Any

import pytest

from lessons.harness.client import Client
from lessons.harness.people import speak_as


@pytest.mark.attack
def test_a_revoked_key_is_dead(client: Client, users: Any) -> None:
    """Johndoe has lost a laptop with a key on it. Mallory has found it."""
    john = speak_as(users, "johndoe")
    wanted = {"name": "laptop", "scopes": ["me"], "expires_in_days": 30}
    made = client.post("/api-keys", headers=john, json=wanted).json()
    found = {"X-API-Key": made["key"]}
    assert client.get("/api/protected", headers=found).status_code == 200, "It is a good key."
    client.request("DELETE", f"/api-keys/{made['id']}", headers=john)
    status = client.get("/api/protected", headers=found).status_code
    assert status in (401, 403), f"A revoked key gets {status}."
