"""Lets an app work on stores of its own choice, and answer while they are down."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..stores.chosen import Stores, chosen_stores
from ..stores.sql.database import StoreDown, Unstorable
from . import health
from .doors import frames_of
from .settings import UnsafeSettings

OpenStores = Callable[[], AbstractAsyncContextManager[Stores | None]]
AnswerDown = Callable[[Request, Exception], Awaitable[Response]]


def use_stores(app: FastAPI, open_stores: OpenStores, answer_down: AnswerDown) -> None:
    """Let an app work on the stores that `open_stores` yields, for as long as the app runs.

    None stands for those in memory. `answer_down` answers in the place of a route that raises
    StoreDown. Two routes tell a supervisor how the app is.
    """
    app.include_router(health.router)
    app.add_middleware(_WithStores, open_stores=open_stores, answer_down=answer_down)
    app.add_exception_handler(StoreDown, answer_down)
    app.add_exception_handler(Unstorable, _refuse)


async def _refuse(request: Request, error: Exception) -> Response:
    return JSONResponse({"detail": "This text cannot be kept"}, 422)


class _WithStores:
    """An ASGI wrapper. It is open from the start of the server to its end: that is one call."""

    def __init__(self, app: ASGIApp, open_stores: OpenStores, answer_down: AnswerDown) -> None:
        self.app, self.open_stores, self.answer_down = app, open_stores, answer_down
        self.stores: Stores | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._run(scope, receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, send)
        else:
            await self._call_with_stores(scope, receive, send)

    async def _run(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with AsyncExitStack() as stack:
            try:
                self.stores = await stack.enter_async_context(self.open_stores())
            except UnsafeSettings as error:
                await receive()
                await send({"type": "lifespan.startup.failed", "message": str(error)})
                raise
            except Exception as error:
                # Servers take an app that only raises for one without a lifespan, and serve it: all
                # would be kept in memory, and nobody would know (CWE-636).
                await receive()
                message = f"Not started: {frames_of(error)}"
                await send({"type": "lifespan.startup.failed", "message": message})
                raise
            await self._call_with_stores(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer also for what asks a store before any route does, as an audit may."""
        has_begun = False

        async def note_and_send(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            await self._call_with_stores(scope, receive, note_and_send)
        except StoreDown as error:
            if has_begun:
                raise
            answer = await self.answer_down(Request(scope), error)
            await answer(scope, receive, send)

    async def _call_with_stores(self, scope: Scope, receive: Receive, send: Send) -> None:
        before = chosen_stores.set(self.stores)
        try:
            await self.app(scope, receive, send)
        finally:
            chosen_stores.reset(before)
