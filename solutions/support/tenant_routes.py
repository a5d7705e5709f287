"""The routes of lesson 13. Each one below a tenant asks first who is in, and as what."""

import secrets
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Request, Response, status

from ..stores.sql.rows import to_number
from ..stores.tenants import Row, Rows, Tenants
from ..stores.users import User
from .digests import digest_of
from .key_forms import SHOWN_CHARACTERS
from .seams import note
from .session_requests import SessionRoute
from .tenant_forms import (
    INVITED_FOR,
    Acceptance,
    Caller,
    Cursor,
    InvitationPublic,
    InvitationShown,
    ItemChange,
    ItemsChange,
    Limit,
    MemberChange,
    MemberPublic,
    NewInvitation,
    NewItem,
    NewTenant,
    NewTenantKey,
    Role,
    Sought,
    TenantItem,
    TenantItems,
    TenantKeyPublic,
    TenantKeyShown,
    TenantPublic,
    after_of,
    cursor_of,
    forbidden,
    invitation_of,
    item_of,
    key_of,
    new_id,
    not_found,
    rank,
)
from .tenant_rows import Access, NarrowedRows, fold_address, join

PREFIX = "fat_"  # of a tenant's keys, for a search for those that leak


class TenantRoute(SessionRoute):
    """Lets nobody keep an answer, no refusal either: it is for one caller in one tenant."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_unkept(request: Request) -> Response:
            try:
                return await handle(request)
            except HTTPException as error:
                error.headers = {**(error.headers or {}), "Cache-Control": "no-store"}
                raise

        return handle_unkept


@dataclass(frozen=True)
class Steps:
    """What the lesson writes, and the routes use."""

    get_caller: Callable[..., Awaitable[Caller]]  # a dependency
    at_least: Callable[[Role], Callable[..., Awaitable[Access]]]  # makes a dependency
    narrowed: Callable[[Rows, str], NarrowedRows]
    change_items: Callable[[NarrowedRows, list[str], bool], Awaitable[list[Row]]]
    accept_invitation: Callable[[NarrowedRows, User, str], Awaitable[str]]
    change_member: Callable[[Access, str, Role | None], Awaitable[None]]


def tenant_routes(steps: Steps) -> APIRouter:
    """Return the routes."""
    router = APIRouter(route_class=TenantRoute)
    _add_tenants(router, steps)
    _add_members(router, steps)
    _add_items(router, steps)
    _add_invitations(router, steps)
    _add_keys(router, steps)
    return router


def _add_tenants(router: APIRouter, steps: Steps) -> None:
    inside = Annotated[Access, Depends(steps.at_least(Role.KEY))]
    person = Annotated[User, Depends(_person_by(steps))]

    @router.post("/tenants", status_code=status.HTTP_201_CREATED)
    async def create_tenant(wanted: NewTenant, user: person, tenants: Tenants) -> TenantPublic:
        """Make a tenant. Whoever makes it owns it."""
        tenant = new_id()
        rows = steps.narrowed(tenants.rows(tenant), tenant)
        async with rows.transaction():
            await rows.add("tenants", name=wanted.name)
            await join(rows, user, Role.OWNER)
        note(whom=tenant)
        return TenantPublic(id=tenant, name=wanted.name, role=Role.OWNER)

    @router.get("/tenants")
    async def list_tenants(user: person, tenants: Tenants) -> list[TenantPublic]:
        """List the tenants that the caller is in."""
        return [
            TenantPublic(id=each.tenant, name=each.name, role=each.role)
            for each in await tenants.of(user.account_id)
        ]

    @router.get("/tenants/{tenant}")
    async def read_tenant(access: inside) -> TenantPublic:
        """Tell what the tenant is called, and what the caller is in it."""
        row = (await access.rows.find("tenants"))[0]
        return TenantPublic(id=row["tenant"], name=row["name"], role=access.role)


def _person_by(steps: Steps) -> Callable[..., Awaitable[User]]:
    async def get_person(caller: Annotated[Caller, Depends(steps.get_caller)]) -> User:
        """Return the person who calls. Raises 403 for a key: it acts in its tenant only."""
        if caller.user is None:
            raise forbidden()
        return caller.user

    return get_person


def _add_members(router: APIRouter, steps: Steps) -> None:
    member = Annotated[Access, Depends(steps.at_least(Role.MEMBER))]
    admin = Annotated[Access, Depends(steps.at_least(Role.ADMIN))]

    @router.get("/tenants/{tenant}/members")
    async def list_members(access: member) -> list[MemberPublic]:
        """List who is in, the oldest member first."""
        rows = await access.rows.find("memberships")
        return [MemberPublic(username=row["username"], role=row["role"]) for row in rows]

    @router.patch("/tenants/{tenant}/members/{username}")
    async def change_role(username: str, change: MemberChange, access: admin) -> MemberPublic:
        """Give a member another role."""
        await steps.change_member(access, username, change.role)
        return MemberPublic(username=username.casefold(), role=change.role)

    @router.delete("/tenants/{tenant}/members/{username}", status_code=status.HTTP_204_NO_CONTENT)
    async def remove_member(username: str, access: member) -> None:
        """Put a member out, or leave."""
        await steps.change_member(access, username, None)


def _add_items(router: APIRouter, steps: Steps) -> None:
    inside = Annotated[Access, Depends(steps.at_least(Role.KEY))]

    @router.get("/tenants/{tenant}/items")
    async def list_items(
        access: inside, after: Cursor = "", limit: Limit = 20, q: Sought = ""
    ) -> TenantItems:
        """List items, a page at a time; with `q` only those whose title contains it."""
        found = await access.rows.find(
            "items", after=after_of(after), limit=limit + 1, containing=q
        )
        page = found[:limit]
        return TenantItems(
            items=[item_of(row) for row in page],
            total=await access.rows.count("items", containing=q),
            next=cursor_of(page[-1]) if len(found) > limit else None,
        )

    @router.post("/tenants/{tenant}/items", status_code=status.HTTP_201_CREATED)
    async def add_item(wanted: NewItem, access: inside) -> TenantItem:
        """Add an item."""
        fields = {"id": new_id(), "title": wanted.title, "made_by": access.user.username}
        await access.rows.add("items", **fields, done=0)
        return TenantItem(**fields, done=False)

    @router.patch("/tenants/{tenant}/items")
    async def change_many(change: ItemsChange, access: inside) -> list[TenantItem]:
        """Change many items at once: all of them, or none."""
        rows = await steps.change_items(access.rows, change.ids, change.done)
        return [item_of(row) for row in rows]

    _add_one_item(router, inside)


def _add_one_item(router: APIRouter, inside: Any) -> None:
    @router.get("/tenants/{tenant}/items/{item}")
    async def read_item(item: str, access: inside) -> TenantItem:
        """Show an item."""
        return item_of(_first(await access.rows.find("items", id=item)))

    @router.patch("/tenants/{tenant}/items/{item}")
    async def change_item(item: str, change: ItemChange, access: inside) -> TenantItem:
        """Change an item."""
        return item_of(_first(await access.rows.change("items", {"id": item}, **change.fields())))

    @router.delete("/tenants/{tenant}/items/{item}", status_code=status.HTTP_204_NO_CONTENT)
    async def remove_item(item: str, access: inside) -> None:
        """Remove an item."""
        _first(await access.rows.remove("items", id=item))


def _first(rows: list[Row]) -> Row:
    """Return the one row, or raise the 404 for none."""
    if not rows:
        raise not_found()
    return rows[0]


def _add_invitations(router: APIRouter, steps: Steps) -> None:
    admin = Annotated[Access, Depends(steps.at_least(Role.ADMIN))]

    @router.get("/tenants/{tenant}/invitations")
    async def list_invitations(access: admin) -> list[InvitationPublic]:
        """List the invitations that are open, without their secrets."""
        await access.rows.sweep("invitations")
        return [invitation_of(row) for row in await access.rows.find("invitations")]

    @router.post("/tenants/{tenant}/invitations", status_code=status.HTTP_201_CREATED)
    async def invite(wanted: NewInvitation, access: admin) -> InvitationShown:
        """Ask somebody in. The secret is shown once: send it to the address. 403 above one's own.

        Nobody is looked up: who has an account here is none of an admin's business.
        """
        if rank(wanted.role) > rank(access.role):
            raise forbidden()
        secret, ends = secrets.token_urlsafe(32), datetime.now(UTC) + INVITED_FOR
        shown = {"id": new_id(), "email": wanted.email, "role": str(wanted.role)}
        await access.rows.sweep("invitations")
        await access.rows.add(
            "invitations",
            **shown | {"email": fold_address(wanted.email)},
            digest=digest_of(secret),
            invited_by=access.user.account_id,
            expires_at=to_number(ends),
        )
        return InvitationShown(**shown, expires_at=ends, secret=secret)

    @router.delete(
        "/tenants/{tenant}/invitations/{invitation}", status_code=status.HTTP_204_NO_CONTENT
    )
    async def withdraw(invitation: str, access: admin) -> None:
        """Withdraw an invitation."""
        _first(await access.rows.remove("invitations", id=invitation))

    @router.post("/tenants/{tenant}/invitations/accept")
    async def accept(
        tenant: str,
        acceptance: Acceptance,
        user: Annotated[User, Depends(_person_by(steps))],
        tenants: Tenants,
    ) -> TenantPublic:
        """Come in, by the secret that came to the caller's address."""
        rows = steps.narrowed(tenants.rows(tenant), tenant)
        named = await rows.find("tenants")  # before: a failure after it would have used it up
        role = await steps.accept_invitation(rows, user, acceptance.secret)
        return TenantPublic(id=tenant, name=named[0]["name"], role=role)


def _add_keys(router: APIRouter, steps: Steps) -> None:
    admin = Annotated[Access, Depends(steps.at_least(Role.ADMIN))]

    @router.get("/tenants/{tenant}/keys")
    async def list_keys(access: admin) -> list[TenantKeyPublic]:
        """List the tenant's keys, without the keys."""
        return [key_of(row) for row in await access.rows.find("tenant_keys")]

    @router.post("/tenants/{tenant}/keys", status_code=status.HTTP_201_CREATED)
    async def make_key(wanted: NewTenantKey, access: admin) -> TenantKeyShown:
        """Make a key that opens the tenant's items, and show it, this once."""
        text, at = PREFIX + secrets.token_urlsafe(32), datetime.now(UTC)
        row: dict[str, Any] = {
            "id": new_id(),
            "prefix": text[:SHOWN_CHARACTERS],
            "name": wanted.name,
            "username": access.user.username,
            "created_at": to_number(at),
            "expires_at": to_number(at + timedelta(days=wanted.expires_in_days)),
        }
        await access.rows.sweep("tenant_keys")
        await access.rows.add(
            "tenant_keys",
            **row,
            digest=digest_of(text),
            account_id=access.user.account_id,
            stamp=access.user.security_stamp,
        )
        note(whom=f"{access.rows.tenant} {row['id']}")
        return TenantKeyShown(**dict(key_of(row)), key=text)

    @router.delete("/tenants/{tenant}/keys/{key}", status_code=status.HTTP_204_NO_CONTENT)
    async def withdraw_key(key: str, access: admin) -> None:
        """Withdraw a key, at once."""
        _first(await access.rows.remove("tenant_keys", id=key))
