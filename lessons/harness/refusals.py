"""Hears what the routes of an app raise: an answer does not tell where it was refused, and why."""

from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any

from fastapi import Request, Response, routing

Handle = Callable[[Request], Coroutine[Any, Any, Response]]

_listener: ContextVar[Callable[[Exception], None] | None] = ContextVar("_listener", default=None)


@cache  # it may be done ahead
def note_refusals() -> None:
    """Let FastAPI's routes tell the listener what they raise. Before there are any."""
    library: Any = routing
    make = library.get_request_handler

    def make_telling(*args: Any, **kwargs: Any) -> Handle:
        handle: Handle = make(*args, **kwargs)

        async def telling(request: Request) -> Response:
            try:
                return await handle(request)
            except Exception as error:
                if listener := _listener.get():
                    listener(error)
                raise

        return telling

    library.get_request_handler = make_telling


@contextmanager
def listening_to_refusals(listener: Callable[[Exception], None]) -> Iterator[None]:
    """Let the listener hear of the requests that this task sends in the block."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)
