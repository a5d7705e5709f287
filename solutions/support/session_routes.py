"""The routes on which people see and end their own sessions, by page and by script."""

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import APIRouter, Depends, Form, HTTPException, Response, status
from fastapi.responses import HTMLResponse, RedirectResponse

from ..stores.sessions import Session, Sessions, SessionStore
from ..stores.users import User, Users
from .pages import render
from .session_forms import EndForm, SessionInfo, SessionPublic
from .session_requests import SessionRoute

FindSession = Callable[..., Awaitable[Session | None]]
GetSession = Callable[..., Awaitable[Session]]
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


def session_routes(
    find_session: FindSession, get_session: GetSession, is_over: IsOver
) -> APIRouter:
    """Return the routes. Both functions are dependencies; `get_session` lets nobody else in."""
    router = APIRouter(route_class=SessionRoute)
    _add_routes(router, get_session, is_over)
    _add_pages(router, find_session, get_session, is_over)
    return router


def _add_routes(router: APIRouter, get_session: GetSession, is_over: IsOver) -> None:
    current = Annotated[Session, Depends(get_session)]

    @router.get("/session")
    async def read_session(session: current) -> SessionInfo:
        """Tell a page's script about its session."""
        return SessionInfo(**vars(session))

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


def _add_pages(
    router: APIRouter, find_session: FindSession, get_session: GetSession, is_over: IsOver
) -> None:
    found_session = Annotated[Session | None, Depends(find_session)]
    current = Annotated[Session, Depends(get_session)]

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
