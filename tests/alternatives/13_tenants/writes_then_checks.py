"""Writes first, then looks whether all is well, and lets the transaction undo it."""

from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, status

from solutions import database, hashing, oauth2, refresh, sessions
from solutions.api_keys import PresentedKey, optional_token
from solutions.sessions import Found, get_session, refuse_forgery
from solutions.stores.sql.tenants import with_tenants
from solutions.stores.tenants import Kept, Row, Tenants, Where
from solutions.stores.users import User, Users
from solutions.support.apps import create_app
from solutions.support.digests import digest_of
from solutions.support.opened_stores import from_settings
from solutions.support.row_security import behind_the_wall
from solutions.support.session_requests import Browser
from solutions.support.tenant_forms import Caller, Role, forbidden, no_tenant, not_found, rank
from solutions.support.tenant_routes import Steps, tenant_routes
from solutions.support.tenant_rows import (
    Access,
    NarrowedRows,
    address_of,
    find_member,
    has_ended,
    join,
    maker_of,
    member_to_change,
)
from solutions.support.use_stores import use_stores


async def get_caller(
    browser: Browser,
    key: PresentedKey,
    token: Annotated[str | None, Depends(optional_token)],
    found: Found,
    users: Users,
) -> Caller:
    """Return who calls: by a tenant's API key, by a token, or by a browser's session.

    Raises 401 without any, 400 for a token and a key at once, and what lessons 04 and 08 raise.
    """
    if key is not None and token is not None:
        raise HTTPException(status.HTTP_400_BAD_REQUEST, "Send a token or an API key, not both")
    if key is not None:
        return Caller(key=key)
    if token is not None:
        user = await oauth2.get_current_active_user(await oauth2.get_current_user(token, users))
        return Caller(user=user)
    session = await get_session(found)
    await refuse_forgery(browser, found)
    return Caller(user=await users.get(session.username))


class Narrowed(NarrowedRows):
    """The rows of one tenant: the only way in which routes reach rows."""

    def within(self, fields: Where) -> Kept:
        """Return fields with this tenant among them, whatever they said.

        Sought, written or forgotten: no row of another tenant is meant, and none becomes one
        (CWE-639, ASVS 8.4.1).
        """
        return {**fields, "tenant": self.tenant}


def at_least(needed: Role) -> Callable[..., Coroutine[Any, Any, Access]]:
    """Return a dependency that lets in who has this role, or a higher one, in the path's tenant."""

    async def enter(
        tenant: str, caller: Annotated[Caller, Depends(get_caller)], tenants: Tenants, users: Users
    ) -> Access:
        """Return what the caller is in this tenant, at this request, and the way to its rows.

        One 404 for all who are not in, and where there is no such tenant (CWE-204). 403 for a
        member who is less than needed.
        """
        rows = Narrowed(tenants.rows(tenant), tenant)
        user = caller.user or await maker_of(rows, users, caller.key or "")
        member = await find_member(rows, account_id=user.account_id) if user else None
        if user is None or member is None:
            raise no_tenant()
        role = Role.KEY if caller.key is not None else member.role
        if rank(role) < rank(needed):
            raise forbidden()
        return Access(user, role, rows)

    return enter


async def change_items(rows: NarrowedRows, ids: list[str], done: bool) -> list[Row]:
    """Mark items as done, or not: all of them, or none. Return them as they are now.

    404 when one of them is not in this tenant. An id that comes twice counts once.
    """
    async with rows.transaction():
        changed = [row for each in set(ids) for row in await rows.change("items", {"id": each}, done=done * 1)]
        missing = set(ids) - {row["id"] for row in changed}
        if missing:
            raise HTTPException(404, "Some of them are not here")
    return sorted(changed, key=lambda row: row["number"])


async def accept_invitation(rows: NarrowedRows, user: User, secret: str) -> str:
    """Make somebody a member by an invitation to their address, once, and return the role.

    One 404 for every secret that is not good for them (CWE-639): also when whoever invited them
    could not do it any more. 409 for a member, who stays what they are.
    """
    async with rows.transaction():
        invitations = await rows.remove("invitations", digest=digest_of(secret))
        invitation = invitations[0] if invitations else {"email": None, "invited_by": ""}
        # Before the joining: whoever joins may be the one who invited.
        inviter = await find_member(rows, account_id=invitation["invited_by"])
        is_in = await join(rows, user, invitations[0]["role"]) if invitations else False
        fits = (
            user.email is not None
            and invitation["email"] == user.email.casefold()
            and not has_ended(invitation)
            and inviter is not None
            and rank(inviter.role) >= rank(Role.ADMIN)
            and rank(inviter.role) >= rank(invitation["role"])
        )
        if not fits:
            raise no_tenant()
        if not is_in:
            raise HTTPException(status.HTTP_409_CONFLICT, "Already in")
        return invitation["role"]


async def change_member(access: Access, username: str, role: Role | None) -> None:
    """Give a member another role, or with None put the member out, with all that came along.

    409 for the last owner: what is checked still holds when it is written (CWE-367). With a member
    go the keys that they made, and the invitations by them and to them.
    """
    async with access.rows.transaction():
        them = await member_to_change(access.rows, access.user, username, role)
        if role is None:
            await access.rows.remove("memberships", account_id=them.account_id)
            await access.rows.remove("tenant_keys", account_id=them.account_id)
            await access.rows.remove("invitations", invited_by=them.account_id)
            if them.email:
                await access.rows.remove("invitations", email=them.email)
        else:
            await access.rows.change("memberships", {"username": them.username}, role=str(role))
        if not await access.rows.count("memberships", role=Role.OWNER):
            raise HTTPException(409, "An owner has to stay")


router = APIRouter(tags=["13 tenants"])
steps = Steps(get_caller, at_least, Narrowed, change_items, accept_invitation, change_member)
router.include_router(tenant_routes(steps))

routers = (hashing, oauth2, refresh, sessions)
app = create_app("Lesson 13: tenants", *(each.router for each in routers), router)
stores_on = with_tenants(database.stores_on)
use_stores(app, behind_the_wall(from_settings(stores_on)), database.answer_down)
