"""One policy, `may(actor, action, target)`, answers with a reason. Mended: it asks the actor as stored."""

from enum import Enum
from typing import Annotated, Any, NamedTuple

from fastapi import APIRouter, Depends, HTTPException, Security
from fastapi.security import SecurityScopes
from pydantic import BaseModel, Field, model_validator

from solutions import hashing, oauth2, refresh
from solutions.support.apps import create_app
from solutions.oauth2 import CurrentUser, Item, UserPublic, oauth2_scheme
from solutions.support.safe_route import SafeRoute
from solutions.tokens import InvalidToken, decode_token
from solutions.stores.users import User, UserStore, get_users

Users = Annotated[UserStore, Depends(get_users)]


class Role(str, Enum):
    USER = "user"
    ADMIN = "admin"
    SUPERADMIN = "superadmin"


RANKS = {"user": 0, "admin": 1, "superadmin": 2}


def rank(role: str) -> int:
    return RANKS.get(role, 3)


class No(NamedTuple):
    """Why not. It is false, so that `if may(...)` reads as it should."""

    status: int
    why: str
    headers: dict[str, str] | None = None

    def __bool__(self) -> bool:
        return False


FORBIDDEN = No(403, "Insufficient permissions")
UNKNOWN = No(404, "No such user")
LAST = No(409, "This is the last superadmin")


async def may(actor: User, action: str, target: Any) -> bool | No:
    """The whole policy. What `target` is depends on the action."""
    match action:
        case "act as":
            return True if actor.role in target else FORBIDDEN
        case "use scopes":
            token, needed = target
            usable = {scope for scope in token_scopes(token) if scope in actor.scopes}
            if set(needed.scopes) <= usable:
                return True
            header = f'Bearer error="insufficient_scope", scope="{needed.scope_str}"'
            return No(403, "Insufficient scope", {"WWW-Authenticate": header})
        case "read items":
            if target is None:
                return UNKNOWN
            reads_all = actor.role in {Role.ADMIN.value, Role.SUPERADMIN.value}
            return True if reads_all or actor.username == target.username else UNKNOWN
        case "change":
            users, person, change = target
            if person is None:
                return UNKNOWN
            now = await users.get(actor.username)
            if now is None or now.disabled or now.security_stamp != actor.security_stamp:
                return FORBIDDEN
            if now.role not in (Role.ADMIN, Role.SUPERADMIN):
                return FORBIDDEN
            reached = [person.role] if change.role is None else [person.role, change.role.value]
            if any(rank(role) > rank(now.role) for role in reached):
                return FORBIDDEN
            if await is_last_superadmin(users, person) and not change.keeps_superadmin():
                return LAST
            return True
    return FORBIDDEN


async def enforce(actor: User, action: str, target: Any) -> User:
    """Raise the policy's reason. The only `raise HTTPException` of this module."""
    answer = await may(actor, action, target)
    if isinstance(answer, No):
        raise HTTPException(answer.status, detail=answer.why, headers=answer.headers)
    return actor


def require_role(allowed: list[Role]):
    values = {Role(one).value for one in allowed}
    if len(values) == 0:
        raise ValueError("allowed is empty")

    async def check_role(user: CurrentUser) -> User:
        return await enforce(user, "act as", values)

    return check_role


def token_scopes(token: str) -> list[str]:
    try:
        text = decode_token(token).get("scope")
    except InvalidToken:
        text = None
    return text.split(" ") if isinstance(text, str) else []


async def require_scopes(
    user: CurrentUser, needed: SecurityScopes, token: Annotated[str, Depends(oauth2_scheme)]
) -> User:
    return await enforce(user, "use scopes", (token, needed))


Administrator = Annotated[User, Depends(require_role([Role.SUPERADMIN, Role.ADMIN]))]


class Account(UserPublic):
    role: str

    @classmethod
    def of(cls, person: User) -> "Account":
        return cls.model_validate(person.model_dump(include=set(cls.model_fields)))


class AccountChange(BaseModel, extra="forbid"):
    role: Role | None = None
    disabled: bool | None = Field(default=None, description="True locks the account.")

    @model_validator(mode="after")
    def not_empty(self):
        assert self.changes(), "role or disabled, please"
        return self

    def changes(self) -> dict[str, Any]:
        return self.model_dump(mode="json", exclude_none=True)

    def keeps_superadmin(self) -> bool:
        if self.disabled:
            return False
        return self.role is None or self.role is Role.SUPERADMIN


class Permissions(BaseModel):
    role: str
    scopes: list[str]


router = APIRouter(route_class=SafeRoute)


@router.get("/users/me/permissions")
async def read_permissions(
    user: Annotated[User, Security(require_scopes, scopes=["me"])],
) -> Permissions:
    return Permissions.model_validate(user, from_attributes=True)


@router.get("/users/{username}/items")
async def read_items_of(
    username: str,
    user: Annotated[User, Security(require_scopes, scopes=["items"])],
    users: Users,
) -> list[Item]:
    person = await users.get(username)
    await enforce(user, "read items", person)
    return [Item(item_id="Foo", owner=person.username)]


@router.get("/admin/users")
async def list_accounts(_: Administrator, users: Users) -> list[Account]:
    return list(map(Account.of, await users.everyone()))


async def is_last_superadmin(users: UserStore, person: User) -> bool:
    names = [p.username for p in await users.everyone() if p.role == "superadmin" and not p.disabled]
    return len(names) == 1 and names[0] == person.username


@router.patch("/admin/users/{username}")
async def change_account(
    username: str, change: AccountChange, administrator: Administrator, users: Users
) -> Account:
    async with users.transaction():
        await enforce(administrator, "change", (users, await users.get(username), change))
        return Account.of(await users.change(username, **change.changes()))


app = create_app("Policy", hashing.router, oauth2.router, refresh.router, router)
