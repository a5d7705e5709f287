"""Looks at everything, then writes, all of it inside of a transaction."""

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
        narrowed = dict(fields)
        narrowed["tenant"] = self.tenant
        return narrowed


def at_least(needed: Role) -> Callable[..., Coroutine[Any, Any, Access]]:
    """Return a dependency that lets in who has this role, or a higher one, in the path's tenant."""

    async def enter(
        tenant: str, caller: Annotated[Caller, Depends(get_caller)], tenants: Tenants, users: Users
    ) -> Access:
        """Return what the caller is in this tenant, at this request, and the way to its rows.

        One 404 for all who are not in, and where there is no such tenant (CWE-204). 403 for a
        member who is less than needed.
        """
        mine = Narrowed(tenants.rows(tenant), tenant)
        user = caller.user
        if caller.key is not None:
            user = await maker_of(mine, users, caller.key)
        if user is None:
            raise no_tenant()
        members = await mine.find("memberships")
        roles = {each["account_id"]: each["role"] for each in members}
        if user.account_id not in roles:
            raise no_tenant()
        role = "key" if caller.key is not None else roles[user.account_id]
        if rank(needed) > rank(role):
            raise forbidden()
        return Access(user=user, role=role, rows=mine)

    return enter


async def change_items(rows: NarrowedRows, ids: list[str], done: bool) -> list[Row]:
    """Mark items as done, or not: all of them, or none. Return them as they are now.

    404 when one of them is not in this tenant. An id that comes twice counts once.
    """
    wanted = list(dict.fromkeys(ids))
    async with rows.transaction():
        there = {row["id"] for row in await rows.find("items", id=wanted)}
        if any(each not in there for each in wanted):
            raise not_found()
        changed = []
        for each in wanted:
            changed += await rows.change("items", {"id": each}, done=1 if done else 0)
        if len(changed) < len(wanted):
            raise not_found()
    return changed


async def accept_invitation(rows: NarrowedRows, user: User, secret: str) -> str:
    """Make somebody a member by an invitation to their address, once, and return the role.

    One 404 for every secret that is not good for them (CWE-639): also when whoever invited them
    could not do it any more. 409 for a member, who stays what they are.
    """
    digest = digest_of(secret)
    async with rows.transaction():
        found = await rows.find("invitations", digest=digest)
        if len(found) != 1:
            raise no_tenant()
        invitation = found[0]
        if not address_of(user) or invitation["email"] != address_of(user):
            raise no_tenant()
        if has_ended(invitation):
            raise no_tenant()
        inviter = await find_member(rows, account_id=invitation["invited_by"])
        if inviter is None or inviter.role not in ("admin", "owner"):
            raise no_tenant()
        if rank(inviter.role) < rank(invitation["role"]):
            raise no_tenant()
        if await find_member(rows, account_id=user.account_id):
            raise HTTPException(409, "You are a member already")
        if not await rows.remove("invitations", digest=digest):
            raise no_tenant()
        await join(rows, user, invitation["role"])
    return invitation["role"]


async def change_member(access: Access, username: str, role: Role | None) -> None:
    """Give a member another role, or with None put the member out, with all that came along.

    409 for the last owner: what is checked still holds when it is written (CWE-367). With a member
    go the keys that they made, and the invitations by them and to them.
    """
    async with access.rows.transaction():
        member = await member_to_change(access.rows, access.user, username, role)
        owners = await access.rows.find("memberships", role="owner")
        last = [each["account_id"] for each in owners] == [member.account_id]
        if last and role is not Role.OWNER:
            raise HTTPException(409, "Somebody has to own it")
        if role is None:
            account = member.account_id
            await access.rows.remove("invitations", email=member.email)
            await access.rows.remove("invitations", invited_by=account)
            await access.rows.remove("tenant_keys", account_id=account)
            await access.rows.remove("memberships", account_id=account)
        else:
            await access.rows.change("memberships", {"account_id": member.account_id}, role=role.value)


router = APIRouter(tags=["13 tenants"])
steps = Steps(get_caller, at_least, Narrowed, change_items, accept_invitation, change_member)
router.include_router(tenant_routes(steps))

routers = (hashing, oauth2, refresh, sessions)
app = create_app("Lesson 13: tenants", *(each.router for each in routers), router)
stores_on = with_tenants(database.stores_on)
use_stores(app, behind_the_wall(from_settings(stores_on)), database.answer_down)
