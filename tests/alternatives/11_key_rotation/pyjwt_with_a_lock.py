"""PyJWT in the place of joserfc, and a lock in the place of the one flight."""

import asyncio
import contextlib
import logging
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
from fastapi import APIRouter, Response

from solutions import hashing, oauth2, refresh
from solutions.support.apps import create_app
from solutions.support.key_ring import open_key_ring
from solutions.support.key_sets import KeySetDown, fetch_key_set
from solutions.support.settings import get_settings
from solutions.support.token_service import access_claims, use_tokens
from solutions.tokens import InvalidToken

KINDS = {("EC", "P-256"): "ES256", ("OKP", "Ed25519"): "EdDSA", ("RSA", None): "RS256"}


def load(entry):
    """A PyJWK of a key for signatures, or None."""
    try:
        alg = KINDS[entry["kty"], entry.get("crv")]
        if entry.get("use", "sig") != "sig" or entry.get("alg", alg) != alg or "d" in entry:
            return None
        if not isinstance(entry["kid"], str):
            return None
        return jwt.PyJWK(entry, algorithm=alg)
    except Exception:
        return None


ALSO = {"EdDSA": ("Ed25519",)}  # the name that RFC 9864 gives it
with contextlib.suppress(ValueError):  # it is there from the last time
    jwt.register_algorithm("Ed25519", jwt.algorithms.OKPAlgorithm())


def read(token: str, key, issuer: str, audience: str) -> dict[str, Any]:
    if key is None:
        raise InvalidToken
    try:
        whole = jwt.decode_complete(
            token,
            key.key,
            algorithms=[key.algorithm_name, *ALSO.get(key.algorithm_name, ())],
            issuer=issuer,
            audience=audience,
            leeway=10,
            options={"require": ["exp", "iat", "sub", "iss", "aud"]},
        )
        typ = whole["header"]["typ"].lower()
        assert typ in ("at+jwt", "application/at+jwt")
        assert whole["payload"]["sub"]
        return whole["payload"]
    except Exception:
        raise InvalidToken from None


def name_of(token: str) -> str:
    try:
        if len(token) > 8000:
            return ""
        kid = jwt.get_unverified_header(token)["kid"]
        return kid if isinstance(kid, str) else ""
    except Exception:
        return ""


class FetchedKeys:
    def __init__(self, address: str, clock=time.monotonic):
        self.address, self.clock = address, clock
        self.keys: dict[str, Any] = {}
        self.last = None
        self.lock = asyncio.Lock()

    def due(self, kid):
        if self.last is None:
            return True
        return self.clock() - self.last >= (300 if kid in self.keys else 60)

    async def load(self):
        async with self.lock:
            if self.last is not None and self.clock() - self.last < 60:
                return  # somebody else was quicker
            try:
                entries = await fetch_key_set(self.address)
                names = [each.get("kid") for each in entries if isinstance(each, dict)]
                loaded = [each for each in map(load, entries) if each]
                self.keys = {each.key_id: each for each in loaded if names.count(each.key_id) == 1}
            except KeySetDown as why:
                logging.info("%s", why)
            self.last = self.clock()

    async def find(self, kid):
        if self.due(kid):
            await asyncio.shield(asyncio.ensure_future(self.load()))
        return self.keys.get(kid)


async def verify_token(token: str, keys, issuer: str, audience: str) -> dict[str, Any]:
    kid = name_of(token)
    key = await keys.find(kid) if kid else None
    return read(token, key, issuer, audience)


def alive() -> list[Any]:
    now, keys = datetime.now(UTC), open_key_ring().keys()
    life = timedelta(minutes=get_settings().access_token_expire_minutes)
    ends = [each.signs_from + life for each in keys[1:]] + [now + life]
    return [key for key, end in zip(keys, ends) if now < end]


class Service:
    def create(self, claims, lifetime):
        now = datetime.now(UTC)
        key = max((k for k in open_key_ring().keys() if k.signs_from <= now), key=lambda k: k.signs_from)
        pem = key.private.as_pem(private=True)
        return jwt.encode(
            access_claims(claims, lifetime), pem, "ES256", headers={"kid": key.kid, "typ": "at+jwt"}
        )

    def check(self, token):
        settings = get_settings()
        key = next((each for each in alive() if each.kid == name_of(token)), None)
        mine = jwt.PyJWK(key.public_jwk(), algorithm="ES256") if key else None
        return read(token, mine, settings.jwt_issuer, settings.jwt_audience)


router = APIRouter(tags=["11 key rotation"])


@router.get("/.well-known/jwks.json")
async def jwks(response: Response) -> dict[str, Any]:
    response.headers["cache-control"] = "max-age=300"
    return {"keys": [each.public_jwk() for each in alive()]}


app = create_app("Keys", hashing.router, oauth2.router, refresh.router, router)
use_tokens(app, Service(), prepare=open_key_ring)
