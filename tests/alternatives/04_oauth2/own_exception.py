"""auto_error=False, an exception class of its own, and a route class that words the challenge as
RFC 6750 section 3.1 does: no error code without a token, invalid_token with a bad one."""

from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException
from fastapi.responses import JSONResponse
from fastapi.security import OAuth2PasswordBearer
from pydantic import BaseModel

from solutions import hashing, login
from solutions.support.apps import create_app
from solutions.support.safe_route import SafeRoute
from solutions.tokens import InvalidToken, decode_token
from solutions.stores.users import User, UserStore, get_users

SCOPES = {"me": "See who you are", "items": "See your items"}

oauth2_scheme = OAuth2PasswordBearer(tokenUrl="token", scopes=SCOPES, auto_error=False)


class NotLetIn(HTTPException):
    """No one, or not believed. Also where no ChallengingRoute catches it, it is a plain 401."""

    def __init__(self, detail: str) -> None:
        super().__init__(401, detail, headers={"WWW-Authenticate": "Bearer"})


class BadToken(NotLetIn):
    def __init__(self, detail: str = "Could not validate credentials") -> None:
        super().__init__(detail)


def unauthorized(detail: str) -> NotLetIn:
    return NotLetIn(detail) if detail == "Not authenticated" else BadToken(detail)


class ChallengingRoute(SafeRoute):
    def get_route_handler(self):
        inner = super().get_route_handler()

        async def handler(request):
            try:
                return await inner(request)
            except NotLetIn as refusal:
                challenge = 'Bearer realm="fastapi-auth-workbook"'
                if isinstance(refusal, BadToken):
                    challenge += ', error="invalid_token", error_description="Log in again"'
                return JSONResponse(
                    {"detail": refusal.detail},
                    status_code=401,
                    headers={"WWW-Authenticate": challenge, "Cache-Control": "no-store"},
                )

        return handler


async def get_current_user(
    token: Annotated[str | None, Depends(oauth2_scheme)],
    users: Annotated[UserStore, Depends(get_users)],
) -> User:
    if not token:
        raise NotLetIn("Not authenticated")
    try:
        claims = decode_token(token)
        user = await users.get(claims["sub"])
        if user is None or not claims.get("stamp") or claims["stamp"] != user.security_stamp:
            raise InvalidToken
    except InvalidToken:
        raise BadToken from None
    else:
        return user


async def get_current_active_user(user: Annotated[User, Depends(get_current_user)]) -> User:
    if user.disabled:
        raise BadToken("Inactive user")
    return user


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


router = APIRouter(route_class=ChallengingRoute, tags=["04 oauth2"])


@router.get("/users/me")
async def read_users_me(user: CurrentUser) -> UserPublic:
    return UserPublic.model_validate(user.model_dump(include=set(UserPublic.model_fields)))


@router.get("/users/me/items")
async def read_own_items(user: CurrentUser) -> list[Item]:
    return [Item(item_id="Foo", owner=user.username)]


@router.get("/protected-resource")
async def read_protected_resource(user: CurrentUser) -> Secret:
    return Secret(message="This is what you came for.", user=user.username)


app = create_app("Lesson 04: challenges", hashing.router, login.router, router)
