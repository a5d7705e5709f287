"""The rows of one tenant, and what lesson 13 asks of them again and again."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime

from ..stores.sql.database import Value
from ..stores.sql.rows import to_moment, to_number
from ..stores.tenants import After, Kept, Row, Rows, Where
from ..stores.users import User, UserStore, fold_username
from .digests import digest_of
from .tenant_forms import (
    Caller,
    Membership,
    Role,
    forbidden,
    membership_of,
    no_tenant,
    not_found,
    rank,
)


class NarrowedRows(ABC):
    """`Rows` through one narrow place: what is sought, written or forgotten goes by `within`."""

    def __init__(self, rows: Rows, tenant: str) -> None:
        self._rows, self.tenant = rows, tenant

    @abstractmethod
    def within(self, fields: Where) -> Kept:
        """Return fields as they have to be in this tenant."""

    async def find(
        self,
        table: str,
        *,
        after: After | None = None,
        limit: int | None = None,
        containing: str = "",
        **where: Value | Sequence[str],
    ) -> list[Row]:
        """Return this tenant's rows with these values, the oldest first."""
        return await self._rows.find(
            table, self.within(where), after=after, limit=limit, containing=containing
        )

    async def count(
        self, table: str, *, containing: str = "", **where: Value | Sequence[str]
    ) -> int:
        """Return how many of this tenant's rows have these values."""
        return await self._rows.count(table, self.within(where), containing=containing)

    async def add(self, table: str, **fields: Value) -> bool:
        """Keep a new row of this tenant; False when there is one with its key."""
        return await self._rows.add(table, _single(self.within(fields)))

    async def change(self, table: str, where: Where, **fields: Value) -> list[Row]:
        """Change fields of this tenant's rows with these values; return the rows as they are now.

        A list of values stands for any one of them.
        """
        return await self._rows.change(table, self.within(where), _single(self.within(fields)))

    async def remove(self, table: str, **where: Value | Sequence[str]) -> list[Row]:
        """Forget this tenant's rows with these values, and return them."""
        return await self._rows.remove(table, self.within(where))

    async def sweep(self, table: str) -> None:
        """Forget this tenant's rows whose time is over."""
        now = to_number(datetime.now(UTC))
        await self._rows.remove(table, self.within({}), before=now)

    def transaction(self) -> AbstractAsyncContextManager[None]:
        """Let no other transaction of this tenant in until the block ends.

        An exception undoes what the block wrote.
        """
        return self._rows.transaction()


def _single(fields: Kept) -> dict[str, Value]:
    return {
        name: value
        for name, value in fields.items()
        if isinstance(value, str | int) or value is None
    }


@dataclass(frozen=True)
class Access:
    """That somebody is in a tenant, at this request, and the way to its rows."""

    user: User  # of a key: who made it
    role: str
    rows: NarrowedRows


def address_of(user: User) -> str:
    """Return an account's e-mail address as it is compared; empty without one."""
    return fold_address(user.email or "")


def fold_address(address: str) -> str:
    """Return the one spelling under which an e-mail address is kept."""
    return address.casefold()


def has_ended(row: Row) -> bool:
    """Tell whether the time of an invitation or a key is over."""
    return to_moment(row["expires_at"]) <= datetime.now(UTC)


async def find_member(rows: NarrowedRows, **where: str) -> Membership | None:
    """Return the member with these values, or None."""
    found = await rows.find("memberships", after=None, limit=1, containing="", **where)
    return membership_of(found[0]) if found else None


async def person_of(rows: NarrowedRows, users: UserStore, caller: Caller) -> User | None:
    """Return who calls, or who made the API key that calls; None for a key that is not good here.

    Whether they are in: ask.
    """
    return caller.user or await maker_of(rows, users, caller.key or "")


async def maker_of(rows: NarrowedRows, users: UserStore, key: str) -> User | None:
    """Return who made an API key of this tenant, if the key is good at this moment.

    None for a key that is unknown here, withdrawn or expired, and for one whose maker is gone,
    disabled, or has changed the password since. Whether the maker is still a member: ask.
    """
    found = await rows.find("tenant_keys", digest=digest_of(key))
    if not found or has_ended(found[0]):
        return None
    user = await users.get(found[0]["username"])
    if user is None or user.disabled or user.account_id != found[0]["account_id"]:
        return None
    return user if user.security_stamp == found[0]["stamp"] else None


async def inviter_may(rows: NarrowedRows, invitation: Row) -> bool:
    """Tell whether who invited could do it now: a member, an admin at least, not below the role."""
    inviter = await find_member(rows, account_id=invitation["invited_by"])
    least = max(rank(Role.ADMIN), rank(invitation["role"]))
    return inviter is not None and rank(inviter.role) >= least


async def join(rows: NarrowedRows, user: User, role: str) -> bool:
    """Make somebody a member; False for one who is. In a transaction, please.

    A member of the same name and another account is one whose account is gone.
    """
    for row in await rows.find("memberships", username=user.username):
        if row["account_id"] != user.account_id:
            await rows.remove("memberships", account_id=row["account_id"])
    return await rows.add(
        "memberships",
        account_id=user.account_id,
        username=user.username,
        email=address_of(user),
        role=role,
    )


async def member_to_change(
    rows: NarrowedRows, caller: User, username: str, role: Role | None
) -> Membership:
    """Return the member of that name, whom the caller may give a role, or with None put out.

    Everybody may leave. Raises 403 for more than the caller has, and for a member above: both as
    they are now, so ask within the transaction that writes. 404 for nobody.
    """
    me = await find_member(rows, account_id=caller.account_id)
    them = await find_member(rows, username=fold_username(username) or "")
    if me is None:
        raise no_tenant()
    if role is None and them == me:
        return me
    if rank(me.role) < rank(Role.ADMIN):
        raise forbidden()
    if them is None:
        raise not_found()
    if max(rank(them.role), rank(role or Role.MEMBER)) > rank(me.role):
        raise forbidden()
    return them


async def forget_member(rows: NarrowedRows, them: Membership) -> None:
    """Forget a member, their keys, and the invitations by them and to them. Several steps."""
    for table, column, value in (
        ("memberships", "account_id", them.account_id),
        ("tenant_keys", "account_id", them.account_id),
        ("invitations", "invited_by", them.account_id),
        ("invitations", "email", them.email),
    ):
        await rows.remove(table, **{column: value})
