"""Alternative: reads the account again in a transaction, and refuses when it is not the same one.

It logs who tried, from where, and how it ended. It has its own bounded queue, and its own 503, also
for a store that is down.
"""

import asyncio
import logging
import os
import secrets
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Request, Response
from fastapi.security import OAuth2PasswordRequestForm
from pydantic import BaseModel

from solutions import hashing
from solutions.support.apps import create_app
from solutions.support.safe_route import SafeRoute
from solutions.support.settings import get_settings
from solutions.tokens import create_access_token
from solutions.stores.users import User, UserStore, get_users

audit = logging.getLogger("audit")
pool = ThreadPoolExecutor(os.cpu_count() or 2)
in_line: set[asyncio.Future] = set()


@lru_cache
def get_dummy_hash() -> str:
    return hashing.hash_password(secrets.token_urlsafe(32))


def try_later() -> HTTPException:
    return HTTPException(503, "Please try again.", headers={"Retry-After": "3"})


def verify(password: str, hashed: str | None) -> tuple[bool, str | None]:
    decoy = get_dummy_hash()
    return hashing.verify_and_upgrade(password, decoy if hashed is None else hashed)


async def verify_in_line(password: str, hashed: str | None) -> tuple[bool, str | None]:
    if len(in_line) >= 3 * (os.cpu_count() or 2):
        raise try_later()
    work = asyncio.get_running_loop().run_in_executor(pool, verify, password, hashed)
    in_line.add(work)
    work.add_done_callback(in_line.discard)
    return await work


async def authenticate_user(users: UserStore, username: str, password: str) -> User | None:
    before = await users.get(username)
    known = before is not None and not before.disabled
    correct, new = await verify_in_line(password, before.hashed_password if known else None)
    if not (known and correct):
        return None
    async with users.transaction():
        now = await users.get(username)
        if now is None or now.disabled or now.security_stamp != before.security_stamp:
            return None
        if new:
            await users.replace_hash(now.username, old=before.hashed_password, new=new)
    return now


class Token(BaseModel):
    access_token: str
    token_type: str = "bearer"
    expires_in: int


router = APIRouter(route_class=SafeRoute, tags=["03 login"])


@router.post("/token")
async def login(
    request: Request,
    form: Annotated[OAuth2PasswordRequestForm, Depends()],
    users: Annotated[UserStore, Depends(get_users)],
    response: Response,
) -> Token:
    try:
        user = await authenticate_user(users, form.username, form.password)
    except OSError:
        audit.exception("The store is down")
        raise try_later() from None
    where = request.client.host if request.client else "-"
    browser = request.headers.get("user-agent", "-")
    audit.info("login %r from %s with %r: %s", form.username, where, browser, bool(user))
    if user is None:
        raise HTTPException(
            401, "Incorrect username or password", headers={"WWW-Authenticate": "Bearer"}
        )
    response.headers["Cache-Control"] = "no-store"
    return Token(
        access_token=create_access_token({"sub": user.username, "stamp": user.security_stamp}),
        expires_in=60 * get_settings().access_token_expire_minutes,
    )


app = create_app("Lesson 03: login", hashing.router, router)
