"""Authlib's (deprecated) authlib.jose with a claims class of our own that closes its gaps."""

import math
import time
import uuid
from datetime import timedelta
from typing import Any

from authlib.jose import JsonWebToken, JWTClaims, OctKey
from authlib.jose.errors import ExpiredTokenError, InvalidClaimError, JoseError
from fastapi import APIRouter, HTTPException, status
from pydantic import BaseModel

from solutions.support.apps import create_app
from solutions.support.safe_route import SafeRoute
from solutions.support.settings import get_settings

REQUIRED_CLAIMS = ["exp", "iat", "sub", "iss", "aud", "type"]
MAX_TOKEN_CHARACTERS = 8192


class InvalidToken(Exception):
    detail = "Bad token"

    def __init__(self) -> None:
        super().__init__(self.detail)


class OurClaims(JWTClaims):
    """Authlib accepts in the very second of expiry, NaN as a time, and any type of subject."""

    def validate_exp(self, now, leeway):
        super().validate_exp(now, leeway)
        if not math.isfinite(self["exp"]):
            raise InvalidClaimError("exp")
        if self["exp"] <= now:
            raise ExpiredTokenError()

    def validate_sub(self):
        if not isinstance(self["sub"], str):
            raise InvalidClaimError("sub")


def codec() -> tuple[JsonWebToken, OctKey]:
    settings = get_settings()
    return JsonWebToken([settings.jwt_algorithm]), OctKey.import_key(settings.signing_key)


def create_access_token(data: dict[str, Any], expires_delta: timedelta | None = None) -> str:
    settings = get_settings()
    jwt, key = codec()
    lifetime = (
        settings.access_token_expire_minutes * 60
        if expires_delta is None
        else int(expires_delta.total_seconds())
    )
    claims = dict(data)
    if "sub" in claims and claims["sub"] is not None:
        claims["sub"] = str(claims["sub"])
    claims["iat"] = int(time.time())
    claims["exp"] = claims["iat"] + lifetime
    claims["iss"] = settings.jwt_issuer
    claims["aud"] = [settings.jwt_audience]
    claims["jti"] = uuid.uuid4().urn
    claims["type"] = "access"
    # check=False: Authlib refuses to sign claims with names such as `token`.
    return jwt.encode({"alg": settings.jwt_algorithm}, claims, key, check=False).decode()


def decode_token(token: str, expected_type: str = "access") -> dict[str, Any]:
    settings = get_settings()
    options: dict[str, dict[str, Any]] = {name: {"essential": True} for name in REQUIRED_CLAIMS}
    options["iss"]["value"] = settings.jwt_issuer
    options["aud"]["value"] = settings.jwt_audience
    options["type"]["validate"] = lambda claims, value: value == expected_type
    jwt, key = codec()
    try:
        # Two dots: with four, Authlib would start to decrypt.
        if len(token) > MAX_TOKEN_CHARACTERS or token.count(".") != 2:
            raise InvalidToken
        claims = jwt.decode(token, key, claims_cls=OurClaims, claims_options=options)
        claims.validate(now=time.time())
        if "crit" in claims.header:
            raise InvalidToken
    except (JoseError, ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        raise InvalidToken from None
    return dict(claims)


class TokenToInspect(BaseModel):
    token: str


router = APIRouter(route_class=SafeRoute, tags=["02 tokens"])


@router.post("/inspect")
def inspect(body: TokenToInspect) -> dict[str, Any]:
    try:
        claims = decode_token(body.token)
    except InvalidToken:
        raise HTTPException(
            status_code=status.HTTP_401_UNAUTHORIZED,
            detail=InvalidToken.detail,
            headers={"WWW-Authenticate": 'Bearer realm="workbook"'},
        ) from None
    return claims


app = create_app("Lesson 02: tokens", router)
