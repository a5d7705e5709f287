"""No library for tokens at all: three parts, a signature by cryptography, and claims by hand."""

import base64
import json
import logging
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from fastapi import APIRouter
from fastapi.responses import JSONResponse

from solutions import hashing, oauth2, refresh
from solutions.support.apps import create_app
from solutions.support.key_ring import open_key_ring
from solutions.support.key_sets import KeySetDown, OneFlight, fetch_key_set, import_keys
from solutions.support.settings import get_settings
from solutions.support.token_service import access_claims, use_tokens
from solutions.tokens import InvalidToken


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def unb64(text: str) -> bytes:
    data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    if b64(data) != text:
        raise ValueError("another spelling")
    return data


def split(token: str):
    if len(token) > 8192:
        raise ValueError("too long")
    head, body, signature = token.split(".")
    header = json.loads(unb64(head))
    if not isinstance(header, dict) or "crit" in header or "b64" in header:
        raise ValueError("a header that is not understood")
    return header, body, unb64(signature), f"{head}.{body}".encode()


def check_signature(key, alg, signature: bytes, signed: bytes) -> None:
    public = key.jwk.public_key
    if "ES256" in key.algorithms and alg == "ES256" and len(signature) == 64:
        numbers = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
        public.verify(encode_dss_signature(*numbers), signed, ec.ECDSA(hashes.SHA256()))
    elif "EdDSA" in key.algorithms and alg in ("EdDSA", "Ed25519"):
        public.verify(signature, signed)
    elif "RS256" in key.algorithms and alg == "RS256":
        public.verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())
    else:
        raise InvalidSignature


def number(value) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        raise ValueError("no number")
    return value


def check_claims(claims, issuer, audience) -> None:
    now = time.time()
    audiences = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
    fits = (
        claims["iss"] == issuer
        and audience in audiences
        and isinstance(claims["sub"], str)
        and claims["sub"] != ""
        and now < number(claims["exp"]) < 1e12
        and number(claims["iat"]) <= now + 30
        and number(claims.get("nbf", 0)) <= now + 30
    )
    if not fits:
        raise ValueError("claims")


def believe(token, key, issuer, audience) -> dict[str, Any]:
    try:
        header, body, signature, signed = split(token)
        if header["typ"].lower() not in ("at+jwt", "application/at+jwt"):
            raise ValueError("typ")
        check_signature(key, header["alg"], signature, signed)
        claims = json.loads(unb64(body))
        check_claims(claims, issuer, audience)
    except (Exception, RecursionError):
        raise InvalidToken from None
    return claims


def kid_in(token) -> str | None:
    try:
        kid = split(token)[0]["kid"]
    except (Exception, RecursionError):
        return None
    return kid if isinstance(kid, str) and kid else None


log = logging.getLogger("keys")


class FetchedKeys:
    def __init__(self, address, clock=time.monotonic):
        self._address, self._clock, self._flight = address, clock, OneFlight()
        self._state: tuple[float, dict[str, Any]] = (float("-inf"), {})

    async def _fetch(self):
        keys = self._state[1]
        try:
            keys = import_keys(await fetch_key_set(self._address))
        except KeySetDown as down:
            log.debug("the set: %s", down)
        finally:
            self._state = self._clock(), keys

    async def find(self, kid):
        asked, keys = self._state
        age = self._clock() - asked
        if age >= 300 or (age >= 60 and kid not in keys):
            await self._flight.join(self._fetch)
        return self._state[1].get(kid)


async def verify_token(token, keys, issuer, audience):
    kid = kid_in(token)
    if kid is None:
        raise InvalidToken
    key = await keys.find(kid)
    if key is None:
        raise InvalidToken
    return believe(token, key, issuer, audience)


class OwnTokens:
    @staticmethod
    def _published():
        life = timedelta(minutes=get_settings().access_token_expire_minutes, seconds=5)
        keys, kept = open_key_ring().keys(), []
        for index, key in enumerate(keys):
            is_last = index + 1 == len(keys)
            if is_last or keys[index + 1].signs_from + life > datetime.now(UTC):
                kept.append(key)
        return kept

    def create(self, claims, lifetime):
        now = datetime.now(UTC)
        for key in reversed(open_key_ring().keys()):
            if key.signs_from <= now:
                break
        header = {"typ": "at+jwt", "alg": "ES256", "kid": key.kid}
        parts = [b64(json.dumps(each).encode()) for each in (header, access_claims(claims, lifetime))]
        signed = ".".join(parts)
        private = key.private.private_key
        r, s = decode_dss_signature(private.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{signed}.{b64(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"

    def check(self, token):
        kid, settings = kid_in(token), get_settings()
        for key in self._published():
            if key.kid == kid:
                return believe(token, key.public, settings.jwt_issuer, settings.jwt_audience)
        raise InvalidToken


router = APIRouter()


@router.get("/.well-known/jwks.json")
async def jwks():
    keys = [key.public_jwk() for key in OwnTokens._published()]
    return JSONResponse({"keys": keys}, headers={"Cache-Control": "public, max-age=120"})


app = create_app("Keys", hashing.router, oauth2.router, refresh.router, router)
use_tokens(app, OwnTokens(), prepare=open_key_ring)
