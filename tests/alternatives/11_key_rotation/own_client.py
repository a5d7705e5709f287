"""A client of one's own, which reads in parts and stops, and a Future for those who wait."""

import asyncio
import json
import logging
import time
from collections import Counter
from datetime import datetime, timedelta, timezone

import httpx2
from fastapi import APIRouter, Response
from joserfc import jwt
from joserfc.jwk import ECKey, OKPKey, RSAKey

from solutions import hashing, oauth2, refresh
from solutions.support.apps import create_app
from solutions.support.key_ring import open_key_ring
from solutions.support.key_sets import VerifyingKey, kid_of
from solutions.support.settings import get_settings
from solutions.support.token_service import access_claims, use_tokens
from solutions.tokens import InvalidToken

CLASSES = {
    ("EC", "P-256"): (ECKey, "ES256"),
    ("OKP", "Ed25519"): (OKPKey, "EdDSA"),
    ("RSA", ""): (RSAKey, "RS256"),
}
NAMES = {"EdDSA": ("EdDSA", "Ed25519")}


def keys_in(text: bytes) -> dict[str, VerifyingKey]:
    rows = json.loads(text)["keys"]
    if type(rows) is not list:
        raise ValueError
    times = Counter(str(row.get("kid")) for row in rows if isinstance(row, dict))
    keys = {}
    for row in rows:
        try:
            kind, alg = CLASSES[row["kty"], row.get("crv", "")]
            if row.get("alg", alg) != alg or row.get("use", "sig") != "sig" or "d" in row:
                continue
            if type(row["kid"]) is not str or times[row["kid"]] > 1:
                continue
            key = kind.import_key(row)
            key.public_key
            keys[row["kid"]] = VerifyingKey(row["kid"], key, NAMES.get(alg, (alg,)))
        except Exception:
            continue
    return keys


class FetchedKeys:
    def __init__(self, address: str, clock=time.monotonic):
        self.address, self.clock = address, clock
        self.keys, self.waiting, self.next_for = {}, None, {"known": 0.0, "unknown": 0.0}
        self.next_for = dict.fromkeys(self.next_for, -1e18)

    async def download(self) -> bytes:
        limits = httpx2.Timeout(3)
        async with asyncio.timeout(3):
            async with httpx2.AsyncClient(timeout=limits, trust_env=False) as client:
                headers = {"Accept-Encoding": "identity"}
                async with client.stream("GET", self.address, headers=headers) as answer:
                    if answer.status_code != 200:
                        raise ValueError(answer.status_code)
                    text = b""
                    async for part in answer.aiter_raw():
                        text += part
                        if len(text) > 65536:
                            raise ValueError("too long")
                    return text

    async def work(self, done: asyncio.Future) -> None:
        try:
            self.keys = keys_in(await self.download())
        except BaseException as error:
            logging.getLogger().error("no keys: %s", type(error).__name__)
        now = self.clock()
        self.next_for = {"known": now + 300, "unknown": now + 60}
        self.waiting = None
        done.set_result(None)

    async def find(self, kid: str):
        kind = "known" if kid in self.keys else "unknown"
        if self.clock() >= self.next_for[kind]:
            if self.waiting is None:
                self.waiting = asyncio.get_running_loop().create_future()
                self.job = asyncio.ensure_future(self.work(self.waiting))
            await asyncio.shield(self.waiting)
        return self.keys.get(kid)


def check(token: str, key, issuer: str, audience: str) -> dict:
    if key is None:
        raise InvalidToken
    try:
        found = jwt.decode(token, key.jwk, algorithms=list(key.algorithms))
        names = ("iss", "aud", "sub", "exp", "iat")
        wanted = {name: {"essential": True} for name in names}
        wanted["iss"]["value"], wanted["aud"]["values"] = issuer, [audience]
        jwt.JWTClaimsRegistry(leeway=30, **wanted).validate(found.claims)
        if found.header.get("typ", "").lower() in ("at+jwt", "application/at+jwt"):
            return found.claims
    except Exception:
        pass
    raise InvalidToken


async def verify_token(token: str, keys, issuer: str, audience: str) -> dict:
    kid = kid_of(token)
    return check(token, kid and await keys.find(kid) or None, issuer, audience)


def phases() -> tuple:
    """(retired and alive, current, next)"""
    now = datetime.now(timezone.utc)
    life = timedelta(minutes=get_settings().access_token_expire_minutes)
    keys = open_key_ring().keys()
    begun = [key for key in keys if now >= key.signs_from]
    waiting = [key for key in keys if now < key.signs_from]
    followed = zip(begun, begun[1:])
    retired = [key for key, by in followed if now - by.signs_from < life]
    return retired, begun[-1], waiting


class Own:
    def create(self, claims, lifetime):
        _, key, _ = phases()
        header = dict(typ="at+jwt", alg="ES256", kid=key.kid)
        return jwt.encode(header, access_claims(claims, lifetime), key.private, ["ES256"])

    def check(self, token):
        retired, current, _ = phases()
        kid, settings = kid_of(token), get_settings()
        found = [key.public for key in (*retired, current) if key.kid == kid]
        return check(token, found[0] if found else None, settings.jwt_issuer, settings.jwt_audience)


router = APIRouter()


@router.get("/.well-known/jwks.json")
async def jwks(response: Response):
    retired, current, waiting = phases()
    response.headers["Cache-Control"] = "public, max-age=240, must-revalidate"
    return {"keys": [key.public_jwk() for key in (*waiting, current, *retired)]}


app = create_app("Keys", hashing.router, oauth2.router, refresh.router, router)
use_tokens(app, Own(), prepare=open_key_ring)
