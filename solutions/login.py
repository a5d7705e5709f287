"""Lesson 03. Logging in: a name and a password for a token, and nothing for mallory to measure."""

import secrets
from functools import lru_cache
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, HTTPException, Response, status
from fastapi.security import OAuth2PasswordRequestForm
from pydantic import BaseModel

from . import hashing
from .apps import create_app
from .hashing import hash_password, verify_and_upgrade
from .safe_route import SafeRoute
from .settings import get_settings
from .threads import run_hashing
from .tokens import create_access_token
from .users import User, UserStore, get_users


@lru_cache
def get_dummy_hash() -> str:
    """Return the hash of a password that nobody has, to verify against when there is no user."""
    return hash_password(secrets.token_urlsafe(32))


def authenticate_user(users: UserStore, username: str, password: str) -> User | None:
    """Return the user if the password is right and the account enabled, else None.

    Costs the same hashing whether the user exists, is disabled or not: an answer that comes
    sooner for unknown names is a list of the known ones (CWE-208). Upgrades an outdated hash.
    """
    user = users.get(username)
    hashed = get_dummy_hash()  # also for the known, so that whoever comes first pays for it
    if user is not None and not user.disabled:
        hashed = user.hashed_password
    correct, upgraded = verify_and_upgrade(password, hashed)
    if user is None or user.disabled or not correct:
        return None
    if upgraded is not None:
        users.replace_hash(user.username, old=hashed, new=upgraded)
    return user


class Token(BaseModel):
    """A successful answer of the token endpoint (RFC 6749 section 5.1)."""

    access_token: str
    token_type: Literal["bearer"] = "bearer"
    expires_in: int  # seconds


router = APIRouter(route_class=SafeRoute, tags=["03 login"])


@router.post("/token")
async def login(
    form: Annotated[OAuth2PasswordRequestForm, Depends()],
    users: Annotated[UserStore, Depends(get_users)],
    response: Response,
) -> Token:
    """Exchange a name and a password for an access token.

    401 with one text for every failure (ASVS 6.3.8). The token carries the account's security
    stamp in the claim `stamp`, and must not be cached (RFC 6749 section 5.1).
    """
    user = await run_hashing(authenticate_user, users, form.username, form.password)
    if user is None:
        raise HTTPException(
            status.HTTP_401_UNAUTHORIZED,
            "Incorrect username or password",
            headers={"WWW-Authenticate": "Bearer"},
        )
    response.headers["Cache-Control"] = "no-store"
    return Token(
        access_token=create_access_token({"sub": user.username, "stamp": user.security_stamp}),
        expires_in=get_settings().access_token_expire_minutes * 60,
    )


app = create_app("Lesson 03: login", hashing.router, router)
