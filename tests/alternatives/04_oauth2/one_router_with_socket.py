"""All on one router, with a WebSocket that asks for the token in its first message, security headers on
every answer, and a log that names the browser. Who may come in is written as one list of checks."""

import logging
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Request, Response, WebSocket, status
from fastapi.security import OAuth2PasswordBearer
from pydantic import BaseModel
from starlette.exceptions import WebSocketException

from solutions import hashing, login
from solutions.stores.users import User, Users, UserStore
from solutions.support.apps import create_app
from solutions.support.safe_route import SafeRoute
from solutions.support.scopes import SCOPES
from solutions.tokens import InvalidToken, decode_token

logger = logging.getLogger(__name__)
oauth2_scheme = OAuth2PasswordBearer(tokenUrl="token", scopes=SCOPES)


def unauthorized(detail: str) -> HTTPException:
    return HTTPException(401, detail, headers={"WWW-Authenticate": "Bearer"})


async def person_behind(token: str, users: UserStore) -> User:
    """The person as stored now. Raises InvalidToken for whatever is wrong."""
    claims = decode_token(token)
    person, stamp = await users.get(claims["sub"]), claims.get("stamp", "")
    checks = (person is not None, bool(stamp), stamp == getattr(person, "security_stamp", ""))
    if person is None or not all(checks):
        raise InvalidToken
    return person


async def get_current_user(
    request: Request, token: Annotated[str, Depends(oauth2_scheme)], users: Users
) -> User:
    if not token:
        raise unauthorized("Not authenticated")
    browser = request.headers.get("user-agent", "unknown")
    try:
        person = await person_behind(token, users)
    except InvalidToken:
        logger.warning("refused a token, sent by %.60r", browser)
        raise unauthorized("Could not validate credentials") from None
    logger.info("%s calls with %.60r", person.username, browser)
    return person


async def get_current_active_user(user: Annotated[User, Depends(get_current_user)]) -> User:
    if user.disabled:
        raise HTTPException(status.HTTP_403_FORBIDDEN, "Inactive user")
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


def private(response: Response) -> None:
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["X-Frame-Options"] = "DENY"


router = APIRouter(route_class=SafeRoute, tags=["me"], dependencies=[Depends(private)])
sockets = APIRouter()


@router.get("/users/me")
async def read_users_me(user: CurrentUser) -> UserPublic:
    """Who I am."""
    return UserPublic(**user.model_dump())


@router.get("/users/me/items")
async def read_own_items(user: CurrentUser) -> list[Item]:
    """What is mine."""
    return [Item(item_id="Foo", owner=user.username)]


@router.get("/protected-resource")
async def read_protected_resource(user: CurrentUser) -> Secret:
    """What only those inside read."""
    return Secret(message="Come in.", user=user.username)


@router.get("/users/me/greetings/{word}")
async def greet(word: str, user: CurrentUser) -> str:
    """A route more, guarded as the others are."""
    return f"{word}, {user.username}"


@sockets.websocket("/users/me/live")
async def live(socket: WebSocket, users: Users) -> None:
    await socket.accept()
    try:
        person = await person_behind(await socket.receive_text(), users)
    except InvalidToken:
        person = None
    if person is None or person.disabled:
        raise WebSocketException(1008, "Log in first")
    await socket.send_text(f"Hello {person.username}")


app = create_app("One router, and a socket", hashing.router, login.router, router, sockets)
