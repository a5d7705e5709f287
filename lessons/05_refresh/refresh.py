"""Lesson 05. Refresh tokens: long sessions in short steps, and a theft that shows."""

import secrets
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Form, HTTPException, Response, status

from solutions import hashing, oauth2
from solutions.hashing import hash_password
from solutions.login import authenticate_user
from solutions.oauth2 import CurrentUser
from solutions.stores.refresh_tokens import Family, RefreshStore, RefreshToken, RefreshTokens
from solutions.stores.users import User, Users, UserStore
from solutions.support.apps import create_app
from solutions.support.digests import digest_of
from solutions.support.oauth_forms import RevocationForm, TokenForm, Tokens
from solutions.support.oauth_route import OAuthError, OAuthRoute
from solutions.support.passwords import PasswordChange, unfit_password
from solutions.support.safe_route import SafeRoute
from solutions.support.scopes import grant_scopes
from solutions.support.seams import attempt
from solutions.support.threads import run_hashing
from solutions.support.token_service import create_access_token


async def issue_refresh_token(store: RefreshStore, family: Family) -> str:
    """Draw a new refresh token of a family and return it. The store gets its digest only.

    Nobody guesses 256 random bits, and a stolen copy of the store opens nothing (CWE-312).
    """
    raise NotImplementedError("TODO 1: draw a token, store its digest")


async def spend_refresh_token(store: RefreshStore, token: str) -> Family:
    """Spend a refresh token and return the family in which it may be followed by another.

    One step: of two requests with one token one wins (CWE-367). A spent token that comes back may
    be a stolen copy, and nobody can tell whose: its family dies (RFC 9700 section 4.14.2).
    Raises OAuthError `invalid_grant` for a token that is unknown, spent, revoked or expired.
    """
    raise NotImplementedError("TODO 2: spend it in one step, and notice a theft")


def answer(user: User, scopes: list[str], refresh_token: str) -> Tokens:
    """Make the access token, and put both tokens into an answer."""
    scope = " ".join(scopes)
    claims = {"sub": user.username, "stamp": user.security_stamp, "scope": scope}
    access_token = create_access_token(claims)
    return Tokens(access_token=access_token, refresh_token=refresh_token, scope=scope)


async def log_in(form: TokenForm, users: UserStore, store: RefreshStore) -> Tokens:
    """Begin a session (RFC 6749 section 4.3). Raises one `invalid_grant` for every failure."""
    async with attempt(form.username) as tried:
        user = await authenticate_user(users, form.username, form.password)
        tried.succeeded = user is not None
    if user is None:
        raise OAuthError("invalid_grant", "Incorrect username or password")
    scopes = grant_scopes(form.scope, user.scopes)
    return answer(user, scopes, await issue_refresh_token(store, Family.begin(user, scopes)))


async def refresh(form: TokenForm, users: UserStore, store: RefreshStore) -> Tokens:
    """Go on with a session: spend a refresh token, get a new pair (RFC 6749 section 6).

    Raises OAuthError `invalid_grant` also when the user is gone, disabled, or has changed the
    password since (ASVS 7.4.2, 7.4.3), and `invalid_scope` when no scope asked for is left.
    """
    raise NotImplementedError("TODO 3: check the user, then answer with a new pair")


oauth_router = APIRouter(route_class=OAuthRoute, tags=["05 refresh"])


@oauth_router.post("/token")
async def issue_tokens(
    form: Annotated[TokenForm, Form()], users: Users, store: RefreshTokens
) -> Tokens:
    """Exchange a password or a refresh token for an access token and a new refresh token."""
    grant = form.asked_grant()
    return await (refresh if grant == "refresh_token" else log_in)(form, users, store)


@oauth_router.post("/revoke")
async def revoke(form: Annotated[RevocationForm, Form()], store: RefreshTokens) -> Response:
    """Log out: end the session of a refresh token. 200 for any token (RFC 7009 section 2.2)."""
    if found := await store.find(digest_of(form.asked_token())):
        await store.revoke(found.family)
    return Response()


async def replace_password(users: UserStore, user: User, current: str, new: str) -> bool:
    """Store a new password if the current one is right, and end every session of the user.

    All tokens carry the security stamp, which a new password draws anew (ASVS 6.2.3, 7.4.3). Of
    two changes at once the first one counts: the old password was not enough any more (CWE-367).
    Raises ValueError for a new one that cannot be hashed whole.
    """
    raise NotImplementedError("TODO 4: verify the current one, then change it")


router = APIRouter(route_class=SafeRoute, tags=["05 refresh"])


@router.post("/users/me/password", status_code=status.HTTP_204_NO_CONTENT)
async def change_password(change: PasswordChange, user: CurrentUser, users: Users) -> None:
    """Change the caller's password. Every token they have dies, this one too."""
    try:
        async with attempt(user.username) as tried:
            changed = await replace_password(users, user, *change.passwords())
            tried.succeeded = changed
    except ValueError:
        raise unfit_password("new_password") from None
    if not changed:
        raise HTTPException(status.HTTP_400_BAD_REQUEST, "Incorrect password")


router.include_router(oauth_router)

app = create_app("Lesson 05: refresh", hashing.router, oauth2.router, oauth2.demo_router, router)
