"""The set is asked for anew in the background before it is old: nobody waits for it."""

import asyncio
import logging
import time
from datetime import UTC, datetime, timedelta

from fastapi import APIRouter, Response
from joserfc import jws, jwt
from pydantic import BaseModel, ConfigDict, Field

from solutions import hashing, oauth2, refresh
from solutions.support import key_ring, key_sets
from solutions.support.apps import create_app
from solutions.support.safe_route import SafeRoute
from solutions.support.settings import get_settings
from solutions.support.token_service import access_claims, use_tokens
from solutions.tokens import InvalidToken

log = logging.getLogger("keys")


class Claims(BaseModel):
    """What an access token must say."""

    model_config = ConfigDict(extra="allow", strict=True)

    iss: str
    sub: str = Field(min_length=1)
    aud: str | list[str]
    exp: float = Field(allow_inf_nan=False)
    iat: float = Field(allow_inf_nan=False)
    nbf: float = Field(default=0, allow_inf_nan=False)

    def fit(self, issuer: str, audience: str) -> bool:
        now = time.time()
        audiences = [self.aud] if isinstance(self.aud, str) else self.aud
        in_time = self.exp > now and max(self.iat, self.nbf) <= now + 5
        return in_time and self.iss == issuer and audience in audiences


def is_access_token(header: dict) -> bool:
    kind = str(header.get("typ")).lower()
    return kind.removeprefix("application/") == "at+jwt"


def checked(token: str, key, issuer: str, audience: str) -> dict:
    if not key:
        raise InvalidToken()
    try:
        found = jws.deserialize_compact(token, key.jwk, algorithms=list(key.algorithms))
        claims = Claims.model_validate_json(found.payload)
        good = is_access_token(found.headers()) and claims.fit(issuer, audience)
    except Exception as error:
        raise InvalidToken() from error
    if not good:
        raise InvalidToken()
    import json

    return json.loads(found.payload)


class FetchedKeys:
    SOON, OLD, PAUSE = 240, 300, 60

    def __init__(self, address: str, clock=time.monotonic) -> None:
        self.address = key_sets.checked_address(address)
        self.clock = clock
        self.known: dict = {}
        self.asked = None
        self.task = None

    def age(self) -> float:
        return float("inf") if self.asked is None else self.clock() - self.asked

    def begin(self) -> asyncio.Task:
        if self.task is None or self.task.done():
            self.task = asyncio.get_running_loop().create_task(self.ask())
        return self.task

    async def ask(self) -> None:
        try:
            self.known = key_sets.import_keys(await key_sets.fetch_key_set(self.address))
        except key_sets.KeySetDown as error:
            log.info("no keys: %s", error)
        finally:
            self.asked = self.clock()

    async def find(self, kid: str):
        age = self.age()
        if kid in self.known and age < self.OLD:
            if age >= self.SOON:
                self.begin()
        elif age >= self.PAUSE:
            await asyncio.wait([self.begin()])
        return self.known.get(kid)


async def verify_token(token: str, keys, issuer: str, audience: str) -> dict:
    kid = key_sets.kid_of(token)
    if kid == "":
        raise InvalidToken()
    return checked(token, await keys.find(kid), issuer, audience)


class Tokens:
    def living(self) -> list:
        keys = key_ring.open_key_ring().keys()
        life = timedelta(minutes=get_settings().access_token_expire_minutes)
        ends = {one.kid: two.signs_from + life for one, two in zip(keys, keys[1:])}
        now = datetime.now(UTC)
        return [key for key in keys if ends.get(key.kid, now + life) > now]

    def create(self, claims: dict, lifetime) -> str:
        ready = (key for key in self.living() if key.signs_from <= datetime.now(UTC))
        *_, key = ready
        head = {"alg": "ES256", "kid": key.kid, "typ": "at+jwt"}
        return jwt.encode(head, access_claims(claims, lifetime), key.private)

    def check(self, token: str) -> dict:
        kid, settings = key_sets.kid_of(token), get_settings()
        by_name = {key.kid: key for key in self.living()}
        key = by_name[kid].public if kid in by_name else None
        return checked(token, key, settings.jwt_issuer, settings.jwt_audience)


tokens = Tokens()
router = APIRouter(route_class=SafeRoute)


@router.get("/.well-known/jwks.json")
def jwks(response: Response) -> dict:
    response.headers["Cache-Control"] = "public, max-age=300"
    return {"keys": [{**key.public_jwk(), "key_ops": ["verify"]} for key in tokens.living()]}


app = create_app("Lesson 11", hashing.router, oauth2.router, refresh.router, router)
use_tokens(app, tokens, prepare=key_ring.open_key_ring)
