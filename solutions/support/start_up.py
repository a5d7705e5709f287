"""What an app does before it serves: refuse unsafe settings, and say what it will forget."""

import logging
from collections.abc import Callable
from typing import TypeVar

from starlette.types import ASGIApp, Receive, Scope, Send

from ..stores.chosen import chosen_stores
from .settings import UnsafeSettings, get_settings

# The logger of the server, since nobody has to set that one up to see its lines.
logger = logging.getLogger("uvicorn.error")

T = TypeVar("T")


async def or_refuse(prepare: Callable[[], T], receive: Receive, send: Send) -> T:
    """Return what `prepare` does, or refuse to start with its sentence. Raises UnsafeSettings."""
    try:
        return prepare()
    except UnsafeSettings as error:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": str(error)})
        raise


class StartUp:
    """An ASGI wrapper that looks at the settings when the server starts the app."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse to start with one sentence. Raises UnsafeSettings for servers that ask."""
        if scope["type"] == "lifespan":
            settings = await or_refuse(get_settings, receive, send)
            if settings.environment == "production" and chosen_stores.get() is None:
                logger.warning(
                    "Accounts and sessions are kept in memory: they end with this process, "
                    "and one worker is the limit."
                )
        await self.app(scope, receive, send)
