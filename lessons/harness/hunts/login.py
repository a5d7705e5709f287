"""Your attacks: `pytest lessons/03 --hunt` tells how many wrong solutions they catch.

A good one passes on every right solution, and fails on wrong ones. This is an example. Its fixtures
are in `lessons/conftest.py`. `pytest lessons/03/hunt.py --naive` shows it at work.
"""

from typing import Any

import pytest

from lessons.harness.client import Client


@pytest.mark.attack
def test_the_time_tells_nobody_who_has_an_account(client: Client, meter: Any) -> None:
    """Mallory asks with names from a list, and has a stopwatch. The hash is what takes time."""
    right = client.post("/token", data={"username": "johndoe", "password": "secret"})
    assert right.status_code == 200, "The right password was refused."
    work = {}
    for name in ("warm-up", "johndoe", "nobody"):
        with meter.counting() as hashes:
            client.post("/token", data={"username": name, "password": "wrong"})
        work[name] = sorted(map(str, hashes))
    assert work["johndoe"] == work["nobody"], f"{work['johndoe']} is not {work['nobody']}."
