"""The routes on which people see and end their own sessions, by page and by script."""

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import APIRouter, Depends, Form, HTTPException, Response, status
from fastapi.responses import HTMLResponse, RedirectResponse

from ..stores.sessions import Session, Sessions, SessionStore
from ..stores.users import User, Users
from .pages import render
from .session_forms import EndForm, SessionPublic
from .session_requests import SessionRoute

IsOver = Callable[[Session, User | None], bool]


async def live_sessions(
    session: Session, owner: User | None, sessions: SessionStore, is_over: IsOver
) -> list[SessionPublic]:
    """Return what the owner of a session sees of all their sessions that are not over."""
    return [
        SessionPublic(**vars(each), current=each.digest == session.digest)
        for each in await sessions.owned_by(session.username)
        if not is_over(each, owner)
    ]


def session_routes(get_session: Callable[..., Awaitable[Session]], is_over: IsOver) -> APIRouter:
    """Return the routes for scripts. `get_session` is the dependency that lets nobody else in."""
    current = Annotated[Session, Depends(get_session)]
    router = APIRouter(route_class=SessionRoute)

    @router.get("/sessions")
    async def list_sessions(
        session: current, sessions: Sessions, users: Users
    ) -> list[SessionPublic]:
        """List the caller's sessions."""
        owner = await users.get(session.username)
        return await live_sessions(session, owner, sessions, is_over)

    @router.delete("/sessions/{session_id}", status_code=status.HTTP_204_NO_CONTENT)
    async def end_session(session_id: str, session: current, sessions: Sessions) -> None:
        """End one of the caller's sessions. 404 for anybody else's, as for none at all."""
        if not await sessions.end_owned(session.username, session_id):
            raise HTTPException(status.HTTP_404_NOT_FOUND, "No such session")

    @router.post("/sessions/end-others", status_code=status.HTTP_204_NO_CONTENT)
    async def end_other_sessions(session: current, sessions: Sessions) -> None:
        """End all sessions of the caller but this one (ASVS 7.4.3, 7.5.2)."""
        await sessions.end_others(session.username, session.digest)

    return router


def account_pages(
    find_session: Callable[..., Awaitable[Session | None]],
    get_session: Callable[..., Awaitable[Session]],
    is_over: IsOver,
) -> APIRouter:
    """Return the account's page and what its buttons do, for browsers without script."""
    found_session = Annotated[Session | None, Depends(find_session)]
    current = Annotated[Session, Depends(get_session)]
    router = APIRouter(route_class=SessionRoute)

    @router.get("/account", response_class=HTMLResponse)
    async def show_account(session: found_session, sessions: Sessions, users: Users) -> Response:
        """Show whose session this is and which others there are; without one, the login."""
        user = await users.get(session.username) if session else None
        if session is None or user is None:
            return RedirectResponse("/login", status.HTTP_303_SEE_OTHER)
        rows = await live_sessions(session, user, sessions, is_over)
        return render("account.html", user=user, csrf_token=session.csrf_token, rows=rows)

    @router.post("/account/sessions")
    async def end_from_page(
        form: Annotated[EndForm, Form()], session: current, sessions: Sessions
    ) -> Response:
        """End one of the caller's sessions, or all others: a form can neither DELETE nor list."""
        if form.id:
            await sessions.end_owned(session.username, form.id)
        else:
            await sessions.end_others(session.username, session.digest)
        return RedirectResponse("/account", status.HTTP_303_SEE_OTHER)

    return router
