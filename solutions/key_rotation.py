"""Lesson 11. Key rotation: keys that come and go, and services that have only the public ones."""

import logging
import math
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from fastapi import APIRouter, Response
from joserfc import jwt

from . import hashing, oauth2, refresh
from .support.apps import create_app
from .support.key_ring import open_key_ring
from .support.key_sets import (
    CACHE_SECONDS,
    PAUSE_SECONDS,
    Keys,
    KeySetDown,
    OneFlight,
    VerifyingKey,
    checked_address,
    fetch_key_set,
    import_keys,
    kid_of,
)
from .support.safe_route import SafeRoute
from .support.settings import get_settings
from .support.signing_keys import SigningKey
from .support.token_service import access_claims, use_tokens
from .tokens import CLOCK_SKEW, InvalidToken

logger = logging.getLogger(__name__)


def sign_token(claims: dict[str, Any], keys: list[SigningKey]) -> str:
    """Sign an access token with the current key: of those whose time has come, the last.

    The header says which one, and of what kind the token is (RFC 9068 section 2.1).
    """
    current = [key for key in keys if key.signs_from <= datetime.now(UTC)][-1]
    header = {"alg": "ES256", "typ": "at+jwt", "kid": current.kid}
    return jwt.encode(header, claims, current.private, algorithms=["ES256"])


def living_keys(keys: list[SigningKey]) -> list[SigningKey]:
    """Return the keys whose tokens count at this moment: next, current, and some of the retired.

    A retired key lives until the last token that it signed is over (ASVS 13.3.4).
    """
    longest = timedelta(minutes=get_settings().access_token_expire_minutes)
    retired_at = [follower.signs_from for follower in keys[1:]]
    dead = [moment for moment in retired_at if moment <= datetime.now(UTC) - longest]
    return keys[len(dead) :]


def check_token(token: str, key: VerifyingKey | None, issuer: str, audience: str) -> dict[str, Any]:
    """Return the claims of an access token that this key signed, for this audience, and that lives.

    The key says by which algorithm, never the token (RFC 8725 section 3.1).
    Raises InvalidToken, and nothing else, for everything that is wrong.
    """
    if key is None:
        raise InvalidToken
    rules = jwt.JWTClaimsRegistry(
        leeway=CLOCK_SKEW,
        iss={"essential": True, "value": issuer},
        aud={"essential": True, "value": audience},
        exp={"essential": True},
        iat={"essential": True},
        sub={"essential": True},
    )
    try:
        signed = jwt.decode(token, key.jwk, algorithms=key.algorithms)
        rules.validate(signed.claims)
        kind = signed.header["typ"].lower().removeprefix("application/")
    except Exception:  # of joserfc, and what hostile input makes it raise
        raise InvalidToken from None
    if kind != "at+jwt":  # an ID token is signed by the same key (RFC 9068 section 4)
        raise InvalidToken
    return signed.claims


class FetchedKeys:
    """The public keys of another service, by the address of its key set."""

    def __init__(self, address: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._address, self._clock = checked_address(address), clock
        self._keys: dict[str, VerifyingKey] = {}
        self._asked_at = -math.inf  # when an answer came, or failed to; seconds on the clock
        self._flight = OneFlight()

    async def find(self, kid: str) -> VerifyingKey | None:
        """Return the key of that name, or None. Asks for the set when it is old, or may be.

        At most once in CACHE_SECONDS for names that are known, in PAUSE_SECONDS for others, and
        once for all who wait.
        """
        age = self._clock() - self._asked_at
        if age >= CACHE_SECONDS or (kid not in self._keys and age >= PAUSE_SECONDS):
            await self._flight.join(self._ask)
        return self._keys.get(kid)

    async def _ask(self) -> None:
        """Ask for the set: what comes takes the old one's place, and a failure leaves it."""
        try:
            self._keys = import_keys(await fetch_key_set(self._address))
        except KeySetDown as error:
            logger.warning("The key set is out of reach: %s", error)
        self._asked_at = self._clock()


async def verify_token(token: str, keys: Keys, issuer: str, audience: str) -> dict[str, Any]:
    """Return the claims of an access token of an issuer, for a service that has its public keys.

    Raises InvalidToken, and nothing else, for everything that is wrong.
    """
    kid = kid_of(token)
    return check_token(token, await keys.find(kid) if kid else None, issuer, audience)


class OwnTokens:
    """How this app makes and checks its access tokens, in the place of lesson 02."""

    def create(self, claims: dict[str, Any], lifetime: timedelta | None) -> str:
        """Return a signed token with these claims and the standard ones."""
        return sign_token(access_claims(claims, lifetime), open_key_ring().keys())

    def check(self, token: str) -> dict[str, Any]:
        """Return a good token's claims. Raises InvalidToken."""
        settings, kid = get_settings(), kid_of(token)
        keys = {key.kid: key.public for key in living_keys(open_key_ring().keys())}
        return check_token(token, keys.get(kid), settings.jwt_issuer, settings.jwt_audience)


router = APIRouter(route_class=SafeRoute, tags=["11 key rotation"])


@router.get("/.well-known/jwks.json")
async def read_key_set(response: Response) -> dict[str, list[dict[str, Any]]]:
    """Show the public keys that tokens are checked with. Whoever asks may keep them for minutes."""
    response.headers["Cache-Control"] = f"public, max-age={CACHE_SECONDS}"
    return {"keys": [key.public_jwk() for key in living_keys(open_key_ring().keys())]}


app = create_app("Lesson 11: key rotation", hashing.router, oauth2.router, refresh.router, router)
use_tokens(app, OwnTokens(), prepare=open_key_ring)
