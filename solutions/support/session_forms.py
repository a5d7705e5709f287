"""What is asked and answered about sessions, and what is kept of a new one."""

import re
import secrets
import uuid
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import Form
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, Field

from ..stores.sessions import Session
from ..stores.users import User
from .digests import digest_of
from .pages import render
from .session_requests import CHALLENGE, BrowserRequest
from .settings import get_settings

LOCAL_PATH = re.compile(r"/(?![/\\])[!-\[\]-~]*")  # printable ASCII without a backslash
PRE_SESSION_LIFETIME = timedelta(minutes=10)
MAX_USER_AGENT = 200  # characters, enough to know one's own browser by


def local_path(wanted: str) -> str:
    """Return a path on this site as it came, and `/account` for anything else (CWE-601).

    Browsers take `//mallory.example` and `/\\mallory.example` for another site.
    """
    return wanted if LOCAL_PATH.fullmatch(wanted) else "/account"


class LoginForm(BaseModel):
    """What the login page sends. A field that is missing is empty."""

    username: str = ""
    password: str = Field(default="", repr=False)
    next: str = ""
    csrf_token: str = Field(default="", repr=False)  # looked at before, for every form


LoginFields = Annotated[LoginForm, Form()]


def login_page(csrf_token: str, next_path: str, failed: bool = False) -> HTMLResponse:
    """Return the page with the empty login form: 200, or 401 when a login failed."""
    page = render(
        "login.html",
        401 if failed else 200,
        csrf_token=csrf_token,
        next=local_path(next_path),
        failed=failed,
    )
    if failed:
        page.headers.update(CHALLENGE)
    return page


class EndForm(BaseModel):
    """Which session the account page ends: its public id, or none for all others."""

    id: str = ""
    csrf_token: str = Field(default="", repr=False)


class SessionInfo(BaseModel):
    """What a page's script may know of its own session. The id is not among it."""

    username: str
    created_at: datetime
    expires_at: datetime
    csrf_token: str = Field(repr=False)


class SessionPublic(BaseModel):
    """A row in the list of somebody's sessions."""

    id: str
    created_at: datetime
    last_seen: datetime
    user_agent: str
    current: bool  # whether it is the one that asks


def record_of(session_id: str, user: User | None, browser: BrowserRequest) -> Session:
    """Return what is kept of a new session; without a user, of the pre-session of a login form.

    A session ends SESSION_HOURS from now, a pre-session in ten minutes. Both have a CSRF token and
    a public id of their own, drawn anew.
    """
    now = datetime.now(UTC)
    lifetime = timedelta(hours=get_settings().session_hours) if user else PRE_SESSION_LIFETIME
    return Session(
        digest=digest_of(session_id),
        id=uuid.uuid4().hex,
        csrf_token=secrets.token_urlsafe(32),
        username=user.username if user else "",
        stamp=user.security_stamp if user else "",
        user_agent=browser.user_agent[:MAX_USER_AGENT],
        created_at=now,
        last_seen=now,
        expires_at=now + lifetime,
    )
