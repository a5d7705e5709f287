"""Mended: a change in between counts, a 503 stays one, and only a space separates scopes.

Separate Form() parameters, every answer a JSONResponse by hand, and a small route class that
turns its own Refused exception (and each malformed form) into an RFC 6749 error."""

import secrets
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Form, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from pydantic import BaseModel, SecretStr
from starlette.exceptions import HTTPException as StarletteHTTPException

import solutions.hashing as step01
import solutions.oauth2 as step04
from solutions.support.apps import create_app
from solutions.support.digests import digest_of
from solutions.login import authenticate_user
from solutions.support.passwords import NewPassword, unfit_password
from solutions.stores.refresh_tokens import Family, RefreshStore, RefreshToken, get_refresh_store
from solutions.support.safe_route import SafeRoute
from solutions.support.settings import get_settings
from solutions.support.threads import run_hashing
from solutions.tokens import create_access_token
from solutions.stores.users import UserStore, get_users


class Refused(Exception):
    """args: the RFC's error code, and a sentence for the developer."""


def uncached(content, status_code=200):
    headers = {"Cache-Control": "no-store", "Pragma": "no-cache"}
    return JSONResponse(content, status_code=status_code, headers=headers)


class TokenEndpoint(APIRoute):
    def get_route_handler(self):
        inner = super().get_route_handler()

        async def handler(request: Request):
            try:
                return await inner(request)
            except Refused as refused:
                code, sentence = refused.args
            except RequestValidationError:
                code, sentence = "invalid_request", "The form cannot be read"
            except StarletteHTTPException as error:
                if error.status_code != 400:
                    raise
                code, sentence = "invalid_request", "The form cannot be read"
            return uncached({"error": code, "error_description": sentence}, 400)

        return handler


async def no_parameter_twice(request: Request) -> None:
    """RFC 6749 section 3.2."""
    names = [name for name, _ in (await request.form()).multi_items()]
    if len(names) != len(set(names)):
        raise Refused("invalid_request", "A parameter is repeated")


tokens = APIRouter(
    route_class=TokenEndpoint, tags=["05 refresh"], dependencies=[Depends(no_parameter_twice)]
)
Text = Annotated[str, Form()]
Users = Annotated[UserStore, Depends(get_users)]
Store = Annotated[RefreshStore, Depends(get_refresh_store)]


@tokens.post("/token")
async def token(
    users: Users,
    store: Store,
    grant_type: Text = "",
    username: Text = "",
    password: Text = "",
    refresh_token: Text = "",
    scope: Text = "",
) -> JSONResponse:
    grant_type = grant_type or "password"
    if grant_type == "password":
        need(username, password)
        user, family = await by_password(users, username, password)
    elif grant_type == "refresh_token":
        need(refresh_token)
        user, family = await by_refresh_token(users, store, refresh_token)
    else:
        raise Refused("unsupported_grant_type", "Only password and refresh_token")

    possible = [s for s in user.scopes if s in family.scopes]
    asked = {word for word in scope.split(" ") if word}
    granted = [s for s in possible if s in asked] if asked else possible
    if asked and not granted:
        raise Refused("invalid_scope", "These scopes are not yours")
    if grant_type == "password":  # what is granted now bounds the session
        family = Family(**(vars(family) | {"scopes": tuple(granted)}))

    successor = secrets.token_urlsafe(32)
    await store.add(RefreshToken(digest=digest_of(successor), family=family))
    text = " ".join(granted)
    claims = {"sub": user.username, "stamp": user.security_stamp, "scope": text}
    return uncached(
        {
            "access_token": create_access_token(claims),
            "token_type": "bearer",
            "expires_in": get_settings().access_token_expire_minutes * 60,
            "refresh_token": successor,
            "scope": text,
        }
    )


def need(*values):
    if not all(values):
        raise Refused("invalid_request", "Something is missing")


async def by_password(users, username, password):
    user = await authenticate_user(users, username, password)
    if user is None:
        raise Refused("invalid_grant", "Wrong name or password")
    end = datetime.now(UTC) + timedelta(days=get_settings().refresh_token_expire_days)
    name = secrets.token_urlsafe(12)
    return user, Family(name, user.username, user.security_stamp, tuple(user.scopes), end)


async def by_refresh_token(users, store, token):
    refused = Refused("invalid_grant", "Please log in anew")
    digest = digest_of(token)
    if (taken := await store.consume(digest)) is None:
        if seen := await store.find(digest):
            await store.revoke(seen.family)
        raise refused
    family = taken.family
    user = await users.get(family.username)
    alive = (
        user is not None
        and not user.disabled
        and user.security_stamp == family.stamp
        and datetime.now(UTC) < family.expires_at
    )
    if not alive:
        raise refused
    return user, family


@tokens.post("/revoke")
async def revoke(store: Store, token: Text = "", token_type_hint: Text = "") -> JSONResponse:
    need(token)
    if seen := await store.find(digest_of(token)):
        await store.revoke(seen.family)
    return uncached({})


class NewPasswordPlease(BaseModel, extra="forbid"):
    current_password: SecretStr
    new_password: NewPassword


router = APIRouter(route_class=SafeRoute, tags=["05 refresh"])


@router.post("/users/me/password", status_code=204)
async def set_password(body: NewPasswordPlease, user: step04.CurrentUser, users: Users) -> None:
    current = body.current_password.get_secret_value()
    if await authenticate_user(users, user.username, current) is None:
        raise HTTPException(400, detail="That is not your password")
    try:
        new = await run_hashing(step01.hash_password, body.new_password.get_secret_value())
    except ValueError:
        raise unfit_password("new_password") from None
    async with users.transaction():
        now = await users.get(user.username)
        if now is None or (now.disabled, now.security_stamp) != (False, user.security_stamp):
            raise HTTPException(400, detail="The account has changed meanwhile")
        await users.change(user.username, hashed_password=new)


router.include_router(tokens)
app = create_app("05 refresh, forms by hand", step01.router, step04.router, step04.demo_router, router)
