"""Alternative: bcrypt over base64(HMAC-SHA-384), keyed with the salt, so every byte of a password
of any length counts. Marked `$hmac-sha384`, so a plain bcrypt hash is never taken for one."""

import base64
import hashlib
import hmac
import re

import bcrypt
from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Depends, HTTPException
from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from solutions.stores import users
from solutions.support import passwords, settings
from solutions.support.apps import create_app
from solutions.support.safe_route import SafeRoute

hashing_slots = CapacityLimiter(2)
MARK = "$hmac-sha384"
STORED = re.compile(
    r"(?P<mark>\$hmac-sha384)?"
    r"(?P<setting>\$2[aby]\$(?P<cost>0[4-9]|[12][0-9]|3[01])\$(?P<salt>[./0-9A-Za-z]{22}))"
    r"[./0-9A-Za-z]{31}"
)


def _condense(password: bytes, salt: str) -> bytes:
    """64 printable bytes. The salt as key: stolen bare SHA-384 digests cannot be tried on it."""
    return base64.b64encode(hmac.digest(salt.encode(), password, hashlib.sha384))


def _bcrypt(secret: bytes, setting: str) -> str:
    return bcrypt.hashpw(secret, setting.encode()).decode()


def hash_password(password: str) -> str:
    setting = bcrypt.gensalt(settings.get_settings().bcrypt_rounds).decode()
    return MARK + _bcrypt(_condense(password.encode(), setting[-22:]), setting)


def _examine(plain, hashed):
    """(right?, cost of the stored hash)"""
    if not (isinstance(plain, str) and isinstance(hashed, str)):
        return False, 0
    found = STORED.fullmatch(hashed)
    if found is None:
        return False, 0
    try:
        secret = plain.encode()
        if found["mark"]:
            secret = _condense(secret, found["salt"])
        elif len(secret) > 72 or 0 in secret:
            return False, 0  # a plain bcrypt hash says nothing about such a password
        again = (found["mark"] or "") + _bcrypt(secret, found["setting"])
    except ValueError:
        return False, 0
    return hmac.compare_digest(again, hashed), int(found["cost"])


def verify_password(plain: str, hashed: str) -> bool:
    return _examine(plain, hashed)[0]


def verify_and_upgrade(plain: str, hashed: str) -> tuple[bool, str | None]:
    """A plain bcrypt hash of today's cost is not weaker for its short password, so it stays."""
    right, cost = _examine(plain, hashed)
    if right and cost < settings.get_settings().bcrypt_rounds:
        return True, hash_password(plain)
    return right, None


class Candidate(BaseModel):
    model_config = ConfigDict(extra="forbid")

    username: str
    password: SecretStr
    email: str | None = Field(default=None, pattern=r"^[^@\s]+@[^@\s]+$", max_length=254)

    @model_validator(mode="after")
    def acceptable(self):
        if users.fold_username(self.username) is None:
            raise ValueError("This cannot be a username.")
        password = passwords.refuse_weak_password(self.password.get_secret_value())
        if any("\ud800" <= character <= "\udfff" for character in password):
            raise ValueError("This password is no valid text.")
        return self


router = APIRouter(route_class=SafeRoute, tags=["01"])


@router.post(
    "/register",
    status_code=201,
    response_model=users.User,
    response_model_include={"username", "email"},
    responses={409: {"description": "The name is taken"}},
)
async def register(candidate: Candidate, store: users.UserStore = Depends(users.get_users)):
    hashed = await to_thread.run_sync(
        hash_password, candidate.password.get_secret_value(), limiter=hashing_slots
    )
    person = users.UserInDB(
        username=users.fold_username(candidate.username),
        email=candidate.email,
        hashed_password=hashed,
    )
    if await store.add(person):
        return person
    raise HTTPException(409, "name taken")


app = create_app("Lesson 01: bcrypt, every byte counts", router)
