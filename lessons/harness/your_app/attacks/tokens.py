"""Lesson 02: what mallory makes of a token."""

import hashlib
import hmac
import os
import secrets
import time
from base64 import urlsafe_b64decode
from collections.abc import Iterator
from datetime import timedelta
from types import SimpleNamespace

import jwt

from lessons.harness.client import body_of
from lessons.harness.hostile import hostile_tokens, sign
from lessons.harness.key_server import Pair, disguises
from lessons.harness.your_app.attacks import attack
from lessons.harness.your_app.findings import NotTried, Success
from lessons.harness.your_app.routes import plain_gets
from lessons.harness.your_app.site import Ticket, Visit, good, said

FORGED = (  # of the hostile tokens those that would make mallory whoever she likes
    "alg none",
    "alg None",
    "alg NONE",
    "alg nOnE",
    "no signature",
    "another key",
    "an empty key",
    "its own key in the header",
    "its key id for a key",
    "an empty file for a key",
)
TWINS = (
    "no exp",
    "expired",
    "expired, with a fraction",
    "not yet valid",
    "unknown critical header",
)
CROOKED = ("empty", "not a token", "not ASCII", "a lone surrogate", "huge")  # also where no JWT is
HUGE = 60_000  # characters; servers take no more in a header
YEAR = timedelta(days=365)
PUBLISHED = (  # secrets that stand in tutorials, and those that people think of
    "09d25e094faa6ca2556c818166b7a956" + "3b93f7099f6f0f4caa6cf63b88e8d3e7",
    *(
        "secret",
        "secretkey",
        "secret_key",
        "secret-key",
        "mysecret",
        "mysecretkey",
        "my_secret_key",
    ),
    *("my-secret-key", "supersecret", "supersecretkey", "super-secret-key", "super_secret_key"),
    *("super-secret", "your-secret-key", "your_secret_key", "your-secret-key-here", "SECRET_KEY"),
    *("your-256-bit-secret", "your-384-bit-secret", "your-512-bit-secret", "yoursecretkey"),
    *("a-string-secret-at-least-256-bits-long", "change-me", "changeme", "changethis", "change_me"),
    *(
        "change-me-in-production",
        "please-change-me",
        "SECRET",
        "Secret",
        "SECRET-KEY",
        "key",
        "jwt",
    ),
    *(
        "jwt-secret",
        "jwt_secret",
        "jwtsecret",
        "jwt-secret-key",
        "jwt-secret-123",
        "test",
        "testing",
    ),
    *(
        "test-secret",
        "test_secret",
        "dev",
        "development",
        "dev-secret",
        "dev-secret-key",
        "example",
    ),
    *("password", "admin", "1234", "12345", "123456", "12345678", "123456789", "qwerty", "foo"),
    *(
        "django-insecure",
        "insecure",
        "fastapi",
        "fastapi-secret",
        "a very secret key",
        "none",
        "null",
    ),
    *("secret123", "mysecretpassword", "thisisasecret", "this-is-a-secret", "not-so-secret", ""),
    *("your_jwt_secret_key", "your-super-secret-key", "your-super-secret-jwt-key", "hs256-secret"),
)


@attack(
    "forged-token",
    "a token that mallory made opens pages",
    lesson="02",
    level="break-in",
    authority="ASVS 9.1.1",
)
def forged_token(visit: Visit) -> Success | None:
    ticket = visit.alice()
    header, claims = visit.claims(ticket.token)
    hostile = hostile_tokens(ticket.token, secrets.token_hex(32), HUGE)
    forged = {name: hostile[name] for name in FORGED}
    first, _, last = ticket.token.split(".")
    later = {"exp": int(time.time()) + 10_000_000} if "exp" in claims else {"edited": True}
    edited = sign(claims | later, "", header=header).split(".")[1]
    forged["edited claims"] = f"{first}.{edited}.{last}"
    for name, token in forged.items():
        if visit.opens(visit.with_token(ticket, token)):
            return Success(f"let in: {name}")
    return None


@attack(
    "published-secret",
    "a secret that everybody knows signs the tokens",
    lesson="02",
    level="break-in",
    authority="CWE-798",
)
def published_secret(visit: Visit) -> Success | None:
    ticket = visit.alice()
    header, claims = visit.claims(ticket.token)
    if not str(header.get("alg")).startswith("HS"):
        return None  # there is no secret that could be guessed
    secret = next((each for each in PUBLISHED if _signs(each, ticket.token, header["alg"])), None)
    if secret is None:
        return None
    twin = sign(claims, secret, header["alg"], {**header, "alg": header["alg"]})
    if visit.opens(visit.with_token(ticket, twin)):
        return Success(f"it is {secret!r}, so mallory signs tokens for anybody")
    return None


def _signs(secret: str, token: str, alg: str) -> bool:
    """Tell whether a secret has signed a token, without asking anybody."""
    signed, _, signature = token.rpartition(".")
    digest = getattr(hashlib, f"sha{alg[2:]}", None)
    if digest is None:
        return False
    made = hmac.new(secret.encode(), signed.encode(), digest).digest()
    return hmac.compare_digest(made, urlsafe_b64decode(signature + "=" * (-len(signature) % 4)))


@attack(
    "public-key-as-secret",
    "the public key, taken for a secret, signs tokens",
    lesson="11",
    level="break-in",
    authority="RFC 8725 3.1",
)
def public_key_as_secret(visit: Visit) -> Success | None:
    ticket = visit.alice()
    header, claims = visit.claims(ticket.token)
    if str(header.get("alg")).startswith("HS"):
        raise NotTried("its tokens are signed with a secret, so there is no public key")
    keys = list(_published_keys(visit))
    if not keys:
        raise NotTried("it publishes no keys at /.well-known/jwks.json")
    for pair in keys:
        for name, secret in disguises(pair).items():
            for alg in ("HS256", "HS512"):
                twin = sign(claims, secret, alg, {**header, "alg": alg})
                if visit.opens(visit.with_token(ticket, twin)):
                    return Success(f"let in: {alg} with {name}")
    return None


def _published_keys(visit: Visit) -> Iterator[Pair]:
    """Yield the public keys that the app shows to everybody."""
    paths = [path for path in plain_gets(visit.site.document) if "jwks" in path]
    for path in dict.fromkeys(["/.well-known/jwks.json", *paths]):
        answer = visit.get(path)
        found = body_of(answer) if good(answer) else None
        for jwk in found.get("keys", []) if isinstance(found, dict) else []:
            try:
                key = jwt.PyJWK(jwk).key
            except (jwt.PyJWTError, TypeError, ValueError, AttributeError):
                continue  # of a kind that nobody here can read
            private = SimpleNamespace(public_key=lambda key=key: key)
            yield Pair(private, str(jwk.get("alg", "")), {"kid": "", **jwk})


@attack(
    "eternal-token",
    "a token works on when it should long be dead",
    lesson="02",
    level="break-in",
    authority="ASVS 9.2.1",
)
def eternal_token(visit: Visit) -> Success | None:
    ticket = visit.alice()
    hours = visit.about.policy.token_hours
    span = timedelta(hours=hours, minutes=2) if hours else YEAR
    if not visit.site.target.in_process:
        return _eternal_by_its_claims(visit, ticket, span)
    visit.later(span)
    visit.let_in(visit.log_in(ticket.person))
    return Success(f"a token works after {_told(span)}") if visit.opens(ticket) else None


def _eternal_by_its_claims(visit: Visit, ticket: Ticket, span: timedelta) -> Success | None:
    if not visit.is_jwt(ticket.token):
        raise NotTried("only with --app the clock can be moved, and its tokens do not say an end")
    _, claims = visit.claims(ticket.token)
    if not isinstance(claims.get("exp"), int | float):
        return Success("its claims have no exp; whether the app asks otherwise, only --app can see")
    left = timedelta(seconds=claims["exp"] - time.time())
    return Success(f"it lives for {_told(left)}") if left > span else None


def _told(span: timedelta) -> str:
    return f"{span.days} days" if span.days > 2 else f"{span.total_seconds() / 3600:.1f} hours"


@attack(
    "crooked-token",
    "a crooked token crashes the request",
    lesson="02",
    level="hardening",
    authority="ASVS 16.5.3",
)
def crooked_token(visit: Visit) -> Success | None:
    ticket = visit.alice()
    if visit.is_jwt(ticket.token):
        hostile = hostile_tokens(ticket.token, secrets.token_hex(32), HUGE)
    else:
        likely = sign({"sub": "alice", "exp": int(time.time()) + 600}, "m" * 32)
        hostile = hostile_tokens(likely, "m" * 32, HUGE)
        hostile = {name: hostile[name] for name in CROOKED}
        hostile |= {"one letter more": ticket.token + "x", "a NUL": ticket.token + "%00"}
    if crash := _crashes(visit, ticket, hostile):
        return Success(crash)
    if (key := _key(visit)) and visit.is_jwt(ticket.token):
        hostile = hostile_tokens(ticket.token, key, HUGE)
        if crash := _crashes(visit, ticket, hostile):
            return Success(f"signed with your own key, {crash}")
    return None


def _crashes(visit: Visit, ticket: Ticket, hostile: dict[str, str]) -> str:
    for name, token in hostile.items():
        answer = visit.me(visit.with_token(ticket, token))
        if answer.status_code >= 500:
            return f"a {said(answer)} for: {name}"
    return ""


@attack(
    "twin-token",
    "what is in a token is believed without a look at all of it",
    lesson="02",
    level="hardening",
    authority="RFC 8725 3.1",
)
def twin_token(visit: Visit) -> Success | None:
    ticket = visit.alice()
    header, claims = visit.claims(ticket.token)
    key = _key(visit)
    if not key:
        raise NotTried("it needs the signing key: name its variable with secret_env, or a hook key")
    if header.get("alg") != "HS256":
        raise NotTried(f"it signs HS256 alone, and these tokens are {header.get('alg')}")
    if not visit.opens(visit.with_token(ticket, sign(claims, key))):
        raise NotTried("a twin of a good token, signed with the key that was named, is refused")
    hostile = hostile_tokens(ticket.token, key, HUGE)
    passed = [name for name in TWINS if visit.opens(visit.with_token(ticket, hostile[name]))]
    return Success(f"signed with your own key, let in: {'; '.join(passed)}") if passed else None


def _key(visit: Visit) -> str:
    """Return the key that signs, where the description tells."""
    if visit.site.hooks.key is not None:
        key = visit.hook("key")
        return key if isinstance(key, str) else str(key, "latin-1") if key else ""
    return os.environ.get(visit.about.secret_env, "") if visit.about.secret_env else ""
