"""Lesson 05. Refresh tokens: long sessions in short steps, and a theft that shows."""

import secrets
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Form, HTTPException, Response, status
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from solutions import hashing, oauth2
from solutions.apps import create_app
from solutions.digests import digest_of
from solutions.hashing import hash_password
from solutions.login import authenticate_user
from solutions.oauth2 import CurrentUser
from solutions.oauth_route import OAuthError, OAuthRoute, RevocationForm, TokenForm
from solutions.passwords import NewPassword, unfit_password
from solutions.refresh_store import Family, RefreshStore, RefreshToken, get_refresh_store
from solutions.safe_route import SafeRoute
from solutions.settings import get_settings
from solutions.threads import run_hashing
from solutions.tokens import create_access_token
from solutions.users import User, UserStore, get_users

Users = Annotated[UserStore, Depends(get_users)]
Store = Annotated[RefreshStore, Depends(get_refresh_store)]


class Tokens(BaseModel):
    """A successful answer of the token endpoint (RFC 6749 section 5.1)."""

    access_token: str = Field(repr=False)
    token_type: Literal["bearer"] = "bearer"
    expires_in: int  # seconds
    refresh_token: str = Field(repr=False)
    scope: str  # what was granted, which may be less than was asked for


def issue_refresh_token(store: RefreshStore, family: Family) -> str:
    """Draw a new refresh token of a family and return it. The store gets its digest only.

    256 random bits say nothing and cannot be guessed. A stolen copy of the store opens nothing
    (RFC 6749 section 10.4, CWE-312).
    """
    raise NotImplementedError("TODO 1: draw a token, store its digest")


def spend_refresh_token(store: RefreshStore, token: str) -> Family:
    """Spend a refresh token and return the family in which it may be followed by another.

    One step, so that two requests with one token cannot both win (CWE-367). A spent token that
    comes back may be a stolen copy, and nobody can tell whose: its family dies (RFC 9700 section
    4.14.2).
    Raises OAuthError `invalid_grant` for a token that is unknown, spent, revoked or expired.
    """
    raise NotImplementedError("TODO 2: spend it in one step, and notice a theft")


def grant_scopes(asked: str, allowed: Sequence[str]) -> list[str]:
    """Return those of the scopes asked for that are allowed; all allowed ones if none was.

    Raises OAuthError `invalid_scope` when none of them is allowed (RFC 6749 section 3.3).
    """
    granted = [scope for scope in allowed if not asked.split() or scope in asked.split()]
    if asked.split() and not granted:
        raise OAuthError("invalid_scope", "None of these scopes can be granted")
    return granted


def answer(user: User, scopes: list[str], refresh_token: str) -> Tokens:
    """Make the access token, and put both tokens into an answer."""
    scope = " ".join(scopes)
    claims = {"sub": user.username, "stamp": user.security_stamp, "scope": scope}
    return Tokens(
        access_token=create_access_token(claims),
        expires_in=get_settings().access_token_expire_minutes * 60,
        refresh_token=refresh_token,
        scope=scope,
    )


async def log_in(form: TokenForm, users: UserStore, store: RefreshStore) -> Tokens:
    """Begin a session with a name and a password (RFC 6749 section 4.3).

    Raises OAuthError `invalid_grant`, the same for every failure, as in lesson 03.
    """
    user = await run_hashing(authenticate_user, users, form.username, form.password)
    if user is None:
        raise OAuthError("invalid_grant", "Incorrect username or password")
    scopes = grant_scopes(form.scope, user.scopes)
    family = Family(
        id=uuid.uuid4().hex,
        username=user.username,
        stamp=user.security_stamp,
        scopes=tuple(scopes),
        expires_at=datetime.now(UTC) + timedelta(days=get_settings().refresh_token_expire_days),
    )
    return answer(user, scopes, issue_refresh_token(store, family))


async def refresh(form: TokenForm, users: UserStore, store: RefreshStore) -> Tokens:
    """Go on with a session: spend a refresh token, get a new pair (RFC 6749 section 6).

    Raises OAuthError `invalid_grant` also when the user is gone, disabled, or has changed the
    password since (ASVS 7.4.2, 7.4.3), and `invalid_scope` when no scope asked for is left.
    """
    raise NotImplementedError("TODO 3: check the user, then answer with a new pair")


oauth_router = APIRouter(route_class=OAuthRoute, tags=["05 refresh"])


@oauth_router.post("/token")
async def issue_tokens(form: Annotated[TokenForm, Form()], users: Users, store: Store) -> Tokens:
    """Exchange a password or a refresh token for an access token and a new refresh token."""
    match form.grant_type:
        case "password" | "" if form.username and form.password:
            return await log_in(form, users, store)
        case "refresh_token" if form.refresh_token:
            return await refresh(form, users, store)
        case "password" | "" | "refresh_token":
            raise OAuthError("invalid_request", "A parameter is missing")
        case _:
            raise OAuthError("unsupported_grant_type", "Use password or refresh_token")


@oauth_router.post("/revoke")
async def revoke(form: Annotated[RevocationForm, Form()], store: Store) -> Response:
    """Log out: end the session that a refresh token belongs to (RFC 7009).

    200 for any token: whether it was one is nobody's business (section 2.2). An access token
    lives on until it expires.
    """
    if not form.token:
        raise OAuthError("invalid_request", "A parameter is missing")
    if found := store.find(digest_of(form.token)):
        store.revoke(found.family)
    return Response()


class PasswordChange(BaseModel):
    """The old password, since a stolen session must not be enough (CWE-620), and the new one."""

    model_config = ConfigDict(extra="forbid")

    current_password: SecretStr
    new_password: NewPassword


def replace_password(users: UserStore, user: User, current: str, new: str) -> bool:
    """Store a new password if the current one is right, and end every session of the user.

    False if it is not right. Raises ValueError for a new one that cannot be hashed whole. All
    tokens carry the security stamp, which a new password draws anew (ASVS 6.2.3, 7.4.3). Of two
    changes at once the first one counts: whoever knows only the old password loses (CWE-367).
    """
    raise NotImplementedError("TODO 4: verify the current one, then change it")


router = APIRouter(route_class=SafeRoute, tags=["05 refresh"])


@router.post("/users/me/password", status_code=status.HTTP_204_NO_CONTENT)
async def change_password(change: PasswordChange, user: CurrentUser, users: Users) -> None:
    """Change the caller's password. Every token they have dies, this one too."""
    current = change.current_password.get_secret_value()
    new = change.new_password.get_secret_value()
    try:
        changed = await run_hashing(replace_password, users, user, current, new)
    except ValueError:
        raise unfit_password("new_password") from None
    if not changed:
        raise HTTPException(status.HTTP_400_BAD_REQUEST, "Incorrect password")


router.include_router(oauth_router)

app = create_app("Lesson 05: refresh tokens", hashing.router, oauth2.router, router)
