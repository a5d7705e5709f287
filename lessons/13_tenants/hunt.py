"""Your attacks: `pytest lessons/13 --hunt` tells how many wrong solutions they catch.

A good one passes on every right solution, and fails on wrong ones. This is an example. Its fixtures
are in `lessons/conftest.py`. `pytest lessons/13/hunt.py --naive` shows it at work.
"""

from typing import Any

import pytest

from lessons.harness.client import Client


@pytest.mark.attack
def test_nobody_reads_in_another_tenant(client: Client, users: Any, town: Any) -> None:
    """Johndoe owns a tenant of his own, and knows the address of alice's."""
    hers, his = town.tenant(items=1, alice="owner"), town.tenant(items=1, johndoe="owner")
    john = town.as_("johndoe")
    assert client.get(f"{his.url}/items", headers=john).status_code == 200, "It is his own."
    for url in (hers.url, f"{hers.url}/items", f"{hers.url}/items/{hers.items[0]}"):
        status = client.get(url, headers=john).status_code
        assert status == 404, f"GET {url} is {status}, not 404."
    url = f"{his.url}/items/{hers.items[0]}"  # her item under his own address
    assert client.get(url, headers=john).status_code == 404, "Her item is there in his tenant."
