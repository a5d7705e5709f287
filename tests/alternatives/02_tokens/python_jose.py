"""python-jose, hardened: it checks the signature, and everything it forgets is checked here.
Mended by the new rules: it took a token that was issued tomorrow."""

import re
import secrets
import time
from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Body, HTTPException
from jose import JOSEError, jwk, jwt

from solutions.support.apps import create_app
from solutions.support.safe_route import SafeRoute
from solutions.support.settings import get_settings

REQUIRED_CLAIMS = ("exp", "iat", "sub", "iss", "aud", "type")
MAX_TOKEN_CHARACTERS = 8192
COMPACT_JWS = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")


class InvalidToken(HTTPException):
    """Already the answer that FastAPI shall give: a route may let it pass."""

    def __init__(self) -> None:
        super().__init__(401, "Invalid token", {"WWW-Authenticate": 'Bearer error="invalid_token"'})


def _key():
    # As a Key: python-jose would take a bare text that happens to be JSON for a set of keys.
    settings = get_settings()
    return jwk.construct(settings.signing_key, settings.jwt_algorithm)


def create_access_token(data: dict, expires_delta: timedelta | None = None) -> str:
    settings = get_settings()
    if expires_delta is None:
        expires_delta = timedelta(minutes=settings.access_token_expire_minutes)
    now = int(time.time())
    claims = dict(data)
    subject = claims.pop("sub", None)
    if subject is not None:
        claims["sub"] = str(subject)
    claims.update(
        iat=now,
        exp=now + int(expires_delta.total_seconds()),
        iss=settings.jwt_issuer,
        aud=settings.jwt_audience,
        jti=secrets.token_urlsafe(16),
        type="access",
    )
    return jwt.encode(claims, _key(), algorithm=settings.jwt_algorithm)


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _believe(token: str, expected_type: str) -> dict[str, Any] | None:
    """Return the claims, or None. May raise what python-jose raises."""
    settings = get_settings()
    if len(token) > MAX_TOKEN_CHARACTERS or not COMPACT_JWS.fullmatch(token):
        return None
    if "crit" in jwt.get_unverified_header(token):  # python-jose does not look at it
        return None
    claims = jwt.decode(
        token,
        _key(),
        algorithms=[settings.jwt_algorithm],
        audience=settings.jwt_audience,
        issuer=settings.jwt_issuer,
        options={"verify_at_hash": False},
    )
    good = (
        all(claims.get(name) is not None for name in REQUIRED_CLAIMS)
        and _is_time(claims["iat"])
        and _is_time(claims["exp"])
        and claims["iat"] <= time.time() + 5  # python-jose never looks at it
        and claims["exp"] > time.time()  # python-jose still takes it in the second of its death
        and claims["type"] == expected_type
    )
    return claims if good else None


def decode_token(token: str, expected_type: str = "access") -> dict:
    try:
        claims = _believe(token, expected_type)
    except (JOSEError, ValueError, TypeError, OverflowError, RecursionError):
        claims = None
    if claims is None:
        raise InvalidToken
    return claims


TokenToInspect = Annotated[str, Body(embed=True)]

router = APIRouter(route_class=SafeRoute, tags=["02 tokens"])


@router.post("/inspect")
async def inspect(token: TokenToInspect) -> dict[str, Any]:
    return decode_token(token)


app = create_app("Lesson 02: tokens", router)
