"""Three small dependencies on top of each other, get_claims at the bottom, and the guard asked once
more for the whole router, so that a route which forgets it is guarded all the same."""

from typing import Any

from fastapi import APIRouter, Depends, HTTPException, status
from fastapi.security import OAuth2PasswordBearer
from pydantic import BaseModel
from typing_extensions import Annotated  # noqa: UP035

from solutions import hashing, login
from solutions.support.apps import create_app
from solutions.support.safe_route import SafeRoute
from solutions.tokens import InvalidToken, decode_token
from solutions.stores.users import User, UserStore, get_users

SCOPES = {"me": "See who you are", "items": "See your items"}

oauth2_scheme = OAuth2PasswordBearer(tokenUrl="token", scopes=SCOPES)


def unauthorized(detail: str = "Could not validate credentials") -> HTTPException:
    return HTTPException(status.HTTP_401_UNAUTHORIZED, detail, {"WWW-Authenticate": "Bearer"})


async def get_claims(token: Annotated[str, Depends(oauth2_scheme)]) -> dict[str, Any]:
    """What a good token says, whoever it speaks of."""
    if token == "":
        raise unauthorized("Not authenticated")
    try:
        return decode_token(token)
    except InvalidToken as reason:
        raise unauthorized() from reason


async def get_current_user(
    claims: Annotated[dict[str, Any], Depends(get_claims)],
    users: Annotated[UserStore, Depends(get_users)],
) -> User:
    """The person as stored now, when the token was drawn for this state of the account."""
    match await users.get(claims["sub"]):
        case User(security_stamp=stamp) as user if stamp and stamp == claims.get("stamp"):
            return user
        case _:
            raise unauthorized()


async def get_current_active_user(user: Annotated[User, Depends(get_current_user)]) -> User:
    if user.disabled:
        raise HTTPException(status.HTTP_403_FORBIDDEN, "Inactive user")
    return user


CurrentUser = Annotated[User, Depends(get_current_active_user)]


class UserPublic(BaseModel):
    username: str
    email: str | None = None
    full_name: str | None = None
    disabled: bool = False


class Item(BaseModel):
    item_id: str
    owner: str


class Secret(BaseModel):
    message: str
    user: str


router = APIRouter(
    route_class=SafeRoute,
    tags=["me"],
    dependencies=[Depends(get_current_active_user)],
    responses={401: {"description": "Who are you?"}, 403: {"description": "Disabled"}},
)


@router.get("/users/me")
async def read_users_me(me: CurrentUser) -> UserPublic:
    return UserPublic(
        username=me.username, email=me.email, full_name=me.full_name, disabled=me.disabled
    )


@router.get("/users/me/items")
async def read_own_items(me: CurrentUser) -> list[Item]:
    return [Item(item_id="Foo", owner=me.username)]


@router.get("/protected-resource")
async def read_protected_resource(me: CurrentUser) -> Secret:
    return Secret(message=f"{me.full_name or me.username}, welcome", user=me.username)


app = create_app("Lesson 04", hashing.router, login.router, router)
