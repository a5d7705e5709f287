"""The seam between routes and access tokens: whoever makes them here, and whoever checks them.

By default it is lesson 02. An app whose tokens are of another kind says so with `use_tokens`, and
no route has to know.
"""

import time
import uuid
from collections.abc import Callable
from contextvars import ContextVar
from datetime import timedelta
from typing import Any, Protocol

from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from .. import tokens  # noqa: F401 - loaded at start, not at the first login
from .settings import get_settings
from .start_up import or_refuse


class TokenService(Protocol):
    """Makes an app's access tokens, and checks them."""

    def create(self, claims: dict[str, Any], lifetime: timedelta | None) -> str:
        """Return a token with these claims and the standard ones."""

    def check(self, token: str) -> dict[str, Any]:
        """Return the claims of a good access token. Raises `tokens.InvalidToken` for others."""


_service: ContextVar[TokenService | None] = ContextVar("token_service", default=None)


def create_access_token(data: dict[str, Any], expires_delta: timedelta | None = None) -> str:
    """Make an access token as this app does; by default that is `tokens.create_access_token`."""
    if service := _service.get():
        return service.create(data, expires_delta)
    from ..tokens import create_access_token as create  # here: the one of this moment

    return create(data, expires_delta)


def decode_token(token: str) -> dict[str, Any]:
    """Return a good access token's claims; by default as `tokens.decode_token` does.

    Raises `tokens.InvalidToken`.
    """
    if service := _service.get():
        return service.check(token)
    from ..tokens import decode_token as decode

    return decode(token)


def access_claims(data: dict[str, Any], lifetime: timedelta | None) -> dict[str, Any]:
    """Return what a service's token says: `data`, and over it the standard claims.

    It lives for ACCESS_TOKEN_EXPIRE_MINUTES, or for `lifetime`.
    """
    settings, now = get_settings(), int(time.time())
    life = lifetime or timedelta(minutes=settings.access_token_expire_minutes)
    return data | {
        "exp": now + int(life.total_seconds()),
        "iat": now,
        "iss": settings.jwt_issuer,
        "aud": settings.jwt_audience,
        "jti": uuid.uuid4().hex,
    }


def use_tokens(app: FastAPI, service: TokenService, prepare: Callable[[], object]) -> None:
    """Let an app make and check its tokens otherwise. `prepare` may refuse the start."""
    app.add_middleware(_WithTokens, service=service, prepare=prepare)


class _WithTokens:
    def __init__(self, app: ASGIApp, service: TokenService, prepare: Callable[[], object]) -> None:
        self.app, self.service, self.prepare = app, service, prepare

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await or_refuse(self.prepare, receive, send)
        before = _service.set(self.service)
        try:
            await self.app(scope, receive, send)
        finally:
            _service.reset(before)
