"""Your attacks: `pytest lessons/10 --hunt` tells how many wrong solutions they catch.

A good one passes on every right solution, and fails on wrong ones. This is an example. Its fixtures
are in `lessons/conftest.py`. While you write: `pytest lessons/10/hunt.py --solutions`, `--naive`.
"""

from typing import Any

from lessons.harness.client import Client
from lessons.harness.people import log_in


def test_guessing_comes_to_an_end(client: Client, users: Any, settings: Any) -> None:
    """Mallory tries passwords. The right one, too late, is of no use to her."""
    client.speak_https()
    for _ in range(settings.attempts_per_login):
        assert log_in(client, "johndoe", "wrong").status_code == 400, "A wrong password is a 400."
    status = log_in(client, "johndoe", "secret").status_code
    assert status == 429, f"One guess too many gets {status}, not 429."
    assert log_in(client, "alice", "secretalice").status_code == 200, "Alice has done nothing."
