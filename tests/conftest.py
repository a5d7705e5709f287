"""Fixtures of the workbook's own tests. Light on purpose: a learner's run loads it too."""

import os
import signal
from collections.abc import Iterator
from concurrent.futures import Future
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from lessons.harness.grade import Grade

# In the background of a script Ctrl-C is ignored, here and in whatever is begun here. Some tests
# press it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Ask last for what is judged in the background meanwhile."""
    items.sort(key=_is_judged)


def _is_judged(item: pytest.Item) -> bool:
    return isinstance(item, pytest.Function) and "judged" in item.fixturenames


@pytest.fixture(scope="session")
def judged(request: pytest.FixtureRequest) -> "Iterator[dict[object, Future[Grade]]]":
    """Judge in the background what the selected tests ask for."""
    from tests.candidates import begin_asked

    running = begin_asked([item for item in request.session.items if _is_judged(item)])
    yield running
    for future in running.values():  # after a first failure with -x, say
        future.cancel()


@pytest.fixture(scope="session", autouse=True)
def _judging(request: pytest.FixtureRequest) -> None:
    """Begin with it at once. Most other tests keep one core busy, and wait for servers."""
    is_alone = "PYTEST_XDIST_WORKER" not in os.environ  # each worker would judge them all
    if is_alone and any(map(_is_judged, request.session.items)):
        request.getfixturevalue("judged")


@pytest.fixture
def fresh_settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """An environment without settings, and the caches of solutions/ cleared around the test."""
    from lessons.harness.candidate import clear_caches
    from solutions.support.settings import Settings

    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    clear_caches()
    yield monkeypatch
    clear_caches()


@pytest.fixture
def development(fresh_settings: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Development with cheap hashes and a secret."""
    fresh_settings.setenv("ENVIRONMENT", "development")
    fresh_settings.setenv("JWT_SECRET", "x" * 31 + "y")
    fresh_settings.setenv("BCRYPT_ROUNDS", "4")
    return fresh_settings
