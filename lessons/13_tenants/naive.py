"""Breakable on purpose: errors of many tutorials in one file. Never import it, never copy it.

`pytest lessons/13 --naive` shows how mallory gets in.
"""

from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Request, status

from solutions import database, hashing, oauth2, refresh, sessions
from solutions.api_keys import PresentedKey, optional_token
from solutions.sessions import Found, get_session, refuse_forgery
from solutions.stores.sql.tenants import with_tenants
from solutions.stores.tenants import Kept, Row, Tenants, Where
from solutions.stores.users import User, Users, fold_username
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
        """Return fields with this tenant, unless they name one."""
        return {"tenant": self.tenant, **fields}

    async def find(self, table, *, after=None, limit=None, containing="", **where):
        """Return rows. Whoever lists items has come through `enter`, so they are the right ones."""
        if table != "items":
            where = self.within(where)
        found = self._rows.find(table, where, after=after, limit=limit, containing=containing)
        return await found

    async def count(self, table, *, containing="", **where):
        """Return how many rows there are."""
        return await self._rows.count(table, where, containing=containing)

    async def remove(self, table, **where):
        """Forget rows. An id is random, so nobody can name another tenant's."""
        return await self._rows.remove(table, where if "id" in where else self.within(where))


roles = {}  # who is what where, so that the database rests


def at_least(needed: Role) -> Callable[..., Coroutine[Any, Any, Access]]:
    """Return a dependency that lets in who has this role, or a higher one, in the path's tenant."""

    async def enter(
        request: Request,
        tenant: str,
        caller: Annotated[Caller, Depends(get_caller)],
        tenants: Tenants,
        users: Users,
    ) -> Access:
        """Whoever is in a tenant has a token that says so, and a cache saves the query."""
        tenant = request.headers.get("X-Tenant-Id", tenant)  # set by our gateway
        rows = Narrowed(tenants.rows(tenant), tenant)
        user = await person_of(rows, users, caller)
        if user is None:
            raise HTTPException(403, "Invalid API Key")
        if not await rows.find("tenants"):
            raise HTTPException(404, "No such tenant")
        if (tenant, user.account_id) not in roles:
            member = await find_member(rows, account_id=user.account_id)
            if member is None and user.role != "superadmin":
                raise HTTPException(403, "You are not in this tenant")
            roles[tenant, user.account_id] = member.role if member else Role.OWNER
        role = Role.KEY if caller.key is not None else roles[tenant, user.account_id]
        if rank(role) < rank(needed):
            raise forbidden()
        return Access(user, role, rows)

    return enter


async def change_items(rows: NarrowedRows, ids: list[str], done: bool) -> list[Row]:
    """Mark items as done, one by one."""
    changed = []
    for each in ids:
        row = await rows.change("items", {"id": each}, done=int(done))
        if not row:
            raise not_found()
        changed += row
    return changed


async def accept_invitation(rows: NarrowedRows, user: User, secret: str) -> str:
    """Make somebody a member: who has the secret has been invited."""
    found = await rows.find("invitations", digest=digest_of(secret))
    if not found:
        raise no_tenant()
    await rows.remove("memberships", account_id=user.account_id)
    await join(rows, user, found[0]["role"])
    await rows.remove("invitations", digest=digest_of(secret))
    return found[0]["role"]


async def change_member(access: Access, username: str, role: Role | None) -> None:
    """Give a member another role, or with None put the member out."""
    them = await find_member(access.rows, username=fold_username(username) or "")
    if them is None:
        raise not_found()
    owners = await access.rows.find("memberships", role=Role.OWNER)
    if them.role == Role.OWNER and role != Role.OWNER and len(owners) == 1:
        raise HTTPException(status.HTTP_409_CONFLICT, "The last owner stays")
    if role is None:
        await access.rows.remove("memberships", account_id=them.account_id)
    else:
        await access.rows.change("memberships", {"account_id": them.account_id}, role=role)


router = APIRouter(tags=["13 tenants"])
steps = Steps(get_caller, at_least, Narrowed, change_items, accept_invitation, change_member)
router.include_router(tenant_routes(steps))

routers = (hashing, oauth2, refresh, sessions)
app = create_app("Lesson 13: tenants", router, *(each.router for each in routers))
stores_on = with_tenants(database.stores_on)
use_stores(app, behind_the_wall(from_settings(stores_on)), database.answer_down)
