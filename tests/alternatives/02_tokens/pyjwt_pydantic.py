"""PyJWT checks the signature, a strict Pydantic model the claims; a small class holds both."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from uuid import uuid4

import jwt
from fastapi import APIRouter, HTTPException
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from solutions.support.apps import create_app
from solutions.support.safe_route import SafeRoute
from solutions.support.settings import Settings, get_settings

NumericDate = Annotated[int, Field(strict=True)] | FiniteFloat


class Claims(BaseModel):
    """What every token of ours says. Nothing is optional, nothing is converted."""

    model_config = ConfigDict(strict=True, extra="ignore")

    exp: NumericDate
    iat: NumericDate
    sub: str
    iss: str
    aud: str | list[str]
    type: str


REQUIRED_CLAIMS = list(Claims.model_fields)
MAX_TOKEN_CHARACTERS = 8192


class InvalidToken(ValueError):
    """No further details, for anybody."""

    def __str__(self) -> str:
        return "This token is not valid"


class TokenDesk:
    """Issues and checks tokens by one set of settings."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def issue(self, data: dict[str, Any], lifetime: timedelta | None) -> str:
        now = datetime.now(UTC)
        if lifetime is None:
            lifetime = timedelta(minutes=self.settings.access_token_expire_minutes)
        claims = {
            **data,
            "iat": now,
            "exp": now + lifetime,
            "iss": self.settings.jwt_issuer,
            "aud": self.settings.jwt_audience,
            "jti": str(uuid4()),
            "type": "access",
        }
        if claims.get("sub") is not None:
            claims["sub"] = str(claims["sub"])
        return jwt.encode(claims, self.settings.signing_key, self.settings.jwt_algorithm)

    def check(self, token: str, use: str) -> dict[str, Any]:
        if not isinstance(token, str) or len(token) > MAX_TOKEN_CHARACTERS:
            raise InvalidToken
        try:
            parts = jwt.decode_complete(
                token,
                key=self.settings.signing_key,
                algorithms=[self.settings.jwt_algorithm],
                audience=self.settings.jwt_audience,
                issuer=self.settings.jwt_issuer,
                options={"require": REQUIRED_CLAIMS},
            )
            claims = Claims.model_validate(parts["payload"])
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
            raise InvalidToken from None
        if claims.type != use or "crit" in parts["header"]:
            raise InvalidToken
        return parts["payload"]


def create_access_token(data: dict[str, Any], expires_delta: timedelta | None = None) -> str:
    """Sign `data` and the standard claims, which win."""
    return TokenDesk(get_settings()).issue(data, expires_delta)


def decode_token(token: str, expected_type: str = "access") -> dict[str, Any]:
    """Return the claims of a living token of ours, or raise InvalidToken."""
    return TokenDesk(get_settings()).check(token, expected_type)


class TokenToInspect(BaseModel):
    token: str


router = APIRouter(route_class=SafeRoute, tags=["02 tokens"])


@router.post("/inspect")
def inspect(body: TokenToInspect) -> dict[str, Any]:
    try:
        return decode_token(body.token)
    except InvalidToken as error:
        raise HTTPException(401, str(error), {"WWW-Authenticate": "Bearer"}) from None


app = create_app("Lesson 02: tokens", router)
