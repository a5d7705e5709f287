"""Lesson 08. Sessions: for browsers, which send a cookie to us whoever asks them to."""

import secrets
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Request, Response, status
from fastapi.responses import HTMLResponse, RedirectResponse

from . import hashing, oauth2, refresh
from .login import authenticate_user
from .stores.sessions import Session, Sessions, SessionStore
from .stores.users import User, Users
from .support.apps import create_app
from .support.digests import digest_of
from .support.session_forms import LoginFields, SessionInfo, local_path, login_page, record_of
from .support.session_requests import (
    COOKIE,
    PresentedId,
    SentToken,
    SessionRoute,
    session_id_in,
    unauthenticated,
)
from .support.session_routes import account_pages, session_routes
from .support.settings import get_settings

SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}  # RFC 9110 section 9.2.1: they change nothing


async def begin_session(
    request: Request, response: Response, sessions: SessionStore, user: User | None
) -> Session:
    """Begin a user's session, or without one the pre-session of a login form. Set its cookie.

    The id is new each time, and the one that came in dies (CWE-384, ASVS 7.2.4). The store gets a
    digest. The cookie is for this host alone, and out of scripts' reach (ASVS 3.3.1 to 3.3.4).
    """
    session_id = secrets.token_urlsafe(32)
    session = record_of(session_id, user, request)
    await sessions.end(digest_of(session_id_in(request)))
    await sessions.add(session)
    response.set_cookie(COOKIE, session_id, path="/", secure=True, httponly=True, samesite="lax")
    return session


def is_over(session: Session, owner: User | None) -> bool:
    """Whether a session has come to its end at this moment; `owner` is its user as stored now.

    After SESSION_IDLE_MINUTES without use, at `expires_at` in any case (ASVS 7.3.1, 7.3.2), and
    when the owner is gone, disabled, or has changed the password since (ASVS 7.4.2, 7.4.3). A
    pre-session has no owner.
    """
    now = datetime.now(UTC)
    idle = timedelta(minutes=get_settings().session_idle_minutes)
    if now >= session.expires_at or now >= session.last_seen + idle:
        return True
    if not session.username:
        return False
    return owner is None or owner.disabled or owner.security_stamp != session.stamp


async def find_session(presented: PresentedId, sessions: Sessions, users: Users) -> Session | None:
    """Return the session or pre-session of the cookie if it lives, and note that it is used."""
    session = await sessions.find(digest_of(presented))
    if session is None or is_over(session, await users.get(session.username)):
        return None
    return await sessions.touch(session.digest)


Found = Annotated[Session | None, Depends(find_session)]


async def refuse_forgery(request: Request, found: Found, sent: SentToken) -> None:
    """Refuse what another page makes a browser send (CWE-352, ASVS 3.5.1). Raises one 403.

    A request that may change something comes from a page of this origin, and brings the token of
    its session or pre-session. Both: a page on another port gets a form's token for itself.
    """
    if request.method in SAFE_METHODS:
        return
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    is_ours = site == "same-origin"
    if site is None:  # browsers say it over https and on localhost only
        is_ours = bool(origin) and origin == get_settings().public_url
    fits = found and secrets.compare_digest(digest_of(sent), digest_of(found.csrf_token))
    if not (is_ours and fits):
        raise HTTPException(status.HTTP_403_FORBIDDEN, "Open the page anew, and try again")


async def get_session(found: Found) -> Session:
    """Return the caller's session. Raises 401 without one; a pre-session is none."""
    if found is None or not found.username:
        raise unauthenticated()
    return found


CurrentSession = Annotated[Session, Depends(get_session)]


async def get_session_user(session: CurrentSession, users: Users) -> User:
    """Return whose session it is, for routes that need the person. Raises 401 for nobody's."""
    user = await users.get(session.username)
    if user is None:
        raise unauthenticated()
    return user


router = APIRouter(
    route_class=SessionRoute, dependencies=[Depends(refuse_forgery)], tags=["08 sessions"]
)


@router.get("/login", response_class=HTMLResponse)
async def show_login(
    request: Request, response: Response, found: Found, sessions: Sessions, next: str = ""
) -> Response:
    """Show the login form. A session or pre-session that lives stays: two tabs share it."""
    session = found or await begin_session(request, response, sessions, None)
    page = login_page(session.csrf_token, next)
    page.headers.update(response.headers)  # the cookie
    return page


@router.post("/login")
async def log_in(
    request: Request, form: LoginFields, found: Found, users: Users, sessions: Sessions
) -> Response:
    """Begin a session for a name and a password, and send the browser on. One 401 otherwise."""
    user = await authenticate_user(users, form.username, form.password)
    if user is None:
        return login_page(found.csrf_token if found else "", form.next, failed=True)
    response = RedirectResponse(local_path(form.next), status.HTTP_303_SEE_OTHER)
    await begin_session(request, response, sessions, user)
    return response


@router.post("/logout")
async def log_out(session: CurrentSession, sessions: Sessions) -> Response:
    """End the caller's session in the store, and take its cookie back (ASVS 7.4.1).

    A browser ignores the deletion of a `__Host-` cookie that lacks one of its attributes.
    """
    await sessions.end(session.digest)
    response = RedirectResponse("/login", status.HTTP_303_SEE_OTHER)
    response.delete_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="lax")
    return response


@router.get("/session")
async def read_session(session: CurrentSession) -> SessionInfo:
    """Tell a page's script about its session."""
    return SessionInfo(**vars(session))


router.include_router(session_routes(get_session, is_over))
router.include_router(account_pages(find_session, get_session, is_over))

app = create_app("Lesson 08: sessions", hashing.router, oauth2.router, refresh.router, router)
