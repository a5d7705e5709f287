"""HS256 by hand, standard library only: the signature is compared before anything is parsed."""

import hashlib
import hmac
import json
import math
import secrets
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import timedelta
from typing import Any

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel

from solutions.support.apps import create_app
from solutions.support.safe_route import SafeRoute
from solutions.support.settings import get_settings

REQUIRED_CLAIMS = {"exp", "iat", "sub", "iss", "aud", "type"}
MAX_TOKEN_CHARACTERS = 8192
DIGESTS = {"HS256": hashlib.sha256}


class InvalidToken(PermissionError):
    def __init__(self) -> None:
        super().__init__("No valid token")


def _pack(part: dict[str, Any]) -> bytes:
    return _base64(json.dumps(part, separators=(",", ":"), allow_nan=False).encode())


def _base64(raw: bytes) -> bytes:
    return urlsafe_b64encode(raw).rstrip(b"=")


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _unpack(part: bytes) -> Any:
    raw = urlsafe_b64decode(part + b"=" * (-len(part) % 4))
    return json.loads(raw.decode(), parse_constant=_no_constant)


def _header() -> dict[str, str]:
    return {"alg": get_settings().jwt_algorithm, "typ": "JWT"}


def _signature(signing_input: bytes) -> bytes:
    settings = get_settings()
    digest = DIGESTS[settings.jwt_algorithm]
    return _base64(hmac.new(settings.signing_key.encode(), signing_input, digest).digest())


def create_access_token(data: dict[str, Any], expires_delta: timedelta | None = None) -> str:
    settings = get_settings()
    if expires_delta is None:
        expires_delta = timedelta(minutes=settings.access_token_expire_minutes)
    now = time.time()
    claims = {
        **data,
        "exp": math.floor(now + expires_delta.total_seconds()),
        "iat": math.floor(now),
        "iss": settings.jwt_issuer,
        "aud": settings.jwt_audience,
        "jti": secrets.token_urlsafe(),
        "type": "access",
    }
    if claims.get("sub") is not None:
        claims["sub"] = str(claims["sub"])
    signing_input = _pack(_header()) + b"." + _pack(claims)
    return (signing_input + b"." + _signature(signing_input)).decode()


def _number(value: Any) -> bool:
    # 1e999 is no constant but still infinite
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value < math.inf


def _acceptable(claims: Any, expected_type: str) -> bool:
    settings, now = get_settings(), time.time()
    if not isinstance(claims, dict) or not REQUIRED_CLAIMS <= claims.keys():
        return False
    audiences = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
    return (
        _number(claims["exp"])
        and claims["exp"] > now
        and _number(claims["iat"])
        and claims["iat"] <= now
        and ("nbf" not in claims or (_number(claims["nbf"]) and claims["nbf"] <= now))
        and isinstance(claims["sub"], str)
        and claims["iss"] == settings.jwt_issuer
        and settings.jwt_audience in audiences
        and claims["type"] == expected_type
    )


def decode_token(token: str, expected_type: str = "access") -> dict[str, Any]:
    if not isinstance(token, str) or len(token) > MAX_TOKEN_CHARACTERS:
        raise InvalidToken
    try:
        signing_input, signature = token.encode("ascii").rsplit(b".", 1)
        if not hmac.compare_digest(_signature(signing_input), signature):
            raise InvalidToken
        header, claims = map(_unpack, signing_input.split(b"."))
    except (ValueError, RecursionError):
        raise InvalidToken from None
    # We write one header only, so only that one is read: no `none`, no `crit`, no `kid`.
    if header != _header() or not _acceptable(claims, expected_type):
        raise InvalidToken
    return claims


class TokenToInspect(BaseModel):
    token: str


router = APIRouter(route_class=SafeRoute, tags=["02 tokens"])


@router.post("/inspect")
def inspect(body: TokenToInspect) -> dict[str, Any]:
    """The claims of a good token; one answer for all others."""
    try:
        return decode_token(body.token)
    except InvalidToken:
        pass
    raise HTTPException(401, detail="No valid token", headers={"WWW-Authenticate": "Bearer"})


app = create_app("Lesson 02: tokens", router)
