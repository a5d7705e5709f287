"""Lesson 09: login with a provider. Four tests of what you build, then mallory."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from lessons.harness.abroad import (
    CALLBACK,
    ERIN,
    ERIN_AT_GITHUB,
    LOGIN_AT,
    Abroad,
    abroad,
    begin,
    come_back,
    leads_to,
    name_of,
)
from lessons.harness.client import Client
from lessons.harness.provider import Lie
from lessons.harness.visitors import Visitor

attack = pytest.mark.attack
todo = pytest.mark.todo


@pytest.fixture
def there(candidate: Any) -> Iterator[Abroad]:
    """The providers, and nobody else."""
    with abroad() as providers:
        yield providers


@todo(1, "start_flow")
def test_smoke(client: Client, users: Any, there: Abroad, settings: Any) -> None:
    v = Visitor(client)
    import time
    for name, person in (("google", ERIN), ("oidc", ERIN), ("github", ERIN_AT_GITHUB)):
        t = time.perf_counter()
        answer = there.log_in(v, name, person)
        print(name, time.perf_counter() - t)
        assert answer.status_code == 303, answer.text
        print(answer.headers, name_of(v))
    t = time.perf_counter()
    for _ in range(20):
        there.log_in(v, "oidc", ERIN)
    print((time.perf_counter() - t) / 20)
    assert there.log_in(v, "oidc", ERIN, Lie(signed="another key")).status_code == 400
    assert 0
