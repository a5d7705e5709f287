"""Alternative: a plain `def` route; a bounded semaphore in the hashing thread keeps hashes few."""

import asyncio
import os
import secrets
from functools import lru_cache, wraps
from threading import BoundedSemaphore
from typing import Annotated

import anyio.from_thread
from fastapi import APIRouter, Depends, HTTPException, Response
from fastapi.security import OAuth2PasswordRequestForm
from pydantic import BaseModel

from solutions import hashing
from solutions.support.apps import create_app
from solutions.support.safe_route import SafeRoute
from solutions.support.settings import get_settings
from solutions.tokens import create_access_token
from solutions.stores.users import User, UserStore, get_users

_turnstile = BoundedSemaphore(max(1, os.cpu_count() or 1))


def few_at_once(function):
    """Let as many callers in as there are cores; the others wait in their worker threads."""

    @wraps(function)
    def guarded(*args, **kwargs):
        with _turnstile:
            return function(*args, **kwargs)

    return guarded


@lru_cache(maxsize=1)
def get_dummy_hash():
    return hashing.hash_password(secrets.token_hex(24))


@few_at_once
def compare(password, stored):
    decoy = get_dummy_hash()
    return hashing.verify_and_upgrade(password, decoy if stored is None else stored)


async def authenticate_user(users, username, password) -> User | None:
    found = await users.get(username)
    # A disabled account is nobody's account: same decoy, same work, no rehash.
    candidate = None if found is None or found.disabled else found
    stored = candidate.hashed_password if candidate else None

    # Not in FastAPI's threads: the routes below occupy those, and would wait for one another.
    matches, rehashed = await asyncio.to_thread(compare, password, stored)
    if candidate and matches:
        if rehashed:
            await users.replace_hash(candidate.username, old=stored, new=rehashed)
        return candidate
    return None


class Token(BaseModel):
    access_token: str
    token_type: str = "bearer"
    expires_in: int


router = APIRouter(tags=["03 login"], route_class=SafeRoute)


@router.post("/token", response_model=Token)
def login(
    response: Response,
    form: Annotated[OAuth2PasswordRequestForm, Depends(OAuth2PasswordRequestForm)],
    users: Annotated[UserStore, Depends(get_users)],
):
    # Plain `def`: FastAPI calls this in a worker thread, which comes back to the loop for the store.
    who = anyio.from_thread.run(authenticate_user, users, form.username, form.password)
    if not who:
        raise HTTPException(
            status_code=401,
            detail="Incorrect username or password",
            headers={"WWW-Authenticate": "Bearer", "Cache-Control": "no-store"},
        )
    response.headers["cache-control"] = "no-store"
    return {
        "access_token": create_access_token({"sub": who.username, "stamp": who.security_stamp}),
        "token_type": "bearer",
        "expires_in": 60 * get_settings().access_token_expire_minutes,
    }


app = create_app("Lesson 03: login", hashing.router, router)
