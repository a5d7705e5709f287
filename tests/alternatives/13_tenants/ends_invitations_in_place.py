"""Ends an invitation that is used, by comparing and setting, in the place of removing it."""

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
    forget_member,
    has_ended,
    inviter_may,
    join,
    member_to_change,
    person_of,
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
        user = await person_of(rows, users, caller)
        member = await find_member(rows, account_id=user.account_id) if user else None
        if user is None or member is None:
            raise no_tenant()
        role = member.role if caller.key is None else Role.KEY
        if rank(role) < rank(needed):
            raise forbidden()
        return Access(user, role, rows)

    return enter


async def change_items(rows: NarrowedRows, ids: list[str], done: bool) -> list[Row]:
    """Mark items as done, or not: all of them, or none. Return them as they are now.

    404 when one of them is not in this tenant. An id that comes twice counts once.
    """
    wanted = list(dict.fromkeys(ids))
    async with rows.transaction():
        changed = await rows.change("items", {"id": wanted}, done=int(done))
        if len(changed) != len(wanted):
            raise not_found()
        return changed


async def accept_invitation(rows: NarrowedRows, user: User, secret: str) -> str:
    """Make somebody a member by an invitation to their address, once, and return the role.

    One 404 for every secret that is not good for them (CWE-639): also when whoever invited them
    could not do it any more. 409 for a member, who stays what they are.
    """
    address, digest = address_of(user), digest_of(secret)
    async with rows.transaction():
        found = await rows.find("invitations", digest=digest, limit=1)
        if not found or not address or found[0]["email"] != address or has_ended(found[0]):
            raise no_tenant()
        still = {"digest": digest, "email": address, "expires_at": found[0]["expires_at"]}
        used = await rows.change("invitations", still, expires_at=0)  # has ended since 1970
        if not used or not await inviter_may(rows, used[0]):
            raise no_tenant()
        if not await join(rows, user, used[0]["role"]):
            raise HTTPException(status.HTTP_409_CONFLICT, "Already a member")
        return str(used[0]["role"])


async def change_member(access: Access, username: str, role: Role | None) -> None:
    """Give a member another role, or with None put the member out, with all that came along.

    409 for the last owner: what is checked still holds when it is written (CWE-367). With a member
    go the keys that they made, and the invitations by them and to them.
    """
    rows = access.rows
    async with rows.transaction():
        them = await member_to_change(rows, access.user, username, role)
        loses_owner = them.role == Role.OWNER and role != Role.OWNER
        if loses_owner and await rows.count("memberships", role=Role.OWNER) < 2:
            raise HTTPException(status.HTTP_409_CONFLICT, "The last owner must stay")
        if role is None:
            await forget_member(rows, them)
        else:
            await rows.change("memberships", {"account_id": them.account_id}, role=role)


router = APIRouter(tags=["13 tenants"])
steps = Steps(get_caller, at_least, Narrowed, change_items, accept_invitation, change_member)
router.include_router(tenant_routes(steps))

routers = (hashing, oauth2, refresh, sessions)
app = create_app("Lesson 13: tenants", router, *(each.router for each in routers))
stores_on = with_tenants(database.stores_on)
use_stores(app, behind_the_wall(from_settings(stores_on)), database.answer_down)
