"""Plain `def` guards, which FastAPI runs in threads; require_role makes an object. Mended: rank read late."""

from enum import StrEnum
from typing import Annotated, Optional

from fastapi import APIRouter, Depends, HTTPException, Security
from fastapi.security import SecurityScopes
from pydantic import BaseModel, ConfigDict, StrictBool, model_validator

from solutions import hashing, oauth2, refresh
from solutions.support.apps import create_app
from solutions.oauth2 import Item, UserPublic, get_current_active_user, oauth2_scheme
from solutions.support.safe_route import SafeRoute
from solutions.tokens import InvalidToken, decode_token
from solutions.stores.users import User, UserStore, get_users

Users = Annotated[UserStore, Depends(get_users)]
Caller = Annotated[User, Depends(get_current_active_user)]


class Role(StrEnum):
    USER = "user"
    ADMIN = "admin"
    SUPERADMIN = "superadmin"


LADDER = [Role.USER, Role.ADMIN, Role.SUPERADMIN]


def rank(role) -> int:
    for step, known in enumerate(LADDER):
        if known == role:
            return step
    return len(LADDER)


class RoleGuard:
    """A dependency with a memory: the roles that it was built with."""

    def __init__(self, allowed):
        self.allowed = tuple(Role(each) for each in allowed)
        if not self.allowed:
            raise ValueError("a guard without roles guards nothing")

    def __call__(self, caller: Caller) -> User:
        if any(caller.role == each for each in self.allowed):
            return caller
        raise HTTPException(403, "Insufficient permissions")


def require_role(allowed: list[Role]) -> RoleGuard:
    return RoleGuard(allowed)


def token_scopes(token: str) -> list[str]:
    try:
        claim = decode_token(token).get("scope")
    except InvalidToken:
        return []
    return claim.split(" ") if isinstance(claim, str) else []


def require_scopes(
    wanted: SecurityScopes, caller: Caller, token: str = Depends(oauth2_scheme)
) -> User:
    in_token = token_scopes(token)
    for scope in wanted.scopes:
        if scope not in in_token or scope not in caller.scopes:
            raise HTTPException(
                403,
                f"This needs the scopes: {wanted.scope_str}",
                {"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{wanted.scope_str}"'},
            )
    return caller


administrators = require_role([Role.ADMIN, Role.SUPERADMIN])
Administrator = Annotated[User, Depends(administrators)]


class Account(UserPublic):
    model_config = ConfigDict(from_attributes=True)
    role: str


class AccountChange(BaseModel):
    model_config = ConfigDict(extra="forbid")
    role: Optional[Role] = None
    disabled: Optional[StrictBool] = None

    @model_validator(mode="after")
    def something(self):
        if not self.wanted():
            raise ValueError("nothing to change")
        return self

    def wanted(self) -> dict:
        both = {"role": self.role and self.role.value, "disabled": self.disabled}
        return {name: value for name, value in both.items() if value is not None}

    def keeps_superadmin(self) -> bool:
        after = {"role": "superadmin", "disabled": False} | self.wanted()
        return after == {"role": "superadmin", "disabled": False}


class Permissions(BaseModel):
    role: str
    scopes: list[str]


router = APIRouter(tags=["06 rbac"], route_class=SafeRoute)


@router.get("/users/me/permissions", response_model=Permissions)
def read_permissions(caller: User = Security(require_scopes, scopes=["me"])):
    return {"role": caller.role, "scopes": caller.scopes}


@router.get("/users/{username}/items", response_model=list[Item])
async def read_items_of(
    username: str, users: Users, caller: User = Security(require_scopes, scopes=["items"])
):
    person = await users.get(username)
    if person is not None:
        if person.username == caller.username or caller.role in administrators.allowed:
            return [Item(item_id="Foo", owner=person.username)]
    raise HTTPException(404, "There are no such items")


@router.get("/admin/users", response_model=list[Account])
async def list_accounts(users: Users, administrator: Administrator):
    return await users.everyone()


async def is_last_superadmin(users: UserStore, person: User) -> bool:
    active = {p.username for p in await users.everyone() if p.role == "superadmin" and not p.disabled}
    return active == {person.username}


async def still(administrator: User, users: UserStore) -> User:
    now = await users.get(administrator.username)
    if now and not now.disabled and now.security_stamp == administrator.security_stamp:
        return administrators(now)
    raise HTTPException(403, "Insufficient permissions")


@router.patch("/admin/users/{username}", response_model=Account)
async def change_account(username: str, change: AccountChange, users: Users, administrator: Administrator):
    async with users.transaction():
        ceiling = rank((await still(administrator, users)).role)
        person = await users.get(username)
        if person is None:
            raise HTTPException(404, "There is no such account")
        if rank(person.role) > ceiling:
            raise HTTPException(403, "Insufficient permissions")
        if change.role is not None and rank(change.role) > ceiling:
            raise HTTPException(403, "Insufficient permissions")
        if not change.keeps_superadmin() and await is_last_superadmin(users, person):
            raise HTTPException(409, "Appoint another superadmin first")
        return await users.change(person.username, **change.wanted())


app = create_app("Roles, in threads", hashing.router, oauth2.router, refresh.router, router)
