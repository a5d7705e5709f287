"""Lesson 03. Logging in: a name and a password for a token, and nothing for mallory to measure."""

import secrets
from functools import lru_cache
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, HTTPException, Response, status
from fastapi.security import OAuth2PasswordRequestForm
from pydantic import BaseModel

from solutions import hashing
from solutions.hashing import hash_password, verify_and_upgrade
from solutions.stores.users import User, UserStore, get_users
from solutions.support.apps import create_app
from solutions.support.safe_route import SafeRoute
from solutions.support.settings import get_settings
from solutions.support.threads import run_hashing
from solutions.support.token_service import create_access_token


@lru_cache
def get_dummy_hash() -> str:
    """Return the hash of a password that nobody has, to verify against when there is no user."""
    raise NotImplementedError("TODO 1: return the hash of a password that nobody has")


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
    raise NotImplementedError("TODO 2: verify with equal work, whoever it is")


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
    raise NotImplementedError("TODO 3: authenticate off the event loop, then answer")


app = create_app("Lesson 03: login", hashing.router, router)
