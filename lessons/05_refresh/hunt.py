"""Your attacks: `pytest lessons/05 --hunt` tells how many wrong solutions they catch.

A good one passes on every right solution, and fails on wrong ones. This is an example. Its fixtures
are in `lessons/conftest.py`. `pytest lessons/05/hunt.py --naive` shows it at work.
"""

import pytest

from lessons.harness.client import Client
from lessons.harness.people import log_in


@pytest.mark.attack
def test_a_stolen_token_comes_too_late(client: Client) -> None:
    """Mallory has copied a refresh token, and its owner has used it meanwhile."""
    stolen = log_in(client, "johndoe", "secret").json()["refresh_token"]
    form = {"grant_type": "refresh_token", "refresh_token": stolen}
    assert client.post("/token", data=form).status_code == 200, "A good token was refused."
    again = client.post("/token", data=form).status_code
    assert again == 400, f"The second time it got {again}, not 400."
