"""Breakable on purpose: errors of many tutorials in one file. Never import it, never copy it.

`pytest lessons/02 --naive` shows how mallory gets in.
"""

import logging
import time
from datetime import datetime, timedelta
from typing import Any

import jwt
from fastapi import APIRouter, HTTPException, status
from pydantic import BaseModel

from solutions.support.apps import create_app
from solutions.support.settings import get_settings


class InvalidToken(Exception):
    pass


def create_access_token(data: dict[str, Any], expires_delta: timedelta | None = None) -> str:
    settings = get_settings()
    to_encode = {
        "exp": datetime.now() + (expires_delta or timedelta(minutes=30)),
        "iat": int(time.time()),
        "iss": settings.jwt_issuer,
        "aud": settings.jwt_audience,
        "jti": str(datetime.now().timestamp()),
        "type": "access",
        **data,
        "sub": str(data.get("sub")),
    }
    token = jwt.encode(to_encode, settings.signing_key)
    logging.debug("issued %s", token)  # "so that we can help users"
    return token


def decode_token(token: str, expected_type: str = "access") -> dict[str, Any]:
    try:
        algorithm = jwt.get_unverified_header(token)["alg"]  # "so that any token works"
        return jwt.decode(
            token,
            get_settings().signing_key,
            algorithms=[algorithm],
            options={"verify_aud": False, "verify_sub": False},  # "Invalid audience": fixed
        )
    except (jwt.DecodeError, jwt.ExpiredSignatureError) as error:
        raise InvalidToken(str(error))


# From here on as given, with the error's own text in the answer.


class TokenToInspect(BaseModel):
    token: str


router = APIRouter(tags=["02 tokens"])


@router.post("/inspect")
async def inspect(body: TokenToInspect) -> dict[str, Any]:
    try:
        return decode_token(body.token)
    except InvalidToken as error:
        raise HTTPException(
            status.HTTP_401_UNAUTHORIZED, str(error), headers={"WWW-Authenticate": "Bearer"}
        )


app = create_app("Lesson 02: tokens", router)
