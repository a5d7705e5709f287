"""Your attacks: `pytest lessons/10 --hunt` tells how many wrong solutions they catch.

A good one passes on every right solution, and fails on wrong ones. This is an example. Its fixtures
are in `lessons/conftest.py`. `pytest lessons/10/hunt.py --naive` shows it at work.
"""

from typing import Any

import pytest

from lessons.harness.client import Client
from lessons.harness.people import log_in


@pytest.mark.attack
def test_another_spelling_gives_no_more_guesses(client: Client, users: Any, settings: Any) -> None:
    """Names count in any case. Mallory writes the same one in another way, each time."""
    client.speak_https()
    for number in range(settings.attempts_per_login):
        name = "johndoe"[:number] + "johndoe"[number:].upper()
        assert log_in(client, name, "wrong").status_code == 400, "A wrong password is a 400."
    status = log_in(client, "johndoe", "secret").status_code
    assert status == 429, f"The next guess, though it is right, gets {status}, not 429."
