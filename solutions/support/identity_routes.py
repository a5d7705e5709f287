"""The routes on which people see, link and unlink their ways in, by page and by script."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Form, HTTPException, Response, status
from fastapi.responses import HTMLResponse, RedirectResponse
from pydantic import BaseModel, Field

from ..stores.flows import Flows, FlowStore, Purpose
from ..stores.identities import Identities, Identity, IdentityStore, Released
from ..stores.sessions import Session
from ..stores.users import User, Users, UserStore
from .pages import render
from .people_at_providers import Person, identity_of, owner_of
from .providers import NamedProvider, Provider, issuer_of
from .seams import note
from .session_requests import unauthenticated
from .settings import get_settings
from .social_requests import Refused, SocialRoute

PAGE = "/account/identities"
FRESH = timedelta(minutes=5)  # since the login: whoever finds an open browser adds no way in
LAST = "This is the last way into your account. Link another one first."

GetSession = Callable[..., Awaitable[Session]]
GetOwner = Callable[..., Awaitable[User]]
StartFlow = Callable[[Provider, FlowStore, Session, Purpose], Awaitable[str]]


class IdentityPublic(BaseModel):
    """A row in the list of somebody's ways in."""

    provider: str
    label: str
    linked_at: datetime


class UnlinkForm(BaseModel):
    """Which provider the page unlinks."""

    provider: str = ""
    csrf_token: str = Field(default="", repr=False)  # looked at before, for every form


def _shown(identities: list[Identity]) -> list[IdentityPublic]:
    names = {issuer_of(name): name for name in get_settings().providers}
    return [
        IdentityPublic(
            provider=names.get(each.issuer, each.issuer),
            label=each.label,
            linked_at=each.linked_at,
        )
        for each in identities
    ]


async def _unlink(user: User, provider: str, identities: IdentityStore) -> Released:
    if provider not in get_settings().providers:
        return "none"
    return await identities.release(
        user.account_id, issuer_of(provider), may_be_last=user.has_password
    )


async def link(
    person: Person,
    purpose: Purpose,
    session: Session | None,
    identities: IdentityStore,
    users: UserStore,
) -> None:
    """Give the account of this session another way in, the one that the flow was begun for.

    Raises Refused when it is another account's already.
    """
    note(what="link")
    user = await users.get(session.username) if session else None
    if user is None or user.account_id != purpose.link_to:
        raise Refused
    known = await identities.find(person.issuer, person.subject)
    stale = known if await owner_of(known, users) is None else None
    kept = await identities.claim(identity_of(person, user), instead_of=stale)
    if kept.account_id != user.account_id:
        raise Refused("This login belongs to another account.", status.HTTP_409_CONFLICT)


def identity_routes(get_session: GetSession, start_flow: StartFlow) -> APIRouter:
    """Return the routes. `get_session` is a dependency that lets nobody else in."""
    router = APIRouter(route_class=SocialRoute)

    async def get_owner(session: Annotated[Session, Depends(get_session)], users: Users) -> User:
        user = await users.get(session.username)
        if user is None:
            raise unauthenticated()
        return user

    _add_routes(router, get_session, get_owner, start_flow)
    _add_pages(router, get_session, get_owner)
    return router


def _add_routes(
    router: APIRouter, get_session: GetSession, get_owner: GetOwner, start_flow: StartFlow
) -> None:
    current = Annotated[Session, Depends(get_session)]
    owner = Annotated[User, Depends(get_owner)]

    @router.post("/identities/{provider}", response_class=HTMLResponse)
    async def start_linking(
        provider: NamedProvider, session: current, user: owner, flows: Flows
    ) -> Response:
        """Begin to link a provider, within five minutes after a login.

        A page leads there, since a browser lets no form of ours lead to another site (CSP).
        """
        if datetime.now(UTC) - session.created_at > FRESH:
            sentence = "Log in again first, and link the provider within five minutes."
            raise Refused(sentence, status.HTTP_403_FORBIDDEN)
        address = await start_flow(provider, flows, session, Purpose(PAGE, user.account_id))
        page = render("continue.html", title=provider.title, address=address)
        page.headers["Refresh"] = f"0; url={address}"
        return page

    @router.get("/identities")
    async def list_identities(user: owner, identities: Identities) -> list[IdentityPublic]:
        """List the providers by which the caller may log in."""
        return _shown(await identities.owned_by(user.account_id))

    @router.delete("/identities/{provider}", status_code=status.HTTP_204_NO_CONTENT)
    async def unlink(provider: str, user: owner, identities: Identities) -> None:
        """Unlink a provider. 404 when it is not linked, 409 when it is the last way in."""
        match await _unlink(user, provider, identities):
            case "none":
                raise HTTPException(status.HTTP_404_NOT_FOUND, "Not linked")
            case "last":
                raise HTTPException(status.HTTP_409_CONFLICT, LAST)


def _add_pages(router: APIRouter, get_session: GetSession, get_owner: GetOwner) -> None:
    current = Annotated[Session, Depends(get_session)]
    owner = Annotated[User, Depends(get_owner)]

    @router.get(PAGE, response_class=HTMLResponse)
    async def show_identities(session: current, user: owner, identities: Identities) -> Response:
        """Show the caller's ways in, with a button for each that may be linked or unlinked."""
        rows = _shown(await identities.owned_by(user.account_id))
        linked = {row.provider for row in rows}
        others = {
            name: title for name, title in get_settings().providers.items() if name not in linked
        }
        token = session.csrf_token
        return render("identities.html", csrf_token=token, rows=rows, others=others)

    @router.post(PAGE)
    async def unlink_from_page(
        form: Annotated[UnlinkForm, Form()], user: owner, identities: Identities
    ) -> Response:
        """Unlink a provider by a form, which cannot DELETE."""
        if await _unlink(user, form.provider, identities) == "last":
            raise Refused(LAST, status.HTTP_409_CONFLICT)
        return RedirectResponse(PAGE, status.HTTP_303_SEE_OTHER)
