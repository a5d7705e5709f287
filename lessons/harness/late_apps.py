"""Builds the apps of earlier lessons when somebody asks for one, which hardly anybody does.

A lesson imports the references below it for what they define. Each builds an app of its own, too:
all of them together take as long as the imports of a small lesson.
"""

import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any


class LateApp:
    """An app that is built when it is used."""

    def __init__(self, build: Callable[[], Any]) -> None:
        self._build = build

    @cached_property
    def _app(self) -> Any:
        return self._build()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._app, name)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._app(scope, receive, send)


@contextmanager
def late_apps(graded: Collection[str]) -> Iterator[None]:
    """Let all modules that are imported in the block have late apps, but for the graded ones."""
    import pytest

    from solutions.support import apps

    create = apps.create_app

    def create_late(*parts: Any, **named: Any) -> Any:
        if sys._getframe(1).f_globals["__name__"] in graded:
            return create(*parts, **named)
        return LateApp(lambda: create(*parts, **named))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(apps, "create_app", create_late)
        yield
