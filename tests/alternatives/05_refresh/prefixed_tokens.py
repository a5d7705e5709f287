"""Mended: a change of password in between counts, and only a space separates scopes.

Refresh tokens look like rt_<id>_<secret>, so that a secret scanner knows them; forms are
Pydantic models of its own; one router, filled by `add_api_route`."""

import re
import secrets
import string
import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, HTTPException, Response
from pydantic import BaseModel, ConfigDict, SecretStr, model_validator

from solutions.support.apps import create_app
from solutions.support.digests import digest_of
from solutions.hashing import hash_password
from solutions.hashing import router as hashing_router
from solutions.login import authenticate_user
from solutions.oauth2 import CurrentUser
from solutions.oauth2 import demo_router, router as oauth2_router
from solutions.support.oauth_route import OAuthError, OAuthRoute
from solutions.support.passwords import NewPassword, unfit_password
from solutions.stores.refresh_tokens import Family, RefreshStore, RefreshToken, get_refresh_store
from solutions.support.safe_route import SafeRoute
from solutions.support.settings import get_settings
from solutions.support.threads import run_hashing
from solutions.tokens import create_access_token
from solutions.stores.users import UserInDB, UserStore, get_users

People = Annotated[UserStore, Depends(get_users)]
Tokens = Annotated[RefreshStore, Depends(get_refresh_store)]

# --- the tokens ---------------------------------------------------------------------------------

ALPHABET = string.ascii_letters + string.digits
SHAPE = re.compile(r"rt_[0-9a-f]{12}_[A-Za-z0-9]{43}")  # 43 of 62 letters: 256 bits


def mint() -> str:
    return f"rt_{secrets.token_hex(6)}_" + "".join(secrets.choice(ALPHABET) for _ in range(43))


def digest_if_ours(token: str) -> str | None:
    return digest_of(token) if SHAPE.fullmatch(token) else None


async def rotate_out(tokens: RefreshStore, token: str) -> Family:
    digest = digest_if_ours(token)
    if digest is None:
        raise refused()
    record = await tokens.consume(digest)
    if record is None:
        await kill(tokens, token)
        raise refused()
    if record.family.expires_at.timestamp() <= time.time():
        raise refused()
    return record.family


async def kill(tokens: RefreshStore, token: str) -> None:
    digest = digest_if_ours(token)
    record = await tokens.find(digest) if digest else None
    if record:
        await tokens.revoke(record.family)


def refused() -> OAuthError:
    return OAuthError("invalid_grant", "This grant is not or no longer valid")


# --- what comes in and what goes out ------------------------------------------------------------


class OAuthForm(BaseModel):
    """A parameter without a value counts as left out. Unknown ones are ignored."""

    @model_validator(mode="before")
    @classmethod
    def drop_empty(cls, data: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in data.items() if value != ""}


class TokenRequest(OAuthForm):
    grant_type: str = "password"
    username: str | None = None
    password: SecretStr | None = None
    refresh_token: SecretStr | None = None
    scope: str = ""

    @model_validator(mode="after")
    def complete(self) -> "TokenRequest":
        if self.grant_type == "password" and None in (self.username, self.password):
            raise ValueError("username and password are needed")
        if self.grant_type == "refresh_token" and self.refresh_token is None:
            raise ValueError("refresh_token is needed")
        return self


class RevocationRequest(OAuthForm):
    token: SecretStr


class TokenResponse(BaseModel):
    access_token: str
    token_type: str = "bearer"
    expires_in: int
    refresh_token: str
    scope: str


class PasswordChange(BaseModel):
    model_config = ConfigDict(extra="forbid")
    current_password: SecretStr
    new_password: NewPassword


# --- the routes ---------------------------------------------------------------------------------


async def post_token(
    form: Annotated[TokenRequest, Form()], people: People, tokens: Tokens
) -> TokenResponse:
    if form.grant_type == "password":
        person = await authenticate_user(
            people, form.username, form.password.get_secret_value()
        )
        if person is None:
            raise refused()
        scopes = pick(form.scope, person.scopes)
        family = Family(
            id=str(uuid.uuid4()),
            username=person.username,
            stamp=person.security_stamp,
            scopes=tuple(scopes),
            expires_at=datetime.now(UTC)
            + timedelta(days=get_settings().refresh_token_expire_days),
        )
    elif form.grant_type == "refresh_token":
        family = await rotate_out(tokens, form.refresh_token.get_secret_value())
        person = await owner(people, family)
        scopes = pick(form.scope, [s for s in family.scopes if s in person.scopes])
    else:
        raise OAuthError("unsupported_grant_type", "That grant type is not supported")
    successor = mint()
    await tokens.add(RefreshToken(digest=digest_of(successor), family=family))
    claims = {"sub": person.username, "stamp": person.security_stamp, "scope": " ".join(scopes)}
    return TokenResponse(
        access_token=create_access_token(claims),
        expires_in=get_settings().access_token_expire_minutes * 60,
        refresh_token=successor,
        scope=claims["scope"],
    )


def pick(asked: str, allowed: list[str]) -> list[str]:
    if not (wanted := [word for word in asked.split(" ") if word]):
        return list(allowed)
    if not (common := [scope for scope in allowed if scope in wanted]):
        raise OAuthError("invalid_scope", "Not a scope of yours")
    return common


async def owner(people: UserStore, family: Family) -> UserInDB:
    person = await people.get(family.username)
    match person:
        case UserInDB(disabled=False, security_stamp=family.stamp):
            return person
        case _:
            raise refused()


async def post_revoke(form: Annotated[RevocationRequest, Form()], tokens: Tokens) -> Response:
    await kill(tokens, form.token.get_secret_value())
    return Response()


async def post_password(body: PasswordChange, me: CurrentUser, people: People) -> None:
    async def work() -> bool:
        known = await authenticate_user(
            people, me.username, body.current_password.get_secret_value()
        )
        if known is None:
            return False
        new = await run_hashing(hash_password, body.new_password.get_secret_value())
        async with people.transaction():
            match await people.get(me.username):
                case UserInDB(disabled=False, security_stamp=known.security_stamp):
                    await people.change(me.username, hashed_password=new)
                    return True
        return False

    try:
        if not await work():
            raise HTTPException(400, "Not your current password")
    except ValueError:
        raise unfit_password("new_password") from None


router = APIRouter(tags=["05 refresh"])
for path, endpoint, kind, code in (
    ("/token", post_token, OAuthRoute, 200),
    ("/revoke", post_revoke, OAuthRoute, 200),
    ("/users/me/password", post_password, SafeRoute, 204),
):
    router.add_api_route(
        path, endpoint, methods=["POST"], status_code=code, route_class_override=kind
    )

app = create_app("Lesson 05: prefixed refresh tokens", hashing_router, oauth2_router, demo_router, router)
