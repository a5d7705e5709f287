"""PyJWT's low level only: PyJWS for the signature, a table of checks of our own for the claims."""

import json
import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from math import isfinite
from typing import Any

import jwt
from fastapi import APIRouter, HTTPException
from pydantic import BaseModel, ConfigDict

from solutions.support.apps import create_app
from solutions.support.safe_route import SafeRoute
from solutions.support.settings import get_settings

MAX_TOKEN_CHARACTERS = 8_192
Check = Callable[[Any], bool]


class InvalidToken(jwt.InvalidTokenError):
    """A PyJWT error among PyJWT errors, but always with the same text."""

    def __init__(self) -> None:
        super().__init__("token rejected")


def timestamp(value: Any) -> bool:
    return type(value) is int or (type(value) is float and isfinite(value))


def claim_checks(expected_type: str) -> dict[str, Check]:
    settings = get_settings()
    now = datetime.now(UTC).timestamp()
    return {
        "exp": lambda exp: timestamp(exp) and now < exp,
        "iat": lambda iat: timestamp(iat) and iat <= now,
        "sub": lambda sub: isinstance(sub, str),
        "iss": lambda iss: iss == settings.jwt_issuer,
        "aud": lambda aud: settings.jwt_audience in (aud if isinstance(aud, list) else [aud]),
        "type": lambda kind: isinstance(kind, str) and kind == expected_type,
    }


REQUIRED_CLAIMS = ["exp", "iat", "sub", "iss", "aud", "type"]


def create_access_token(data: dict[str, Any], expires_delta: timedelta | None = None) -> str:
    settings = get_settings()
    now = datetime.now(UTC)
    if expires_delta is None:
        expires_delta = timedelta(minutes=settings.access_token_expire_minutes)
    claims = {name: value for name, value in data.items() if name != "sub"}
    if (sub := data.get("sub")) is not None:
        claims["sub"] = f"{sub}"
    claims |= {
        "exp": int((now + expires_delta).timestamp()),
        "iat": int(now.timestamp()),
        "iss": settings.jwt_issuer,
        "aud": settings.jwt_audience,
        "jti": secrets.token_hex(16),
        "type": "access",
    }
    return jwt.PyJWS().encode(
        json.dumps(claims).encode(), settings.signing_key, algorithm=settings.jwt_algorithm
    )


def decode_token(token: str, expected_type: str = "access") -> dict[str, Any]:
    settings = get_settings()
    if not isinstance(token, str) or len(token) > MAX_TOKEN_CHARACTERS:
        raise InvalidToken
    algorithms = [settings.jwt_algorithm]
    try:
        opened = jwt.PyJWS(algorithms).decode_complete(token, settings.signing_key, algorithms)
        claims = json.loads(opened["payload"])
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
        raise InvalidToken from None
    if "crit" in opened["header"] or not isinstance(claims, dict):
        raise InvalidToken
    for name, passes in claim_checks(expected_type).items():
        if name not in claims or not passes(claims[name]):
            raise InvalidToken
    if "nbf" in claims and not claim_checks(expected_type)["iat"](claims["nbf"]):
        raise InvalidToken
    return claims


class TokenToInspect(BaseModel):
    model_config = ConfigDict(extra="forbid")

    token: str


router = APIRouter(route_class=SafeRoute, tags=["02 tokens"])


@router.post("/inspect")
async def inspect(body: TokenToInspect) -> dict[str, Any]:
    try:
        return decode_token(body.token)
    except InvalidToken as refusal:
        unauthorized = HTTPException(401, {"error": str(refusal)})
        unauthorized.headers = {"WWW-Authenticate": "Bearer"}
        raise unauthorized from None


app = create_app("Lesson 02: tokens", router)
