"""Lesson 04. Who is calling? One dependency answers, and every route that needs it asks."""

from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, status
from fastapi.security import OAuth2PasswordBearer
from pydantic import BaseModel

from . import hashing, login
from .stores.users import User, UserStore, get_users
from .support.apps import create_app
from .support.safe_route import SafeRoute
from .support.scopes import SCOPES
from .support.token_service import decode_token
from .tokens import InvalidToken

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
    if not token:
        raise unauthorized("Not authenticated")
    try:
        claims = decode_token(token)
    except InvalidToken as error:
        raise unauthorized(str(error)) from None
    user = await users.get(claims["sub"])
    stamp = claims.get("stamp")  # None is no stamp, also where the account has none
    if user is None or not stamp or stamp != user.security_stamp:
        raise unauthorized(str(InvalidToken()))
    return user


async def get_current_active_user(user: Annotated[User, Depends(get_current_user)]) -> User:
    """Return the caller. Raises 400 when the account has been disabled since the login."""
    if user.disabled:
        raise HTTPException(status.HTTP_400_BAD_REQUEST, "Inactive user")
    return user


CurrentUser = Annotated[User, Depends(get_current_active_user)]


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
