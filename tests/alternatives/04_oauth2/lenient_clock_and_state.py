"""Decodes with PyJWT itself, half a minute of leeway on every claim, keeps the person on the request's
own state, guards a WebSocket by its header before it is accepted, and answers 404 in its own words."""

from typing import Annotated

import jwt
from fastapi import APIRouter, Depends, Header, HTTPException, Request, WebSocket
from fastapi.responses import JSONResponse
from fastapi.security import OAuth2PasswordBearer
from pydantic import BaseModel, ConfigDict

from solutions import hashing, login
from solutions.stores.users import User, UserStore, get_users
from solutions.support.apps import create_app
from solutions.support.safe_route import SafeRoute
from solutions.support.scopes import SCOPES
from solutions.support.settings import get_settings

MUST_HAVE = ["exp", "iat", "sub", "iss", "aud", "type"]
LEEWAY = 30
BEARER = {"WWW-Authenticate": 'Bearer realm="me"'}

oauth2_scheme = OAuth2PasswordBearer(tokenUrl="token", scopes=SCOPES, auto_error=False)


def unauthorized(detail: str) -> HTTPException:
    return HTTPException(status_code=401, detail=detail, headers=BEARER)


def read(token: str) -> tuple[str, str] | None:
    """The name and the stamp in one of our own tokens, else None."""
    if len(token) > 8192:
        return None
    ours = get_settings()
    try:
        claims = jwt.decode(
            token,
            ours.signing_key,
            algorithms=["HS256"],
            issuer=ours.jwt_issuer,
            audience=ours.jwt_audience,
            leeway=LEEWAY,
            options={"require": MUST_HAVE},
        )
    except Exception:
        return None
    stamp = claims.get("stamp")
    if claims["type"] != "access" or not isinstance(stamp, str) or stamp == "":
        return None
    return claims["sub"], stamp


async def find(users: UserStore, token: str) -> User | None:
    if (said := read(token)) is None:
        return None
    name, stamp = said
    user = await users.get(name)
    return user if user is not None and user.security_stamp == stamp else None


async def get_current_user(
    request: Request,
    token: Annotated[str | None, Depends(oauth2_scheme)],
    users: Annotated[UserStore, Depends(get_users)],
) -> User:
    if not token:
        raise unauthorized("Not authenticated")
    request.state.caller = await find(users, token)
    if request.state.caller is None:
        raise unauthorized("Could not validate credentials")
    return request.state.caller


async def get_current_active_user(user: Annotated[User, Depends(get_current_user)]) -> User:
    if user.disabled is not False:
        raise unauthorized("Inactive user")
    return user


CurrentUser = Annotated[User, Depends(get_current_active_user)]


class UserPublic(BaseModel):
    model_config = ConfigDict(from_attributes=True)

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


router = APIRouter(route_class=SafeRoute, tags=["04"])


@router.get("/users/me", response_model=UserPublic)
async def read_users_me(user: CurrentUser):
    return user


@router.get("/users/me/items")
async def read_own_items(user: CurrentUser) -> list[Item]:
    return [Item(item_id="Foo", owner=user.username)]


@router.get("/protected-resource")
async def read_protected_resource(user: CurrentUser) -> Secret:
    return Secret(message="For you.", user=user.username)


@router.websocket("/live/{room}")
async def live(
    socket: WebSocket,
    room: str,
    users: Annotated[UserStore, Depends(get_users)],
    authorization: Annotated[str, Header()] = "",
) -> None:
    scheme, _, token = authorization.partition(" ")
    user = await find(users, token) if scheme.lower() == "bearer" else None
    if user is None or user.disabled:
        await socket.close(1008)
        return
    await socket.accept()
    await socket.send_text(f"{user.username} is in {room}")
    await socket.close()


app = create_app("A lenient clock", hashing.router, login.router, router)


@app.exception_handler(404)
async def not_found(request: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": "There is nothing here"}, 404)
