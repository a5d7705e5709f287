"""Lesson 02. Tokens that only this service can have made, for one use and a short time."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
from fastapi import APIRouter, HTTPException, status
from pydantic import BaseModel

from .support.apps import create_app
from .support.safe_route import SafeRoute
from .support.settings import get_settings

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
    settings = get_settings()
    now = datetime.now(UTC)
    if expires_delta is None:
        expires_delta = timedelta(minutes=settings.access_token_expire_minutes)
    claims = data | {
        "exp": now + expires_delta,
        "iat": now,
        "iss": settings.jwt_issuer,
        "aud": settings.jwt_audience,
        "jti": uuid.uuid4().hex,
        "type": "access",
    }
    if claims.get("sub") is not None:
        claims["sub"] = str(claims["sub"])
    return jwt.encode(claims, settings.signing_key, algorithm=settings.jwt_algorithm)


def decode_token(token: str, expected_type: str = "access") -> dict[str, Any]:
    """Return the claims of a token that this service signed, for this use, and that still lives.

    The algorithm comes from the settings, never from the token (RFC 8725 section 3.1). `iat` and
    `nbf` may be CLOCK_SKEW seconds ahead, `exp` is exact.
    Raises InvalidToken, and nothing else, for everything that is wrong.
    """
    settings = get_settings()
    if len(token) > MAX_TOKEN_CHARACTERS:
        raise InvalidToken
    try:
        claims = jwt.decode(
            token,
            settings.signing_key,
            algorithms=[settings.jwt_algorithm],
            issuer=settings.jwt_issuer,
            audience=settings.jwt_audience,
            leeway=CLOCK_SKEW,
            options={"require": REQUIRED_CLAIMS},
        )
        expired = claims["exp"] <= datetime.now(UTC).timestamp()  # leeway counted here too
    except Exception:  # not only the library's own: hostile input makes it raise others as well
        raise InvalidToken from None
    if expired or claims["type"] != expected_type:
        raise InvalidToken
    return claims


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
