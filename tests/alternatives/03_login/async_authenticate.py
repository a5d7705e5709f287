"""Alternative: `authenticate_user` is `async` and awaits each hash itself, behind an asyncio.Semaphore."""

import asyncio
import os
import secrets
from datetime import timedelta
from functools import cache
from http import HTTPStatus

from fastapi import APIRouter, Depends, HTTPException
from fastapi.responses import JSONResponse
from fastapi.security import OAuth2PasswordRequestForm
from pydantic import BaseModel, PositiveInt

from solutions import hashing
from solutions.support.apps import create_app
from solutions.hashing import hash_password, verify_and_upgrade
from solutions.support.safe_route import SafeRoute
from solutions.support.settings import get_settings
from solutions.tokens import create_access_token
from solutions.stores.users import UserStore, get_users

CORES = asyncio.Semaphore(os.cpu_count() or 2)


async def off_loop(slow, *args):
    async with CORES:
        return await asyncio.to_thread(slow, *args)


@cache
def get_dummy_hash() -> str:
    return hash_password(secrets.token_urlsafe(40))


async def authenticate_user(users: UserStore, username: str, password: str):
    person = await users.get(username)
    if person is not None and not person.disabled:
        target = person.hashed_password
    else:
        person, target = None, await off_loop(get_dummy_hash)

    correct, better = await off_loop(verify_and_upgrade, password, target)
    if person is None or not correct:
        return None
    if better is not None:
        await users.replace_hash(person.username, target, better)
    return person


class Token(BaseModel):
    access_token: str
    token_type: str
    expires_in: PositiveInt


router = APIRouter(route_class=SafeRoute)


@router.post("/token", tags=["03 login"], responses={200: {"model": Token}})
async def login(
    form: OAuth2PasswordRequestForm = Depends(), users: UserStore = Depends(get_users)
):
    if (person := await authenticate_user(users, form.username, form.password)) is None:
        raise HTTPException(
            HTTPStatus.UNAUTHORIZED,
            detail="Incorrect username or password",
            headers={"WWW-Authenticate": "Bearer"},
        )
    lifetime = timedelta(minutes=get_settings().access_token_expire_minutes)
    signed = create_access_token(
        {"sub": person.username, "stamp": person.security_stamp}, expires_delta=lifetime
    )
    answer = Token(
        access_token=signed, token_type="bearer", expires_in=int(lifetime.total_seconds())
    )
    return JSONResponse(
        answer.model_dump(), headers={"Cache-Control": "no-store", "Pragma": "no-cache"}
    )


app = create_app("Lesson 03: login", hashing.router, router)
