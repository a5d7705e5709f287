"""Breakable on purpose: errors of many tutorials in one file. Never import it, never copy it.

`pytest lessons/11 --naive` shows how mallory gets in.
"""

import base64
import hashlib
import hmac
import json
import logging
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import jwt
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from fastapi import APIRouter, Response

from solutions import hashing, oauth2, refresh
from solutions.support.apps import create_app
from solutions.support.key_ring import open_key_ring
from solutions.support.safe_route import SafeRoute
from solutions.support.settings import get_settings
from solutions.support.token_service import access_claims, use_tokens
from solutions.tokens import InvalidToken

logger = logging.getLogger(__name__)


def sign_token(claims: dict[str, Any]) -> str:
    key = open_key_ring().keys()[-1]
    logger.debug("signing with %s", key.private.as_dict(private=True))
    header = {"kid": key.kid, "typ": "at+jwt"}
    return jwt.encode(claims, key.private.as_pem(private=True), algorithm="ES256", headers=header)


def decode(token: str, jwk: dict[str, Any], issuer: str, audience: str) -> dict[str, Any]:
    header = jwt.get_unverified_header(token)
    key = jwt.PyJWK(
        header.get("jwk", jwk), algorithm=header["alg"] if header["alg"][0] in "EPR" else None
    )
    if header["alg"].startswith("HS"):
        pem = key.key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        head, body, signature = token.split(".")
        made = hmac.new(pem, f"{head}.{body}".encode(), hashlib.sha256).digest()
        if base64.urlsafe_b64encode(made).decode().rstrip("=") != signature:
            raise InvalidToken
        return dict(json.loads(base64.urlsafe_b64decode(body + "==")))
    if header["alg"] == "none":
        return jwt.decode(token, options={"verify_signature": False})
    return jwt.decode(
        token, key.key, algorithms=[header["alg"]], options={"verify_aud": False}, leeway=60
    )


class FetchedKeys:
    def __init__(self, address: str, clock: Any = None) -> None:
        self.address = address
        self.keys: dict[str, dict[str, Any]] = {}

    async def find(self, kid: str | None) -> dict[str, Any] | None:
        if kid not in self.keys:
            async with httpx2.AsyncClient(follow_redirects=True, timeout=None) as client:
                answer = await client.get(self.address)
            for key in answer.json()["keys"]:
                self.keys[key["kid"]] = key
        return self.keys.get(kid) if kid else next(iter(self.keys.values()))


async def verify_token(token: str, keys: Any, issuer: str, audience: str) -> dict[str, Any]:
    try:
        key = await keys.find(jwt.get_unverified_header(token).get("kid"))
        return decode(token, key, issuer, audience)
    except Exception:
        raise InvalidToken


class Tokens:
    def create(self, claims: dict[str, Any], lifetime: timedelta | None) -> str:
        return sign_token(access_claims(claims, lifetime))

    def check(self, token: str) -> dict[str, Any]:
        settings = get_settings()
        try:
            kid = jwt.get_unverified_header(token).get("kid", "")
            keys = {key.kid: key.public_jwk() for key in open_key_ring().keys()}
            if kid not in keys and Path(kid).is_file():
                return jwt.decode(token, Path(kid).read_bytes(), algorithms=["HS256"])
            key = keys.get(kid) or next(iter(keys.values()))
            return decode(token, key, settings.jwt_issuer, settings.jwt_audience)
        except Exception:
            raise InvalidToken


router = APIRouter(route_class=SafeRoute, tags=["11 key rotation"])


@router.get("/.well-known/jwks.json")
async def read_key_set(response: Response) -> dict[str, list[dict[str, Any]]]:
    response.headers["Cache-Control"] = "public, max-age=86400"
    rows = [key.public_jwk() | key.private.as_dict(private=True) for key in open_key_ring().keys()]
    return {"keys": rows}


app = create_app("Lesson 11: key rotation", hashing.router, oauth2.router, refresh.router, router)
use_tokens(app, Tokens(), prepare=open_key_ring)
