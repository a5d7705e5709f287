"""Your attacks: `pytest lessons/12 --hunt` tells how many wrong solutions they catch.

A good one passes on every right solution, and fails on wrong ones. This is an example. Its fixtures
are in `lessons/conftest.py`. `pytest lessons/12/hunt.py --naive` shows it at work.
"""

from typing import Any

import pytest

from lessons.harness.people import speak_as


@pytest.mark.attack
def test_a_closed_account_is_closed_at_each_worker(workers: Any, users: Any) -> None:
    """Alice is disabled at one worker. Mallory, who has her token, asks the other one."""
    one, other = workers.both
    alice, carol = speak_as(users, "alice"), speak_as(users, "carol")
    assert other.request("GET", "/users/me", headers=alice).status_code == 200, "It is good."
    one.request("PATCH", "/admin/users/alice", headers=carol, json={"disabled": True})
    status = other.request("GET", "/users/me", headers=alice).status_code
    assert status in (400, 401, 403), f"At the other worker she gets {status}."
