"""Plain `def` in FastAPI's threads, except for the look into the store, and a header parser of its
own in the place of OAuth2PasswordBearer: a SecurityBase, so that /docs has its Authorize button."""

from typing import Annotated, Optional

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.openapi.models import OAuth2, OAuthFlowPassword, OAuthFlows
from fastapi.security.base import SecurityBase
from pydantic import BaseModel, ConfigDict

from solutions import hashing, login
from solutions.support.apps import create_app
from solutions.support.safe_route import SafeRoute
from solutions.tokens import InvalidToken, decode_token
from solutions.stores.users import User, UserStore, get_users

SCOPES = {"me": "See who you are", "items": "See your items"}


def unauthorized(detail: str) -> HTTPException:
    return HTTPException(
        status_code=401,
        detail=detail,
        headers={"WWW-Authenticate": 'Bearer realm="workbook"'},
    )


class BearerHeader(SecurityBase):
    """Take `Authorization: Bearer <token>` apart; whatever is not that is nobody."""

    def __init__(self, token_url: str, scopes: dict[str, str]) -> None:
        self.scheme_name = "password"
        self.model = OAuth2(
            flows=OAuthFlows(password=OAuthFlowPassword(tokenUrl=token_url, scopes=scopes))
        )

    def __call__(self, request: Request) -> str:
        lines = request.headers.getlist("authorization")
        if len(lines) != 1:  # none at all, or two that could contradict each other
            raise unauthorized("Not authenticated")
        kind, _, credentials = lines[0].partition(" ")
        credentials = credentials.strip(" \t")
        if kind.casefold() != "bearer" or credentials == "":
            raise unauthorized("Not authenticated")
        return credentials


oauth2_scheme = BearerHeader("token", SCOPES)


async def get_current_user(
    token: Annotated[str, Depends(oauth2_scheme)],
    users: Annotated[UserStore, Depends(get_users)],
) -> User:
    if not token:  # somebody else's scheme may let it through
        raise unauthorized("Not authenticated")
    refusal = unauthorized("Could not validate credentials")
    try:
        claims = decode_token(token)
    except InvalidToken:
        raise refusal from None
    person = await users.get(claims["sub"])
    if person is None:
        raise refusal
    if claims.get("stamp") != (person.security_stamp or object()):
        raise refusal
    return person


def get_current_active_user(user: Annotated[User, Depends(get_current_user)]) -> User:
    if not user.disabled:
        return user
    raise HTTPException(status_code=400, detail="Inactive user")


CurrentUser = Annotated[User, Depends(get_current_active_user)]


class UserPublic(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    username: str
    email: Optional[str]  # noqa: UP045
    full_name: Optional[str]  # noqa: UP045
    disabled: bool


class Item(BaseModel):
    item_id: str
    owner: str


class Secret(BaseModel):
    message: str
    user: str


router = APIRouter(route_class=SafeRoute)


@router.get("/users/me")
def read_users_me(user: CurrentUser) -> UserPublic:
    return UserPublic.model_validate(user)


@router.get("/users/me/items")
def read_own_items(user: CurrentUser) -> list[Item]:
    return [Item(item_id="Foo", owner=user.username)]


@router.get("/protected-resource")
def read_protected_resource(user: CurrentUser) -> Secret:
    return Secret(message="Good to see you.", user=user.username)


app = create_app("OAuth2, in threads", hashing.router, login.router, router)
