"""Refresh tokens look like rt_<id>_<secret>, so that a secret scanner knows them; forms are
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

from solutions.apps import create_app
from solutions.digests import digest_of
from solutions.hashing import hash_password
from solutions.hashing import router as hashing_router
from solutions.login import authenticate_user
from solutions.oauth2 import CurrentUser
from solutions.oauth2 import router as oauth2_router
from solutions.oauth_route import OAuthError, OAuthRoute
from solutions.passwords import NewPassword, unfit_password
from solutions.refresh_store import Family, RefreshStore, RefreshToken, get_refresh_store
from solutions.safe_route import SafeRoute
from solutions.settings import get_settings
from solutions.threads import run_hashing
from solutions.tokens import create_access_token
from solutions.users import UserInDB, UserStore, get_users

People = Annotated[UserStore, Depends(get_users)]
Tokens = Annotated[RefreshStore, Depends(get_refresh_store)]

# --- the tokens ---------------------------------------------------------------------------------

ALPHABET = string.ascii_letters + string.digits
SHAPE = re.compile(r"rt_[0-9a-f]{12}_[A-Za-z0-9]{43}")  # 43 of 62 letters: 256 bits


def mint() -> str:
    return f"rt_{secrets.token_hex(6)}_" + "".join(secrets.choice(ALPHABET) for _ in range(43))


def digest_if_ours(token: str) -> str | None:
    return digest_of(token) if SHAPE.fullmatch(token) else None


def rotate_out(tokens: RefreshStore, token: str) -> Family:
    digest = digest_if_ours(token)
    if digest is None:
        raise refused()
    record = tokens.consume(digest)
    if record is None:
        kill(tokens, token)
        raise refused()
    if record.family.expires_at.timestamp() <= time.time():
        raise refused()
    return record.family


def kill(tokens: RefreshStore, token: str) -> None:
    digest = digest_if_ours(token)
    record = tokens.find(digest) if digest else None
    if record:
        tokens.revoke(record.family)


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
        person = await run_hashing(
            authenticate_user, people, form.username, form.password.get_secret_value()
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
        family = rotate_out(tokens, form.refresh_token.get_secret_value())
        person = owner(people, family)
        scopes = pick(form.scope, [s for s in family.scopes if s in person.scopes])
    else:
        raise OAuthError("unsupported_grant_type", "That grant type is not supported")
    successor = mint()
    tokens.add(RefreshToken(digest=digest_of(successor), family=family))
    claims = {"sub": person.username, "stamp": person.security_stamp, "scope": " ".join(scopes)}
    return TokenResponse(
        access_token=create_access_token(claims),
        expires_in=get_settings().access_token_expire_minutes * 60,
        refresh_token=successor,
        scope=claims["scope"],
    )


def pick(asked: str, allowed: list[str]) -> list[str]:
    if not (wanted := asked.split()):
        return list(allowed)
    if not (common := [scope for scope in allowed if scope in wanted]):
        raise OAuthError("invalid_scope", "Not a scope of yours")
    return common


def owner(people: UserStore, family: Family) -> UserInDB:
    person = people.get(family.username)
    match person:
        case UserInDB(disabled=False, security_stamp=family.stamp):
            return person
        case _:
            raise refused()


async def post_revoke(form: Annotated[RevocationRequest, Form()], tokens: Tokens) -> Response:
    kill(tokens, form.token.get_secret_value())
    return Response()


async def post_password(body: PasswordChange, me: CurrentUser, people: People) -> None:
    def work() -> bool:
        known = authenticate_user(people, me.username, body.current_password.get_secret_value())
        if known:
            new = hash_password(body.new_password.get_secret_value())
            people.change(me.username, hashed_password=new)
        return known is not None

    try:
        if not await run_hashing(work):
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

app = create_app("Lesson 05: prefixed refresh tokens", hashing_router, oauth2_router, router)
