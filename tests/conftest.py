"""Fixtures of the workbook's own tests. Light on purpose: a learner's run loads it too."""

import signal
from collections.abc import Iterator

import pytest

# In the background of a script Ctrl-C is ignored, here and in whatever is begun here. Some tests
# press it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


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
