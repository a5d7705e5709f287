"""Objects of two classes as the dependencies, the second a guard that takes any rules about the
caller; the answers are TypedDicts."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException
from fastapi.security import OAuth2PasswordBearer
from typing_extensions import TypedDict

from solutions import hashing, login
from solutions.support.apps import create_app
from solutions.support.safe_route import SafeRoute
from solutions.tokens import InvalidToken, decode_token
from solutions.stores.users import User, UserStore, get_users

SCOPES = {"me": "See who you are", "items": "See your items"}
oauth2_scheme = OAuth2PasswordBearer("token", scopes=SCOPES)


def unauthorized(detail: str) -> HTTPException:
    return HTTPException(401, detail, {"WWW-Authenticate": "Bearer"})


class TokenOwner:
    """The person whom the token was drawn for."""

    async def __call__(
        self,
        token: Annotated[str, Depends(oauth2_scheme)],
        users: Annotated[UserStore, Depends(get_users)],
    ) -> User:
        if not token:
            raise unauthorized("Not authenticated")
        owner = await self.find(token, users)
        if owner is None:
            raise unauthorized("Could not validate credentials")
        return owner

    @staticmethod
    async def find(token: str, users: UserStore) -> User | None:
        try:
            claims = decode_token(token)
        except InvalidToken:
            return None
        owner = await users.get(claims["sub"])
        stamp = claims.get("stamp") or object()  # none is equal to nothing
        fresh = owner is not None and stamp == owner.security_stamp
        return owner if fresh else None


get_current_user = TokenOwner()


@dataclass(frozen=True)
class Guard:
    """Let the caller pass unless a rule says no, with its status and text."""

    rules: tuple[tuple[Callable[[User], bool], int, str], ...]

    async def __call__(self, user: Annotated[User, Depends(get_current_user)]) -> User:
        for holds, status_code, text in self.rules:
            if not holds(user):
                raise HTTPException(status_code, text)
        return user


def is_enabled(user: User) -> bool:
    return not user.disabled


get_current_active_user = Guard(rules=((is_enabled, 400, "Inactive user"),))

CurrentUser = Annotated[User, Depends(get_current_active_user)]


class UserPublic(TypedDict):
    username: str
    email: str | None
    full_name: str | None
    disabled: bool


class Item(TypedDict):
    item_id: str
    owner: str


class Secret(TypedDict):
    message: str
    user: str


router = APIRouter(route_class=SafeRoute, tags=["04 oauth2"])


@router.get("/users/me")
async def read_users_me(user: CurrentUser) -> UserPublic:
    return {
        "username": user.username,
        "email": user.email,
        "full_name": user.full_name,
        "disabled": user.disabled,
    }


@router.get("/users/me/items")
async def read_own_items(user: CurrentUser) -> list[Item]:
    return [{"item_id": "Foo", "owner": user.username}]


@router.get("/protected-resource")
async def read_protected_resource(user: CurrentUser) -> Secret:
    return {"message": f"Welcome, {user.username}!", "user": user.username}


app = create_app("Lesson 04: guards", hashing.router, login.router, router)
