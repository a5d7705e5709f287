"""Lesson 01. Passwords are stored as hashes that are slow to guess.

What is kept must let us check a password, and must not let anyone who steals it do so quickly.
"""

from functools import lru_cache
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, status
from passlib.context import CryptContext
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from solutions.stores.users import UserInDB, UserStore, fold_username, get_users
from solutions.support.apps import create_app
from solutions.support.passwords import NewPassword, unfit_password
from solutions.support.safe_route import SafeRoute
from solutions.support.settings import get_settings
from solutions.support.threads import run_hashing

BCRYPT_MAX_BYTES = 72  # bcrypt ignores every byte after these, in silence


@lru_cache
def get_password_context() -> CryptContext:
    """Return passlib's bcrypt at the cost of the settings; cheaper hashes count as outdated."""
    rounds = get_settings().bcrypt_rounds
    return CryptContext(
        schemes=["bcrypt"], bcrypt__default_rounds=rounds, bcrypt__min_rounds=rounds
    )


def encode_password(password: str) -> bytes:
    """Return the bytes that bcrypt gets to see, all of them.

    Raises ValueError where bcrypt would ignore a part or fail: over 72 bytes of UTF-8 (ASVS
    6.2.8), with a NUL (CWE-626), or for text that UTF-8 cannot encode.
    """
    raise NotImplementedError("TODO 1: return all bytes, or refuse")


def hash_password(password: str) -> str:
    """Hash a password with bcrypt, a fresh salt, and the cost of the settings (ASVS 11.4.2).

    Raises ValueError for a password that bcrypt would not read to its end.
    """
    raise NotImplementedError("TODO 2: hash the encoded password with get_password_context()")


def verify_password(plain: str, hashed: str) -> bool:
    """Tell whether `plain` is the password behind `hashed`.

    Never raises: an impossible password or a damaged hash is a plain False, so that neither
    becomes a 500, and neither opens an account (CWE-636).
    """
    raise NotImplementedError("TODO 3: verify, and turn every ValueError and TypeError into False")


def verify_and_upgrade(plain: str, hashed: str) -> tuple[bool, str | None]:
    """Verify, and return a new hash when the stored one is weaker than today's settings.

    Login is the only moment at which the password is at hand to hash it anew. Never raises.
    """
    raise NotImplementedError("TODO 4: verify, then return a new hash if the old one is outdated")


def refuse_impossible_username(username: str) -> str:
    """Return the folded name. Raises ValueError for a name that cannot be one."""
    folded = fold_username(username)
    if folded is None:
        raise ValueError("A username has 3 to 32 of the characters a-z, 0-9, _, . and -.")
    return folded


class Registration(BaseModel):
    """What a visitor may say about herself. Anything more, like a role, is refused (CWE-915)."""

    model_config = ConfigDict(extra="forbid")

    username: Annotated[str, AfterValidator(refuse_impossible_username)]
    password: NewPassword
    email: Annotated[str, Field(max_length=254, pattern=r"^[^@\s]+@[^@\s]+$")] | None = None


class Registered(BaseModel):
    """What the visitor gets back: nothing secret."""

    username: str
    email: str | None


router = APIRouter(route_class=SafeRoute, tags=["01 hashing"])


@router.post("/register", status_code=status.HTTP_201_CREATED)
async def register(
    registration: Registration, users: Annotated[UserStore, Depends(get_users)]
) -> Registered:
    """Register a new person under the folded name. 409 when it is taken: names are public here."""
    try:
        hashed = await run_hashing(hash_password, registration.password.get_secret_value())
    except ValueError:
        raise unfit_password("password") from None
    person = UserInDB(
        username=registration.username, email=registration.email, hashed_password=hashed
    )
    if not await users.add(person):
        raise HTTPException(status.HTTP_409_CONFLICT, "Username already registered")
    return Registered(username=person.username, email=person.email)


app = create_app("Lesson 01: hashing", router)
