"""Alternative: a class-based authenticator that owns a ThreadPoolExecutor, one thread a core.

`authenticate_user` is a callable instance; it returns a bare `User`, without the hash.
"""

import asyncio
import os
import secrets
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, HTTPException, Response, status
from fastapi.security import OAuth2PasswordRequestForm
from pydantic import BaseModel

from solutions.support.apps import create_app
from solutions.hashing import hash_password, verify_and_upgrade
from solutions.hashing import router as registration_router
from solutions.support.safe_route import SafeRoute
from solutions.support.settings import get_settings
from solutions.tokens import create_access_token
from solutions.stores.users import User, UserInDB, UserStore, get_users


class Authenticator:
    def __init__(self, threads: int):
        self._pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="login")

    @cached_property
    def nobodys_hash(self) -> str:
        return hash_password(secrets.token_urlsafe())

    async def _enabled(self, users: UserStore, username: str) -> UserInDB | None:
        person = await users.get(username)
        return person if person and not person.disabled else None

    def _compare(self, password: str, hashed: str | None) -> tuple[bool, str | None]:
        decoy = self.nobodys_hash
        return verify_and_upgrade(password, decoy if hashed is None else hashed)

    async def __call__(self, users: UserStore, username: str, password: str) -> User | None:
        person = await self._enabled(users, username)
        hashed = None if person is None else person.hashed_password
        match await self._in_thread(self._compare, password, hashed):
            case (True, new) if person is not None:
                if new:
                    await users.replace_hash(person.username, old=hashed, new=new)
                return User(**person.model_dump())  # the dump leaves the hash out
        return None

    async def _in_thread(self, slow, *args):
        return await asyncio.get_running_loop().run_in_executor(self._pool, slow, *args)


authenticate_user = Authenticator(threads=len(os.sched_getaffinity(0)))


def get_dummy_hash() -> str:
    return authenticate_user.nobodys_hash


class Token(BaseModel):
    access_token: str
    token_type: Literal["bearer"] = "bearer"
    expires_in: int

    @classmethod
    def issue(cls, user: User) -> "Token":
        claims = {"sub": user.username, "stamp": user.security_stamp}
        return cls(
            access_token=create_access_token(claims),
            expires_in=get_settings().access_token_expire_minutes * 60,
        )


async def logged_in(
    form: Annotated[OAuth2PasswordRequestForm, Depends()],
    users: Annotated[UserStore, Depends(get_users)],
) -> User:
    """The whole check as a dependency: the route below runs for the right people only."""
    user = await authenticate_user(users, form.username, form.password)
    if user is None:
        raise HTTPException(
            status.HTTP_401_UNAUTHORIZED,
            "Incorrect username or password",
            {"WWW-Authenticate": "Bearer"},
        )
    return user


router = APIRouter(route_class=SafeRoute, tags=["03 login"])


@router.post("/token")
async def login(user: Annotated[User, Depends(logged_in)], response: Response) -> Token:
    response.headers.update({"Cache-Control": "no-store"})
    return Token.issue(user)


app = create_app("Lesson 03: login", registration_router, router)
