"""Lesson 03. Logging in: a name and a password for a token, and nothing for mallory to measure."""

import secrets
from functools import lru_cache
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, HTTPException, Response, status
from fastapi.security import OAuth2PasswordRequestForm
from pydantic import BaseModel

from . import hashing
from .hashing import hash_password, verify_and_upgrade
from .stores.users import User, UserStore, get_users
from .support.apps import create_app
from .support.safe_route import SafeRoute
from .support.settings import get_settings
from .support.threads import run_hashing
from .support.token_service import create_access_token


@lru_cache
def get_dummy_hash() -> str:
    """Return the hash of a password that nobody has, to verify against when there is no user."""
    return hash_password(secrets.token_urlsafe(32))


def check_password(password: str, hashed: str | None) -> tuple[bool, str | None]:
    """Verify as lesson 01 does. Without a hash it is as much work, and the answer is no.

    Runs in a worker thread, and knows neither the user nor the store.
    """
    dummy = get_dummy_hash()  # also where it is not needed: whoever comes first pays for it
    correct, upgraded = verify_and_upgrade(password, hashed or dummy)
    return (correct, upgraded) if hashed else (False, None)


async def authenticate_user(users: UserStore, username: str, password: str) -> User | None:
    """Return the user if the password is right and the account enabled, else None.

    Costs the same hashing whether the user exists, is disabled or not: an answer that comes
    sooner for unknown names is a list of the known ones (CWE-208). Upgrades an outdated hash.
    The user is as before the hashing: one read anew would have the stamp of a newer password.
    """
    user = await users.get(username)
    hashed = user.hashed_password if user and not user.disabled else None
    correct, upgraded = await run_hashing(check_password, password, hashed)
    if user is None or hashed is None or not correct:
        return None
    if upgraded is not None:
        await users.replace_hash(user.username, old=hashed, new=upgraded)
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
    user = await authenticate_user(users, form.username, form.password)
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
