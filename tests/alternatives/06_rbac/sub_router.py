"""/admin is a sub-router with its guard at the door. Mended: the guard is asked again before the write."""

import enum
import typing as t

import fastapi
import pydantic
from fastapi import Depends, Security
from fastapi.security import SecurityScopes
from starlette.exceptions import HTTPException

from solutions import hashing, oauth2, refresh
from solutions.support.apps import create_app
from solutions.oauth2 import CurrentUser, Item, UserPublic, oauth2_scheme
from solutions.support.safe_route import SafeRoute
from solutions.tokens import InvalidToken, decode_token
from solutions.stores.users import User, UserStore, get_users

Users = t.Annotated[UserStore, Depends(get_users)]


class Role(enum.StrEnum):
    USER = "user"
    ADMIN = "admin"
    SUPERADMIN = "superadmin"


def rank(role: str) -> int:
    return {"user": 0, "admin": 1, "superadmin": 2}.get(role, 99)


def require_role(allowed: list[Role]):
    roles = {*map(Role, allowed)}
    if not roles:
        raise ValueError("allowed: at least one role")

    async def check_role(user: CurrentUser):
        if user.role not in roles:
            raise fastapi.HTTPException(403, "Insufficient permissions")
        return user

    return check_role


def token_scopes(token: str) -> list[str]:
    try:
        scope = decode_token(token).get("scope", "")
    except InvalidToken:
        scope = ""
    return [each for each in scope.split(" ") if each] if isinstance(scope, str) else []


async def require_scopes(
    scopes: SecurityScopes, user: CurrentUser, token: str = Security(oauth2_scheme)
) -> User:
    usable = [scope for scope in token_scopes(token) if scope in user.scopes]
    if any(scope not in usable for scope in scopes.scopes):
        raise fastapi.HTTPException(
            403,
            "Ask for a wider token",
            {"www-authenticate": f'Bearer error="insufficient_scope", scope="{scopes.scope_str}"'},
        )
    return user


check_administrator = require_role([Role.ADMIN, Role.SUPERADMIN])
Administrator = t.Annotated[User, Depends(check_administrator)]


class Account(UserPublic):
    role: str


class AccountChange(pydantic.BaseModel):
    role: Role = None  # None is never sent: an explicit null is a 422
    disabled: pydantic.StrictBool = None

    model_config = {"extra": "forbid", "json_schema_extra": {"minProperties": 1}}

    @pydantic.model_validator(mode="before")
    @classmethod
    def at_least_one(cls, data):
        if data == {}:
            raise ValueError("an empty change")
        return data

    def given(self) -> dict:
        return {name: getattr(self, name) for name in self.model_fields_set}

    def keeps_superadmin(self) -> bool:
        return self.given().get("role", "superadmin") == "superadmin" and self.disabled is not True


class Permissions(pydantic.BaseModel):
    role: str
    scopes: list[str]


router = fastapi.APIRouter(route_class=SafeRoute, tags=["people"])


@router.get(
    "/users/me/permissions", response_model=User, response_model_include={"role", "scopes"}
)
async def read_permissions(user: t.Annotated[User, Security(require_scopes, scopes=["me"])]):
    return user


async def get_visible_owner(
    username: str,
    user: t.Annotated[User, Security(require_scopes, scopes=["items"])],
    users: Users,
) -> User:
    """The owner, if the caller may know that there is one."""
    owner = await users.get(username)
    sees_all = user.role in ("admin", "superadmin")
    if owner and (sees_all or owner.username == user.username):
        return owner
    raise HTTPException(404, "Nobody of that name")


@router.get("/users/{username}/items")
async def read_items_of(owner: t.Annotated[User, Depends(get_visible_owner)]) -> list[Item]:
    return [Item(item_id="Foo", owner=owner.username)]


admin = fastapi.APIRouter(
    prefix="/admin/users",
    route_class=SafeRoute,
    tags=["admin"],
    dependencies=[Depends(check_administrator)],
)


@admin.get("", response_model=list[Account])
async def list_accounts(users: Users):
    return [person.model_dump() for person in await users.everyone()]


async def is_last_superadmin(users: UserStore, person: User) -> bool:
    people = {each.username: each for each in await users.everyone()}
    left = {n for n, each in people.items() if each.role == "superadmin" and not each.disabled}
    return person.username in left and len(left) == 1


@admin.patch(
    "/{username}",
    response_model=User,
    response_model_include={"username", "email", "full_name", "disabled", "role"},
)
async def change_account(
    username: str, change: AccountChange, administrator: Administrator, users: Users
):
    async with users.transaction():
        person = await users.get(username)
        if not person:
            raise HTTPException(404, "Nobody of that name")
        now = await users.get(administrator.username)
        if now is None or now.disabled or now.security_stamp != administrator.security_stamp:
            raise HTTPException(403, "Insufficient permissions")
        await check_administrator(now)
        for role in (person.role, change.given().get("role", "user")):
            if rank(role) > rank(now.role):
                raise HTTPException(403, "Insufficient permissions")
        if await is_last_superadmin(users, person) and not change.keeps_superadmin():
            raise HTTPException(409, "Only one left")
        return await users.change(username, **change.given())


router.include_router(admin)
app = create_app("Sub-router", hashing.router, oauth2.router, refresh.router, router)
