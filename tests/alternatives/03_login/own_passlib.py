"""Alternative: passlib directly, with an own CryptContext built at import, and an anyio limiter
held around Starlette's thread pool. A lifespan of the router makes the dummy hash beforehand."""

import os
import secrets
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import Annotated

import anyio
from fastapi import APIRouter, Depends, HTTPException, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.security import OAuth2PasswordRequestForm
from passlib.context import CryptContext
from typing_extensions import TypedDict

from solutions import hashing
from solutions.support.apps import create_app
from solutions.support.safe_route import SafeRoute
from solutions.support.settings import get_settings
from solutions.tokens import create_access_token
from solutions.stores.users import User, UserStore, get_users

settings = get_settings()
passwords = CryptContext(
    schemes=["bcrypt"],
    bcrypt__default_rounds=settings.bcrypt_rounds,
    bcrypt__min_rounds=settings.bcrypt_rounds,
)
cores = anyio.CapacityLimiter(os.cpu_count() or 1)


@lru_cache
def get_dummy_hash() -> str:
    return passwords.hash(secrets.token_bytes(18).hex())


def check(password: str, hashed: str) -> tuple[bool, str | None]:
    """passlib's verify_and_update; what bcrypt would cut off at 72 bytes is refused, not cut."""
    try:
        secret = password.encode("utf-8")
        if len(secret) > 72 or 0 in secret:
            return False, None
        return passwords.verify_and_update(secret, hashed)
    except (ValueError, TypeError):  # a lone surrogate, a damaged hash
        return False, None


async def authenticate_user(users: UserStore, username: str, password: str) -> User | None:
    person = await users.get(username)
    async with cores:
        if person is None or person.disabled:
            await run_in_threadpool(lambda: check(password, get_dummy_hash()))
            return None
        correct, newer = await run_in_threadpool(check, password, person.hashed_password)
    if correct and newer:
        await users.replace_hash(person.username, old=person.hashed_password, new=newer)
    return person if correct else None


class Token(TypedDict):
    access_token: str
    token_type: str
    expires_in: int


@asynccontextmanager
async def make_dummy_hash_first(_):
    await run_in_threadpool(get_dummy_hash)
    yield


router = APIRouter(route_class=SafeRoute, tags=["03 login"], lifespan=make_dummy_hash_first)


@router.post("/token")
async def login(
    form: Annotated[OAuth2PasswordRequestForm, Depends()],
    users: Annotated[UserStore, Depends(get_users)],
    response: Response,
) -> Token:
    person = await authenticate_user(users, form.username, form.password)
    if person:
        response.headers["Cache-Control"] = "no-store"
        token = create_access_token({"sub": person.username, "stamp": person.security_stamp})
        return Token(
            access_token=token,
            token_type="bearer",
            expires_in=settings.access_token_expire_minutes * 60,
        )
    raise HTTPException(401, "Incorrect username or password", {"WWW-Authenticate": "Bearer"})


app = create_app("Lesson 03: login", hashing.router, router)
