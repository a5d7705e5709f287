"""A second process, as far as a module can tell: loaded anew, with another clock and numbers."""

import asyncio
import builtins
import os
import platform
import secrets
import select
import signal
import socket
import sys
import uuid
import warnings
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import timedelta
from importlib.util import module_from_spec
from types import ModuleType
from typing import Any, TypeVar

from lessons.harness.clock import FAR_WEST, later, zone
from lessons.harness.output import kept_output

T = TypeVar("T")
NEXT_YEAR = timedelta(days=400, hours=5, minutes=7, seconds=3)
NUMBERS = [(builtins, "hash"), (builtins, "id"), (os, "getpid"), (os, "getppid")]
NUMBERS += [(uuid, "getnode")]
NAMES = [(socket, "gethostname"), (platform, "node")]
SETTINGS = {  # beside the secrets, which are drawn
    "JWT_ISSUER": "https://elsewhere.example",
    "JWT_AUDIENCE": "elsewhere",
    "PUBLIC_URL": "https://elsewhere.example",
    "ALLOWED_HOSTS": "elsewhere.example",
    "CORS_ORIGINS": "https://app.elsewhere.example",
    "TRUSTED_PROXIES": "",
    "LIMITS_URL": "redis://:elsewhere@redis.example/7",
    "ATTEMPTS_PER_LOGIN": "17",
    "ATTEMPTS_PER_ADDRESS": "177",
    "ATTEMPTS_PER_NAME": "1777",
    "ATTEMPTS_MINUTES": "71",
    "GOOGLE_CLIENT_ID": "elsewhere",
    "PASSWORD_MIN_LENGTH": "19",
    "SESSION_HOURS": "7",
    "BCRYPT_ROUNDS": "11",
}
SECRETS = ("JWT_SECRET", "GOOGLE_CLIENT_SECRET")
CAN_FORK = hasattr(os, "fork")
PATIENCE = 3  # seconds for a fork, which may have been made while a thread held a lock
SYSTEM = ("PYTHONHASHSEED", "HOME", "USER", "LOGNAME", "HOSTNAME", "PWD", "LANG", "PORT", "PATH")


@contextmanager
def elsewhere(name: str, clock: AbstractContextManager[Any] | None = None) -> Iterator[ModuleType]:
    """Load a module once more in the block, as another process does that starts a year later.

    What it has drawn is drawn anew, and `hash`, `id` and the number of the process are other ones.
    With a `clock` of your own it starts when that says.
    """
    import pytest
    from fastapi import FastAPI

    from solutions.support import apps

    spec: Any = sys.modules[name].__spec__
    with pytest.MonkeyPatch.context() as patch, clock or later(NEXT_YEAR):
        for owner, own in NUMBERS:
            patch.setattr(owner, own, _other(getattr(owner, own)))
        for owner, own in NAMES:
            patch.setattr(owner, own, lambda: "elsewhere")
        patch.setenv("HOSTNAME", "elsewhere")
        patch.setattr(
            apps, "create_app", lambda *_, **__: FastAPI()
        )  # no routes: that takes its time
        module = module_from_spec(spec)
        module.__file__ = os.path.join(os.sep, "elsewhere", "elsewhere.py")
        with kept_output():
            spec.loader.exec_module(module)
        yield module


@contextmanager
def in_development() -> Iterator[None]:
    """Let the settings be those of development until the block ends."""
    import pytest

    from solutions.support.settings import get_settings

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ENVIRONMENT", "development")
        get_settings.cache_clear()
        yield
    get_settings.cache_clear()


@contextmanager
def other_surroundings(environment: str = "production") -> Iterator[None]:
    """Have in the block other settings and secrets, another user, folder, command and time zone.

    In development there is no secret: the first who asks draws one.
    """
    import pytest

    from solutions.support.settings import get_settings

    folder = os.getcwd()
    with pytest.MonkeyPatch.context() as patch, zone(FAR_WEST):
        for name in SECRETS:
            patch.setenv(name, secrets.token_urlsafe(40))
        for name, value in (SETTINGS | {"ENVIRONMENT": environment}).items():
            patch.setenv(name, value)
        for name in SYSTEM:
            patch.setenv(name, "4711")
        if environment == "development":
            patch.delenv("JWT_SECRET")
            patch.delenv("DATABASE_URL", raising=False)  # none starts with one and no secret
        patch.setattr(sys, "argv", ["elsewhere", "--workers=7"])
        get_settings.cache_clear()
        try:
            os.chdir(os.sep)
            yield
        finally:
            os.chdir(folder)
            get_settings.cache_clear()


def run_elsewhere(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in a thread and on a loop of its own."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()


def run_in_a_fork(call: Callable[[], list[str]]) -> list[str]:
    """Return the lines that a call returns in a fork of this process; none if it does not end."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # there are other threads
        child = os.fork()
    if child == 0:
        try:
            os.write(writing, "\n".join(call()).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as said:
        is_there = select.select([said], [], [], PATIENCE)[0]
        lines = said.read().decode().splitlines() if is_there else []
    with suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return lines


def _other(number: Callable[..., int]) -> Callable[..., int]:
    return lambda *of: number(*of) ^ 0x5A5A
