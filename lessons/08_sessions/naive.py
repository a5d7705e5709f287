"""Breakable on purpose: errors of many tutorials in one file. Never import it, never copy it.

`pytest lessons/08 --naive` shows how mallory gets in.
"""

import logging
import uuid
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, HTTPException, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.middleware.sessions import SessionMiddleware

from solutions import hashing, oauth2, refresh
from solutions.hashing import verify_password
from solutions.support.apps import create_app
from solutions.stores.users import UserStore, get_users

logger = logging.getLogger(__name__)
COOKIE_KEY = "change-me-in-production"
LOGINS: dict[str, dict[str, Any]] = {}

PAGE = """<!doctype html>
<title>{title}</title>
<h1>{title}</h1>
{body}
"""
FORM = """<p>{message}</p>
<form method="post" action="/login">
<input type="hidden" name="next" value="{next}">
Username <input name="username" value="{username}">
Password <input name="password" type="password" onpaste="return false">
<button>Log in</button>
</form>
"""


def login_page(
    username: str = "", message: str = "", next: str = "", status: int = 200
) -> Response:
    form = FORM.format(username=username, message=message, next=next)
    return HTMLResponse(PAGE.format(title="Log in", body=form), status)


def get_session(request: Request) -> dict[str, Any]:
    if "username" not in request.session:
        raise HTTPException(401, "Not authenticated", headers={"WWW-Authenticate": "Cookie"})
    logger.debug("session of %s", request.session["username"])
    return request.session


Session = Annotated[dict[str, Any], Depends(get_session)]
router = APIRouter(tags=["08 sessions"])


@router.get("/login")
async def show_login(next: str = "") -> Response:
    return login_page(next=next)


@router.post("/login")
async def log_in(
    request: Request,
    username: Annotated[str, Form()],
    password: Annotated[str, Form()],
    users: Annotated[UserStore, Depends(get_users)],
    next: Annotated[str, Form()] = "",
) -> Response:
    logger.debug("login of %s with %s", username, password)
    user = await users.get(username)
    if user is None:
        return login_page(username, "There is no such user.", next, 401)
    if user.disabled or not verify_password(password, user.hashed_password):
        return login_page(username, "Wrong password.", next, 401)
    now = datetime.now(UTC)
    row = {
        "id": uuid.uuid4().hex,
        "username": user.username,
        "created_at": now.isoformat(),
        "last_seen": now.isoformat(),
        "user_agent": request.headers.get("user-agent", ""),
    }
    LOGINS[row["id"]] = row
    request.session.update(row, role=user.role, email=user.email)
    return RedirectResponse(next or "/account", 303)


@router.get("/account")
async def show_account(request: Request) -> Response:
    if "username" not in request.session:
        return RedirectResponse("/login", 303)
    body = f"<p>You are logged in as {request.session['username']}.</p>"
    body += "".join(f"<p>{row['user_agent']}</p>" for row in LOGINS.values())
    body += '<form method="post" action="/logout"><button>Log out</button></form>'
    return HTMLResponse(PAGE.format(title="Your account", body=body))


@router.get("/session")
async def read_session(session: Session) -> dict[str, Any]:
    created = datetime.fromisoformat(session["created_at"])
    return {
        "username": session["username"],
        "created_at": created,
        "expires_at": created + timedelta(days=14),
        "csrf_token": "",
    }


@router.post("/logout")
async def log_out(request: Request) -> Response:
    request.session.clear()
    return RedirectResponse("/login", 303)


@router.get("/sessions")
async def list_sessions(session: Session) -> list[dict[str, Any]]:
    mine = [row for row in LOGINS.values() if row["username"] == session["username"]]
    return [row | {"current": row["id"] == session["id"]} for row in mine]


@router.delete("/sessions/{session_id}", status_code=204)
async def end_session(session_id: str, session: Session) -> None:
    if LOGINS.pop(session_id, None) is None:
        raise HTTPException(404, "No such session")


@router.post("/sessions/end-others", status_code=204)
async def end_other_sessions(session: Session) -> None:
    for row in list(LOGINS.values()):
        if row["username"] == session["username"] and row["id"] != session["id"]:
            del LOGINS[row["id"]]


app = create_app("Lesson 08: sessions", hashing.router, oauth2.router, refresh.router, router)
app.add_middleware(SessionMiddleware, secret_key=COOKIE_KEY)
