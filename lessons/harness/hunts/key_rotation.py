"""Your attacks: `pytest lessons/11 --hunt` tells how many wrong solutions they catch.

A good one passes on every right solution, and fails on wrong ones. This is an example. Its fixtures
are in `lessons/conftest.py`. `pytest lessons/11/hunt.py --naive` shows it at work.
"""

import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from lessons.harness.client import Client
from lessons.harness.key_server import KeyFolder, Pair


@pytest.fixture
def key() -> Iterator[Pair]:
    """The key with which the app has signed since yesterday."""
    folder = Path(os.environ["SIGNING_KEYS_DIR"])
    yield KeyFolder(folder).add(datetime.now(UTC) - timedelta(days=1))
    shutil.rmtree(folder)


@pytest.mark.attack
def test_the_key_set_keeps_its_secrets(key: Pair, client: Client, users: Any) -> None:
    """Everybody reads the key set. Whoever finds a private key there makes any token."""
    keys = client.get("/.well-known/jwks.json").json()["keys"]
    assert [each["kid"] for each in keys] == [key.kid], "The app's one key is to be there."
    private = {"d", "p", "q", "dp", "dq", "qi", "k"}
    assert not private & set(keys[0]), f"The key set shows {', '.join(private & set(keys[0]))}."
