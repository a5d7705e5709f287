"""Lesson 02 with python-jose, for readers who are bound to it.

It passes the same tests as `tokens.py`, and needs more care to do so: python-jose accepts a
missing algorithm list, a missing audience and unknown critical headers unless it is told not
to, and never compares `iat` with the clock. To leave it, replace this file by `tokens.py`; no
caller notices.
"""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from fastapi import APIRouter, HTTPException, status
from jose import jwt
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

    As in `tokens.py`.
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
    token: str = jwt.encode(claims, settings.signing_key, algorithm=settings.jwt_algorithm)
    return token


def decode_token(token: str, expected_type: str = "access") -> dict[str, Any]:
    """Return the claims of a good token. Raises InvalidToken, and nothing else, for any other."""
    settings = get_settings()
    if len(token) > MAX_TOKEN_CHARACTERS:
        raise InvalidToken
    try:
        # python-jose ignores `crit`, so a header that we do not understand would be ignored.
        if "crit" in jwt.get_unverified_header(token):
            raise InvalidToken
        claims: dict[str, Any] = jwt.decode(
            token,
            settings.signing_key,
            algorithms=[settings.jwt_algorithm],  # without it, any algorithm will do
            issuer=settings.jwt_issuer,
            audience=settings.jwt_audience,
            options={"leeway": CLOCK_SKEW} | {f"require_{each}": True for each in REQUIRED_CLAIMS},
        )
        now = datetime.now(UTC).timestamp()
        # python-jose never looks at `iat`, and gives `exp` the leeway too.
        untimely = claims["exp"] <= now or claims["iat"] > now + CLOCK_SKEW
    except Exception:  # only JWTError is documented; hostile input raises many others
        raise InvalidToken from None
    if untimely or claims.get("type") != expected_type:
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


app = create_app("Lesson 02: tokens, with python-jose", router)
