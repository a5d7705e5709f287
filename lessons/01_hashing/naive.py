"""Breakable on purpose: errors of many tutorials in one file. Never import it, never copy it.

`pytest lessons/01 --naive` shows how mallory gets in.
"""

import logging
import random
import string
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, status
from fastapi.exceptions import RequestValidationError
from passlib.context import CryptContext
from passlib.hash import bcrypt
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

from solutions.support.apps import create_app
from solutions.support.safe_route import SafeRoute
from solutions.stores.users import UserInDB, UserStore, fold_username, get_users

# Cost 4: "quick enough for the tests". It went to production like that.
pwd_context = CryptContext(schemes=["bcrypt"], bcrypt__rounds=4, deprecated="auto")


def hash_password(password: str) -> str:
    logging.debug("hashing %r", password)  # "only while I look for that error"
    salt = "".join(random.choices(string.ascii_letters, k=21)) + "."  # "random enough"
    return bcrypt.using(rounds=4, salt=salt).hash(password)


def verify_password(plain: str, hashed: str) -> bool:
    return pwd_context.verify(plain, hashed)


def verify_and_upgrade(plain: str, hashed: str) -> tuple[bool, str | None]:
    return verify_password(plain, hashed), None


# From here on as given, but any password will do, and the hash runs on the event loop.


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
    password: SecretStr
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
        hashed = hash_password(registration.password.get_secret_value())
    except ValueError:
        # The library's message may quote the password, so ours replaces it.
        message = "This password is too long, or holds a character that cannot be kept."
        error = {"type": "value_error", "loc": ("body", "password"), "msg": message}
        raise RequestValidationError([error]) from None
    person = UserInDB(
        username=registration.username, email=registration.email, hashed_password=hashed
    )
    if not await users.add(person):
        raise HTTPException(status.HTTP_409_CONFLICT, "Username already registered")
    return Registered(username=person.username, email=person.email)


app = create_app("Lesson 01: hashing", router)
