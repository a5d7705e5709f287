"""joserfc: a claims registry states the rules, and the app turns InvalidToken into the 401."""

import time
import uuid
from datetime import UTC, datetime, timedelta

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey
from pydantic import BaseModel

from solutions.support.apps import create_app
from solutions.support.safe_route import SafeRoute
from solutions.support.settings import get_settings

REQUIRED_CLAIMS = frozenset({"exp", "iat", "sub", "iss", "aud", "type"})
MAX_TOKEN_CHARACTERS = 8192


class InvalidToken(LookupError):
    def __init__(self):
        super().__init__("Token refused")


def signing_key() -> OctKey:
    return OctKey.import_key(get_settings().signing_key.encode())


def rules(**exact: str) -> jwt.JWTClaimsRegistry:
    """Every claim is essential; those in `exact` have one right value."""
    options = {claim: {"essential": True} for claim in REQUIRED_CLAIMS}
    for claim, value in exact.items():
        options[claim]["value"] = value
    return jwt.JWTClaimsRegistry(now=time.time, **options)


def create_access_token(data: dict, expires_delta: timedelta | None = None) -> str:
    settings = get_settings()
    default = timedelta(minutes=settings.access_token_expire_minutes)
    issued = datetime.now(UTC).replace(microsecond=0)
    expires = issued + (default if expires_delta is None else expires_delta)
    subject = {} if data.get("sub") is None else {"sub": str(data["sub"])}
    standard = {
        "iss": settings.jwt_issuer,
        "aud": settings.jwt_audience,
        "iat": int(issued.timestamp()),
        "exp": int(expires.timestamp()),
        "jti": uuid.uuid4().hex,
        "type": "access",
    }
    return jwt.encode({"alg": settings.jwt_algorithm}, data | subject | standard, signing_key())


def decode_token(token: str, expected_type: str = "access") -> dict:
    settings = get_settings()
    try:
        if len(token) > MAX_TOKEN_CHARACTERS:
            raise InvalidToken
        opened = jwt.decode(token, signing_key(), algorithms=[settings.jwt_algorithm])
        if "crit" in opened.header:
            raise InvalidToken
        rules(iss=settings.jwt_issuer, aud=settings.jwt_audience).validate(opened.claims)
        if opened.claims["type"] != expected_type:  # the registry would take ["access"] too
            raise InvalidToken
    except (JoseError, ValueError, TypeError, AttributeError, RecursionError):
        raise InvalidToken from None
    return opened.claims


class TokenToInspect(BaseModel):
    token: str


router = APIRouter(route_class=SafeRoute, tags=["02 tokens"])


@router.post("/inspect")
async def inspect(body: TokenToInspect) -> dict:
    return decode_token(body.token)


async def unauthorized(request, error) -> JSONResponse:
    return JSONResponse({"detail": str(error)}, 401, {"WWW-Authenticate": "Bearer"})


app = create_app("Lesson 02: tokens", router)
app.add_exception_handler(InvalidToken, unauthorized)
