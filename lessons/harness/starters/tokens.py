"""Lesson 02. Tokens that only this service can have made, for one use and a short time."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
from fastapi import APIRouter, HTTPException, status
from pydantic import BaseModel

from solutions.support.apps import create_app
from solutions.support.safe_route import SafeRoute
from solutions.support.settings import get_settings

REQUIRED_CLAIMS = ["exp", "iat", "sub", "iss", "aud", "type"]
MAX_TOKEN_CHARACTERS = 8192  # longer ones are refused before any work is done on them (CWE-400)
CLOCK_SKEW = 5  # seconds that another server's clock may be ahead of ours


class InvalidToken(Exception):
    """The token is not to be believed. Why is nobody's business but ours."""

    def __init__(self) -> None:
        super().__init__("Could not validate credentials")


def create_access_token(data: dict[str, Any], expires_delta: timedelta | None = None) -> str:
    """Sign the claims in `data` together with `exp`, `iat`, `iss`, `aud`, `jti` and `type`.

    `sub` becomes a string (RFC 7519 section 4.1.2). The token lives for `expires_delta`, by
    default ACCESS_TOKEN_EXPIRE_MINUTES. The caller's data never replaces the standard claims.
    Anyone can read a token: nothing secret belongs in `data`.
    """
    raise NotImplementedError("TODO 1: sign data together with the standard claims")


def decode_token(token: str, expected_type: str = "access") -> dict[str, Any]:
    """Return the claims of a token that this service signed, for this use, and that still lives.

    The algorithm comes from the settings, never from the token (RFC 8725 section 3.1). `iat` and
    `nbf` may be CLOCK_SKEW seconds ahead, `exp` is exact.
    Raises InvalidToken, and nothing else, for everything that is wrong.
    """
    raise NotImplementedError("TODO 2: accept only what this service signed for this use")


class TokenToInspect(BaseModel):
    """A token to take apart."""

    token: str


router = APIRouter(route_class=SafeRoute, tags=["02 tokens"])


@router.post("/inspect")
async def inspect(body: TokenToInspect) -> dict[str, Any]:
    """Show a good token's claims, and the same 401 for every bad one. For the lesson only."""
    try:
        return decode_token(body.token)
    except InvalidToken as error:
        raise HTTPException(
            status.HTTP_401_UNAUTHORIZED, str(error), headers={"WWW-Authenticate": "Bearer"}
        ) from None


app = create_app("Lesson 02: tokens", router)
