"""Alternative: pwdlib. Its Argon2 hasher is the current one (library defaults, a stronger hash
stays); a read-only hasher of our own keeps bcrypt hashes valid until their owners log in."""

from typing import Annotated

from argon2 import DEFAULT_MEMORY_COST, DEFAULT_TIME_COST, Type, extract_parameters
from fastapi import APIRouter, Depends, HTTPException, status
from fastapi.exceptions import RequestValidationError
from passlib.hash import bcrypt as old_bcrypt
from pwdlib import PasswordHash
from pwdlib.exceptions import PwdlibError
from pwdlib.hashers.argon2 import Argon2Hasher
from pydantic import BaseModel, Field, SecretStr

from solutions.support.apps import create_app
from solutions.support.passwords import refuse_weak_password
from solutions.support.safe_route import SafeRoute
from solutions.support.threads import run_hashing
from solutions.stores.users import UserInDB, UserStore, fold_username, get_users


class Argon2NeverWeaker(Argon2Hasher):
    """pwdlib renews a hash whose parameters merely differ. Here only a weaker one is renewed."""

    def check_needs_rehash(self, hash):
        found = extract_parameters(hash)
        return (
            found.type is not Type.ID
            or found.version < 19
            or found.memory_cost * found.time_cost < DEFAULT_MEMORY_COST * DEFAULT_TIME_COST
        )


class BcryptForReadingOnly:
    """pwdlib's own bcrypt hasher wants a newer bcrypt than the pinned one: passlib does it."""

    @classmethod
    def identify(cls, hash):
        return old_bcrypt.identify(hash)

    def verify(self, password, hash):
        if len(password) > 72 or b"\0" in password:
            return False  # bcrypt saw less than this, so it cannot vouch for it
        return old_bcrypt.verify(password, hash)

    def hash(self, password, *, salt=None):
        raise NotImplementedError("bcrypt is read, never written")

    def check_needs_rehash(self, hash):
        return True


hashes = PasswordHash((Argon2NeverWeaker(), BcryptForReadingOnly()))


def hash_password(password: str) -> str:
    return hashes.hash(password.encode())


def verify_password(plain: str, hashed: str) -> bool:
    try:
        return is_text(plain, hashed) and hashes.verify(plain.encode(), hashed)
    except (PwdlibError, ValueError, TypeError):
        return False


def verify_and_upgrade(plain: str, hashed: str) -> tuple[bool, str | None]:
    try:
        if is_text(plain, hashed):
            return hashes.verify_and_update(plain.encode(), hashed)
    except (PwdlibError, ValueError, TypeError):
        pass
    return False, None


def is_text(plain, hashed):
    # A NUL or a newline would end the hash early inside C, and the rest would not count.
    return isinstance(plain, str) and isinstance(hashed, str) and hashed.isprintable()


class RegisterForm(BaseModel, extra="forbid"):
    username: str
    password: SecretStr
    email: Annotated[str, Field(max_length=254, pattern="^[^@\\s]+@[^@\\s]+$")] | None = None


class Public(BaseModel):
    username: str
    email: str | None


def unprocessable(field: str, why: str) -> RequestValidationError:
    return RequestValidationError([{"type": "value_error", "loc": ("body", field), "msg": why}])


async def newcomer(form: RegisterForm) -> UserInDB:
    """Check what was asked for and turn it into a person, hash included."""
    name = fold_username(form.username)
    if name is None:
        raise unprocessable("username", "3 to 32 of a-z, 0-9, _, . and - please")
    try:
        password = refuse_weak_password(form.password.get_secret_value())
    except ValueError as reason:
        raise unprocessable("password", str(reason)) from None
    try:
        hashed = await run_hashing(hash_password, password)
    except UnicodeError:
        raise unprocessable("password", "no valid text") from None
    return UserInDB(username=name, email=form.email, hashed_password=hashed)


router = APIRouter(route_class=SafeRoute, tags=["people"])


@router.post("/register", status_code=status.HTTP_201_CREATED, response_model=Public)
async def register(
    person: Annotated[UserInDB, Depends(newcomer)],
    users: Annotated[UserStore, Depends(get_users)],
):
    if not await users.add(person):
        raise HTTPException(status_code=409, detail=f"{person.username} is already registered")
    return person


app = create_app("Passwords with pwdlib", router)
