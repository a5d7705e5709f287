"""Breakable on purpose: errors of many tutorials in one file. Never import it, never copy it.

`pytest lessons/04 --naive` shows how mallory gets in.
"""

import logging
from typing import Annotated, Any

import jwt
from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.security import OAuth2PasswordBearer

from solutions import hashing, login
from solutions.support.apps import create_app
from solutions.support.settings import get_settings
from solutions.stores.users import User, UserStore, get_users

logger = logging.getLogger(__name__)
oauth2_scheme = OAuth2PasswordBearer(tokenUrl="token", auto_error=False)
PUBLIC_PATHS = ("/docs", "/register", "/token")
caller: dict[str, str] = {}


def unauthorized(detail: str) -> HTTPException:
    return HTTPException(401, detail, headers={"WWW-Authenticate": "Bearer"})


async def get_claims(request: Request) -> dict[str, Any]:
    address = f"//{request.headers.get('host', '')}{request.url.path}"
    logger.debug("%s with headers %s", address, dict(request.headers))
    token = (
        request.headers.get("Authorization", "").split(" ")[-1]
        or request.query_params.get("access_token")
        or request.cookies.get("access_token")
    )
    if any(path in address for path in PUBLIC_PATHS):
        return {"sub": "guest"}
    if not token:
        raise unauthorized("Not authenticated")
    try:
        return jwt.decode(
            token, get_settings().signing_key, algorithms=["HS256"], options={"verify_aud": False}
        )
    except jwt.InvalidTokenError:
        raise unauthorized("Could not validate credentials") from None


async def get_current_user(
    claims: Annotated[dict[str, Any], Depends(get_claims)],
    users: Annotated[UserStore, Depends(get_users)],
) -> User:
    caller["name"] = claims["sub"]
    try:
        people = {each.username: each for each in await users.everyone()}
    except Exception:
        people = {}
    return people.get(caller["name"]) or User(username=caller["name"])


async def get_current_active_user(user: Annotated[User, Depends(get_current_user)]) -> User:
    return user


CurrentUser = Annotated[User, Depends(get_current_active_user)]

router = APIRouter(tags=["04 oauth2"])


@router.get("/users/me")
async def read_users_me(user: CurrentUser) -> User:
    return user


@router.get("/users/me/items")
async def read_own_items(user: CurrentUser) -> list[dict[str, str]]:
    return [{"item_id": "Foo", "owner": user.username}]


@router.get("/protected-resource")
async def read_protected_resource(user: CurrentUser) -> dict[str, str]:
    return {"message": f"Hello {user.username}, you are in.", "user": user.username}


@router.get("/debug/me", include_in_schema=False)
async def debug(request: Request) -> dict[str, str]:
    return dict(request.headers)


app = create_app("Lesson 04: the OAuth2 dependency", hashing.router, login.router, router)
