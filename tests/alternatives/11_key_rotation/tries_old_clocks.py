"""Sixty seconds of grace wherever clocks are compared, and sets asked for twice as often."""

import logging
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from fastapi import APIRouter, Response
from joserfc import jwt

from solutions import hashing, oauth2, refresh
from solutions.support.apps import create_app
from solutions.support.key_ring import open_key_ring
from solutions.support.key_sets import OneFlight, fetch_key_set, import_keys, kid_of
from solutions.support.settings import get_settings
from solutions.support.token_service import access_claims, use_tokens
from solutions.tokens import InvalidToken

GRACE = timedelta(seconds=60)


def now() -> datetime:
    return datetime.now(UTC)


def own_keys() -> list[Any]:
    keys = open_key_ring().keys()
    life = timedelta(minutes=get_settings().access_token_expire_minutes)
    gone = 0
    for follower in keys[1:]:
        gone += now() >= follower.signs_from + life + GRACE
    return keys[gone:]


def check_one(token: str, key: Any, issuer: str, audience: str) -> dict[str, Any]:
    try:
        read = jwt.decode(token, key.jwk, algorithms=key.algorithms)
        claims = read.claims
        rules = jwt.JWTClaimsRegistry(
            leeway=60,
            iss={"essential": True, "values": [issuer]},
            aud={"essential": True, "values": [audience]},
            exp={"essential": True},
            iat={"essential": True},
            sub={"essential": True},
        )
        rules.validate(claims)
        words = read.header["typ"].lower().split("/")
        if words not in (["at+jwt"], ["application", "at+jwt"]):
            raise ValueError("typ")
    except Exception:
        raise InvalidToken from None
    else:
        return claims


class FetchedKeys:
    def __init__(self, address: str, clock: Any = time.monotonic) -> None:
        self.address, self.clock = address, clock
        self.keys: dict[str, Any] = {}
        self.since: float | None = None
        self.flight = OneFlight()

    async def find(self, kid: str) -> Any:
        wait = 150 if kid in self.keys else 60
        if self.since is None or self.clock() - self.since >= wait:
            await self.flight.join(self.renew)
        return self.keys.get(kid)

    async def renew(self) -> None:
        try:
            entries = await fetch_key_set(self.address)
            self.keys = import_keys(entries)
        except Exception as error:
            logging.getLogger(__name__).warning("No key set: %s", type(error).__name__)
        self.since = self.clock()


async def verify_token(token: str, keys: Any, issuer: str, audience: str) -> dict[str, Any]:
    kid = kid_of(token)
    key = await keys.find(kid) if kid else None
    return check_one(token, key, issuer, audience)


class Service:
    def create(self, claims: dict[str, Any], lifetime: timedelta | None) -> str:
        key = next(k for k in reversed(own_keys()) if k.signs_from <= now())
        header = {"alg": "ES256", "typ": "at+jwt", "kid": key.kid}
        return jwt.encode(header, access_claims(claims, lifetime), key.private)

    def check(self, token: str) -> dict[str, Any]:
        kid, settings = kid_of(token), get_settings()
        matches = [key.public for key in own_keys() if key.kid == kid]
        return check_one(
            token, matches[0] if matches else None, settings.jwt_issuer, settings.jwt_audience
        )


router = APIRouter()


@router.get("/.well-known/jwks.json")
async def key_set(response: Response) -> dict[str, Any]:
    response.headers["Cache-Control"] = "public, max-age=60"
    return {"keys": [key.public_jwk() for key in own_keys()]}


app = create_app("Keys", hashing.router, oauth2.router, refresh.router, router)
use_tokens(app, Service(), prepare=open_key_ring)
