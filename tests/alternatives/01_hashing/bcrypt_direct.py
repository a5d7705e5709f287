"""Alternative: the bcrypt library itself, no passlib. Hashes are recognised by a strict pattern
(bcrypt 4.0.1 panics on a short one, and a panic is no Exception); the cost is read from them."""

import re
from typing import Annotated

import bcrypt
from fastapi import APIRouter, Body, Depends, HTTPException, status
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from solutions.support.apps import create_app
from solutions.support.passwords import refuse_weak_password
from solutions.support.safe_route import SafeRoute
from solutions.support.settings import get_settings
from solutions.support.threads import run_hashing
from solutions.stores.users import UserInDB, UserStore, fold_username, get_users

MODULAR_CRYPT = re.compile(r"\$2[aby]\$(0[4-9]|[12][0-9]|3[01])\$[./A-Za-z0-9]{53}")


def _to_bytes(password):
    try:
        encoded = password.encode("utf-8", errors="strict")
    except UnicodeEncodeError:
        raise ValueError("no UTF-8 for this password") from None
    if len(encoded) > 72:
        raise ValueError(f"{len(encoded)} bytes are more than bcrypt's 72")
    if b"\x00" in encoded:
        raise ValueError("NUL in a password")
    return encoded


def _cost_of(hashed):
    """The cost of a well-formed bcrypt hash, None for anything else."""
    match = MODULAR_CRYPT.fullmatch(hashed) if isinstance(hashed, str) else None
    return int(match[1]) if match else None


def hash_password(password):
    salt = bcrypt.gensalt(rounds=get_settings().bcrypt_rounds)
    return bcrypt.hashpw(_to_bytes(password), salt).decode("ascii")


def verify_password(plain, hashed):
    if not isinstance(plain, str) or _cost_of(hashed) is None:
        return False
    try:
        return bcrypt.checkpw(_to_bytes(plain), hashed.encode("ascii"))
    except ValueError:
        return False


def verify_and_upgrade(plain, hashed):
    if not verify_password(plain, hashed):
        return (False, None)
    too_cheap = _cost_of(hashed) < get_settings().bcrypt_rounds
    return (True, hash_password(plain) if too_cheap else None)


def _name(value: str) -> str:
    folded = fold_username(value)
    if not folded:
        raise ValueError("Usernames: 3-32 of a-z 0-9 _ . -")
    return folded


def _new_password(value: str) -> str:
    _to_bytes(value)
    return refuse_weak_password(value)


class SignUp(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    username: Annotated[str, AfterValidator(_name)]
    password: Annotated[str, AfterValidator(_new_password), Field(repr=False)]
    email: Annotated[str | None, Field(max_length=254, pattern=r"^[^\s@]+@[^\s@]+$")] = None


router = APIRouter(route_class=SafeRoute)


@router.post("/register", status_code=status.HTTP_201_CREATED)
async def register(
    body: Annotated[SignUp, Body()], users: Annotated[UserStore, Depends(get_users)]
) -> dict[str, str | None]:
    public = body.model_dump(include={"username", "email"})
    secret = await run_hashing(hash_password, body.password)
    if await users.add(UserInDB(**public, hashed_password=secret)):
        return public
    raise HTTPException(status.HTTP_409_CONFLICT, detail="This username belongs to somebody")


app = create_app("Lesson 01 with plain bcrypt", router)
