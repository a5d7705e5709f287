"""Reads the headers of the request itself, and says which wall it was."""

import secrets
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Request, Response, status
from fastapi.responses import HTMLResponse, RedirectResponse

from solutions import hashing, oauth2, refresh
from solutions.login import authenticate_user
from solutions.stores.sessions import Session, Sessions, SessionStore
from solutions.stores.users import User, Users
from solutions.support.apps import create_app
from solutions.support.digests import digest_of
from solutions.support.session_forms import LoginFields, local_path, login_page, record_of
from solutions.support.session_requests import COOKIE, SAFE_METHODS, Browser, SessionRoute, unauthenticated
from solutions.support.session_routes import session_routes
from solutions.support.settings import get_settings


async def begin_session(
    browser: Browser, response: Response, sessions: SessionStore, user: User | None
) -> Session:
    """Begin a user's session, or without one the pre-session of a login form. Set its cookie.

    The id is new each time, and the one that came in dies (CWE-384, ASVS 7.2.4). The store gets a
    digest. The cookie is for this host alone, and out of scripts' reach (ASVS 3.3.1 to 3.3.4).
    """
    session_id = secrets.token_urlsafe(32)
    session = record_of(session_id, user, browser)
    await sessions.end(digest_of(browser.session_id))
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


async def find_session(browser: Browser, sessions: Sessions, users: Users) -> Session | None:
    """Return the session or pre-session of the cookie if it lives, and note that it is used."""
    session = await sessions.find(digest_of(browser.session_id))
    if session is None or is_over(session, await users.get(session.username)):
        return None
    return await sessions.touch(session.digest)


Found = Annotated[Session | None, Depends(find_session)]


async def refuse_forgery(request: Request, browser: Browser, found: Found) -> None:
    """Refuse what another page makes a browser send (CWE-352, ASVS 3.5.1). Raises one 403.

    A request that may change something comes from a page of this origin, and brings the token of
    its session or pre-session. Both: a page on another port gets a form's token for itself.
    """
    if request.method in ("GET", "HEAD", "OPTIONS", "TRACE"):
        return
    site = request.headers.get("Sec-Fetch-Site")
    allowed = site == "same-origin" if site is not None else (
        get_settings().public_url != "" and request.headers.get("Origin") == get_settings().public_url
    )
    if not allowed:
        raise HTTPException(status_code=403, detail="Cross-origin request refused")
    expected = found.csrf_token if found else secrets.token_urlsafe(32)
    if not secrets.compare_digest(expected.encode(), browser.csrf_token.encode("utf-8", "replace")):
        raise HTTPException(status_code=403, detail="CSRF token missing or wrong")


async def get_session(found: Found) -> Session:
    """Return the caller's session. Raises 401 without one; a pre-session is none."""
    if found is None or not found.username:
        raise unauthenticated()
    return found


CurrentSession = Annotated[Session, Depends(get_session)]
router = APIRouter(
    route_class=SessionRoute, dependencies=[Depends(refuse_forgery)], tags=["08 sessions"]
)


@router.get("/login", response_class=HTMLResponse)
async def show_login(
    browser: Browser, response: Response, found: Found, sessions: Sessions, next: str = ""
) -> Response:
    """Show the login form. A session or pre-session that lives stays: two tabs share it."""
    session = found or await begin_session(browser, response, sessions, None)
    page = login_page(session.csrf_token, next)
    page.headers.update(response.headers)  # the cookie
    return page


@router.post("/login")
async def log_in(
    browser: Browser, form: LoginFields, found: Found, users: Users, sessions: Sessions
) -> Response:
    """Begin a session for a name and a password, and send the browser on. One 401 otherwise."""
    user = await authenticate_user(users, form.username, form.password)
    if user is None:
        return login_page(found.csrf_token if found else "", form.next, failed=True)
    response = RedirectResponse(local_path(form.next), status.HTTP_303_SEE_OTHER)
    await begin_session(browser, response, sessions, user)
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


router.include_router(session_routes(find_session, get_session, is_over))

app = create_app("Lesson 08: sessions", hashing.router, oauth2.router, refresh.router, router)
