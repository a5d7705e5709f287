"""The app's own keys and those of another service are two sources with one look-up."""

import logging
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from fastapi import APIRouter, Depends, Response
from joserfc import errors, jwt

from solutions import hashing, oauth2, refresh
from solutions.support.apps import create_app
from solutions.support.key_ring import open_key_ring
from solutions.support.key_sets import (
    KeySetDown,
    OneFlight,
    VerifyingKey,
    fetch_key_set,
    import_keys,
    kid_of,
)
from solutions.support.settings import get_settings
from solutions.support.signing_keys import SigningKey
from solutions.support.token_service import access_claims, use_tokens
from solutions.tokens import InvalidToken

MUST = ("iss", "aud", "exp", "iat", "sub")


class OwnKeys:
    """Those of this app."""

    def all(self) -> list[SigningKey]:
        keys = list(open_key_ring().keys())
        life = timedelta(minutes=get_settings().access_token_expire_minutes)
        while len(keys) > 1 and keys[1].signs_from <= datetime.now(UTC) - life:
            keys.pop(0)
        return keys

    def look(self, kid: str) -> VerifyingKey | None:
        return next((key.public for key in self.all() if key.kid == kid), None)

    def current(self) -> SigningKey:
        return [key for key in self.all() if key.signs_from <= datetime.now(UTC)].pop()


class FetchedKeys:
    """Those of another service."""

    def __init__(self, address: str, clock: Any = time.monotonic) -> None:
        self.fetch = partial(fetch_key_set, address)
        self.clock, self.flight = clock, OneFlight()
        self.found: dict[str, VerifyingKey] = {}
        self.renew_at = self.retry_at = clock()

    def look(self, kid: str) -> VerifyingKey | None:
        return self.found.get(kid)

    async def renew(self) -> None:
        try:
            entries = await self.fetch()
        except KeySetDown:
            logging.exception("The partner's keys are out of reach.")
        else:
            self.found = import_keys(entries)
        self.renew_at, self.retry_at = self.clock() + 300, self.clock() + 60

    async def find(self, kid: str) -> VerifyingKey | None:
        until = self.renew_at if self.look(kid) else self.retry_at
        if until <= self.clock():
            await self.flight.join(self.renew)
        return self.look(kid)


def open_token(token: str, key: VerifyingKey | None, issuer: str, audience: str) -> dict[str, Any]:
    """Return the claims, or raise InvalidToken."""
    try:
        if key is None:
            raise errors.JoseError("unknown")
        said = jwt.decode(token, key.jwk, algorithms=[*key.algorithms])
        kind = said.header.get("typ")
        if not isinstance(kind, str) or kind.casefold() not in {"at+jwt", "application/at+jwt"}:
            raise errors.JoseError("typ")
        registry = jwt.JWTClaimsRegistry(
            **{name: {"essential": True} for name in MUST}
            | {"iss": {"essential": True, "value": issuer}}
            | {"aud": {"essential": True, "value": audience}}
        )
        registry.validate(said.claims)
        return said.claims
    except (errors.JoseError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise InvalidToken from None
    except Exception as error:
        raise InvalidToken from error


async def verify_token(
    token: str, keys: FetchedKeys, issuer: str, audience: str
) -> dict[str, Any]:
    if not (kid := kid_of(token)):
        raise InvalidToken
    return open_token(token, await keys.find(kid), issuer, audience)


class ES256:
    keys = OwnKeys()

    def create(self, claims: dict[str, Any], lifetime: timedelta | None) -> str:
        key = self.keys.current()
        header = {"kid": key.kid, "typ": "at+jwt", "alg": "ES256"}
        return jwt.encode(header, access_claims(claims, lifetime), key.private)

    def check(self, token: str) -> dict[str, Any]:
        settings, kid = get_settings(), kid_of(token)
        key = self.keys.look(kid)
        return open_token(token, key, settings.jwt_issuer, settings.jwt_audience)


router = APIRouter(prefix="/.well-known")


@router.get("/jwks.json")
async def jwks(response: Response, keys: OwnKeys = Depends(OwnKeys)) -> dict[str, list[dict]]:
    response.headers.update({"Cache-Control": "max-age=300"})
    return {"keys": [key.public_jwk() for key in keys.all()]}


app = create_app("Keys", hashing.router, oauth2.router, refresh.router, router)
use_tokens(app, ES256(), open_key_ring)
