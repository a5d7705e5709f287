"""A second process, as far as a module can tell: loaded anew, with another clock and numbers."""

import asyncio
import builtins
import os
import platform
import socket
import sys
import uuid
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from importlib.util import module_from_spec
from types import ModuleType
from typing import Any, TypeVar

from lessons.harness.clock import later
from lessons.harness.output import kept_output

T = TypeVar("T")
NEXT_YEAR = timedelta(days=400, hours=5, minutes=7, seconds=3)
NUMBERS = [(builtins, "hash"), (builtins, "id"), (os, "getpid"), (os, "getppid")]
NUMBERS += [(uuid, "getnode")]
NAMES = [(socket, "gethostname"), (platform, "node")]


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


def run_elsewhere(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in a thread and on a loop of its own."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()


def _other(number: Callable[..., int]) -> Callable[..., int]:
    return lambda *of: number(*of) ^ 0x5A5A
