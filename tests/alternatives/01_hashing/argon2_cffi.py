"""Alternative: argon2id (argon2-cffi) for every new hash, with memory that follows BCRYPT_ROUNDS.
bcrypt hashes from before still verify, at any cost, and are moved over at the next login."""

import re
from typing import Annotated

import bcrypt
from argon2 import PasswordHasher, Type, extract_parameters
from argon2.exceptions import Argon2Error, InvalidHashError
from fastapi import APIRouter, Depends, HTTPException
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from solutions.support.apps import create_app
from solutions.support.passwords import refuse_weak_password
from solutions.support.safe_route import SafeRoute
from solutions.support.settings import get_settings
from solutions.support.threads import run_hashing
from solutions.stores.users import UserInDB, UserStore, fold_username, get_users

ARGON2ID = re.compile(
    r"\$argon2id\$v=19\$m=[0-9]{1,7},t=[0-9]{1,2},p=[0-9]{1,2}\$[A-Za-z0-9+/]+\$[A-Za-z0-9+/]+"
)  # seven digits: a damaged row cannot ask for more than 10 GiB
OLD_BCRYPT = re.compile(r"\$2[aby]\$(?:0[4-9]|[12]\d|3[01])\$[./A-Za-z0-9]{53}", re.ASCII)


def _hasher() -> PasswordHasher:
    # 12 -> 64 MiB, 10 (the least in production) -> 16 MiB, never above 2 GiB
    kib = 2 ** min(get_settings().bcrypt_rounds + 4, 21)
    return PasswordHasher(time_cost=3, memory_cost=kib, parallelism=1, type=Type.ID)


def _bcrypt_agrees(secret: bytes, hashed: str) -> bool:
    # What bcrypt would not read to its end never had an honest bcrypt hash.
    readable = len(secret) <= 72 and b"\0" not in secret
    return readable and bcrypt.checkpw(secret, hashed.encode())


def _work(hashed: str) -> int:
    cost = extract_parameters(hashed)
    return cost.memory_cost * cost.time_cost


def hash_password(password: str) -> str:
    """No limit of 72 bytes here, and a NUL is a byte like any other."""
    return _hasher().hash(password.encode())


def verify_password(plain: str, hashed: str) -> bool:
    try:
        secret = plain.encode()
        if OLD_BCRYPT.fullmatch(hashed):
            return _bcrypt_agrees(secret, hashed)
        return bool(ARGON2ID.fullmatch(hashed)) and _hasher().verify(hashed, secret)
    except (Argon2Error, InvalidHashError, AttributeError, TypeError, ValueError):
        return False


def verify_and_upgrade(plain: str, hashed: str) -> tuple[bool, str | None]:
    if not verify_password(plain, hashed):
        return False, None
    today = _hasher()
    if OLD_BCRYPT.fullmatch(hashed) or _work(hashed) < today.memory_cost * today.time_cost:
        return True, today.hash(plain.encode())
    return True, None


class Applicant(BaseModel):
    model_config = ConfigDict(extra="forbid")
    username: str
    password: SecretStr
    email: str | None = Field(default=None, max_length=254, pattern=r"^[^@\s]+@[^@\s]+$")

    @field_validator("username")
    @classmethod
    def _fold(cls, given: str) -> str:
        if folded := fold_username(given):
            return folded
        raise ValueError("please choose 3 to 32 of a-z, 0-9, underscore, dot, hyphen")

    @field_validator("password")
    @classmethod
    def _weigh(cls, given: SecretStr) -> SecretStr:
        return SecretStr(refuse_weak_password(given.get_secret_value()))


class Welcome(BaseModel):
    username: str
    email: str | None = None


router = APIRouter(route_class=SafeRoute, tags=["accounts"])


@router.post("/register", status_code=201)
async def register(
    applicant: Applicant, users: Annotated[UserStore, Depends(get_users)]
) -> Welcome:
    taken = HTTPException(409, "Taken. Choose another username.")
    if await users.get(applicant.username):
        raise taken  # spares the hash; `add` below still decides
    try:
        hashed = await run_hashing(hash_password, applicant.password.get_secret_value())
    except ValueError:
        problem = {"type": "password", "loc": ("body", "password"), "msg": "Not valid Unicode"}
        raise RequestValidationError([problem]) from None
    welcome = Welcome(username=applicant.username, email=applicant.email)
    if not await users.add(UserInDB(**welcome.model_dump(), hashed_password=hashed)):
        raise taken
    return welcome


app = create_app("Lesson 01: argon2id", router)
