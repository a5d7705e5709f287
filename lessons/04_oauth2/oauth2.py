"""Lesson 04. Who is calling? One dependency answers, and every route that needs it asks."""

from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, status
from fastapi.security import OAuth2PasswordBearer
from pydantic import BaseModel

from solutions import hashing, login
from solutions.stores.users import User, UserStore, get_users
from solutions.support.apps import create_app
from solutions.support.safe_route import SafeRoute
from solutions.support.scopes import SCOPES
from solutions.support.token_service import decode_token
from solutions.tokens import InvalidToken

# Where the login is, seen from /docs. Whoever mounts it elsewhere changes it here.
TOKEN_URL = "token"

oauth2_scheme = OAuth2PasswordBearer(tokenUrl=TOKEN_URL, scopes=SCOPES)


def unauthorized(detail: str) -> HTTPException:
    """Return the 401 that says how to come in (RFC 6750 section 3)."""
    return HTTPException(
        status.HTTP_401_UNAUTHORIZED, detail, headers={"WWW-Authenticate": "Bearer"}
    )


async def get_current_user(
    token: Annotated[str, Depends(oauth2_scheme)],
    users: Annotated[UserStore, Depends(get_users)],
) -> User:
    """Return the person whom the bearer token speaks for.

    Raises 401 without a token, and one other 401 for a token that is bad, whose user is gone, or
    that is older than the account's present security stamp (ASVS 7.4.2, 7.4.3).
    """
    raise NotImplementedError("TODO 1: turn the token into a person, or into a 401")


async def get_current_active_user(user: Annotated[User, Depends(get_current_user)]) -> User:
    """Return the caller. Raises 400 when the account has been disabled since the login."""
    raise NotImplementedError("TODO 2: refuse a disabled account")


# TODO 3: ask get_current_active_user here. As it stands, a disabled account comes in.
CurrentUser = Annotated[User, Depends(get_current_user)]


class UserPublic(BaseModel):
    """What a person may see of an account."""

    username: str
    email: str | None
    full_name: str | None
    disabled: bool


class Item(BaseModel):
    """Something that belongs to somebody."""

    item_id: str
    owner: str


class Secret(BaseModel):
    """What only those inside get to read."""

    message: str
    user: str


router = APIRouter(route_class=SafeRoute, tags=["04 oauth2"])
demo_router = APIRouter(route_class=SafeRoute, tags=["04 oauth2"])  # not for an app of your own


@router.get("/users/me")
async def read_users_me(user: CurrentUser) -> UserPublic:
    """Tell the caller who they are."""
    return UserPublic(**user.model_dump())


@demo_router.get("/users/me/items")
async def read_own_items(user: CurrentUser) -> list[Item]:
    """List the caller's items."""
    return [Item(item_id="Foo", owner=user.username)]


@demo_router.get("/protected-resource")
async def read_protected_resource(user: CurrentUser) -> Secret:
    """Greet whoever may come in."""
    return Secret(message=f"Hello {user.username}, you are in.", user=user.username)


app = create_app(
    "Lesson 04: the OAuth2 dependency", hashing.router, login.router, router, demo_router
)
