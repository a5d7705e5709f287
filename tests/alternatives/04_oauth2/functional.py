"""Functions that give a user or None, one place that raises, and response models in the decorators.
Who is disabled gets the same 401 as everybody who may not come in."""

from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException
from fastapi.security import OAuth2PasswordBearer
from pydantic import BaseModel

from solutions import hashing, login
from solutions.support.apps import create_app
from solutions.support.safe_route import SafeRoute
from solutions.tokens import InvalidToken, decode_token
from solutions.stores.users import User, UserStore, get_users

SCOPES = {"me": "See who you are", "items": "See your items"}
NOBODY = "Not authenticated"
NOT_BELIEVED = str(InvalidToken())

oauth2_scheme = OAuth2PasswordBearer(tokenUrl="token", scopes=SCOPES)


def unauthorized(detail: str) -> HTTPException:
    return HTTPException(status_code=401, detail=detail, headers={"WWW-Authenticate": "Bearer"})


def claims_of(token: str) -> dict:
    try:
        return decode_token(token)
    except InvalidToken:
        return {}


async def holder_of(token: str, users: UserStore) -> User | None:
    claims = claims_of(token)
    user = await users.get(claims.get("sub", ""))
    stamp = claims.get("stamp")
    return user if user and stamp and user.security_stamp == stamp else None


def enabled(user: User) -> User | None:
    return None if user.disabled else user


def somebody(user: User | None, otherwise: str = NOT_BELIEVED) -> User:
    if user is None:
        raise unauthorized(otherwise)
    return user


async def get_current_user(
    token: str = Depends(oauth2_scheme), users: UserStore = Depends(get_users)
) -> User:
    return somebody(await holder_of(token, users), otherwise=NOT_BELIEVED if token else NOBODY)


async def get_current_active_user(user: User = Depends(get_current_user)) -> User:
    return somebody(enabled(user))


CurrentUser = Annotated[User, Depends(get_current_active_user)]


class UserPublic(BaseModel):
    username: str
    email: str | None
    full_name: str | None
    disabled: bool


class Item(BaseModel):
    item_id: str
    owner: str


class Secret(BaseModel):
    message: str
    user: str


router = APIRouter(route_class=SafeRoute, tags=["04 oauth2"])


@router.get("/users/me", response_model=User, response_model_include=set(UserPublic.model_fields))
async def read_users_me(user: CurrentUser):
    return user


@router.get("/users/me/items", response_model=list[Item], status_code=200)
async def read_own_items(user: CurrentUser):
    return [{"item_id": "Foo", "owner": user.username}]


@router.get("/protected-resource", response_model=Secret, status_code=200)
async def read_protected_resource(user: CurrentUser):
    return {"message": "Hello, " + user.username, "user": user.username}


app = create_app("Lesson 04: OAuth2", hashing.router, login.router, router)
