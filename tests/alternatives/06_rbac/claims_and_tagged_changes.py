"""Scopes from a claims dependency, a change one of two models. Mended: rank read in the transaction."""

from enum import StrEnum, auto
from typing import Annotated, Any, Union

from fastapi import APIRouter, Depends, HTTPException, Security
from fastapi.security import SecurityScopes
from pydantic import BaseModel, ConfigDict, Discriminator, StrictBool, Tag

from solutions import hashing, oauth2, refresh
from solutions.support.apps import create_app
from solutions.oauth2 import CurrentUser, Item, UserPublic, oauth2_scheme, unauthorized
from solutions.support.safe_route import SafeRoute
from solutions.tokens import InvalidToken, decode_token
from solutions.stores.users import User, UserStore, get_users

Users = Annotated[UserStore, Depends(get_users)]


class Role(StrEnum):
    USER = auto()
    ADMIN = auto()
    SUPERADMIN = auto()


ABOVE = {
    Role.USER: frozenset(),
    Role.ADMIN: frozenset({Role.USER}),
    Role.SUPERADMIN: frozenset({Role.USER, Role.ADMIN}),
}
STAFF = frozenset({Role.ADMIN, Role.SUPERADMIN})


def rank(role: str) -> int:
    """How many roles are below this one."""
    return len(ABOVE.get(role, frozenset(Role)))


def require_role(allowed: list[Role]):
    members = frozenset(map(Role, allowed))
    if members == frozenset():
        raise ValueError("no roles")

    async def member(user: CurrentUser) -> User:
        if members.isdisjoint({user.role}):
            raise HTTPException(status_code=403, detail="Insufficient permissions")
        return user

    return member


async def get_claims(
    user: CurrentUser, token: Annotated[str, Depends(oauth2_scheme)]
) -> dict[str, Any]:
    """The claims of a token whose user was found already."""
    try:
        return decode_token(token)
    except InvalidToken as error:
        raise unauthorized(str(error)) from None


def scopes_in(claims: dict[str, Any]) -> frozenset[str]:
    scope = claims.get("scope")
    return frozenset(scope.split(" ")) if type(scope) is str else frozenset()


def token_scopes(token: str) -> list[str]:
    try:
        return sorted(scopes_in(decode_token(token)))
    except InvalidToken:
        return []


class ScopeGuard:
    def __init__(self, scheme: str):
        self.scheme = scheme

    async def __call__(
        self,
        user: CurrentUser,
        claims: Annotated[dict[str, Any], Depends(get_claims)],
        needed: SecurityScopes,
    ) -> User:
        if not frozenset(needed.scopes) <= scopes_in(claims) & frozenset(user.scopes):
            raise HTTPException(
                status_code=403,
                detail={"error": "insufficient_scope", "needed": needed.scopes},
                headers={"WWW-Authenticate": self.challenge(needed.scope_str)},
            )
        return user

    def challenge(self, scope: str) -> str:
        return f'{self.scheme} error="insufficient_scope", scope="{scope}"'


require_scopes = ScopeGuard("Bearer")
Administrator = Annotated[User, Depends(require_role(list(STAFF)))]


class Account(UserPublic):
    role: str


class _Change(BaseModel):
    model_config = ConfigDict(extra="forbid")

    def keeps_superadmin(self) -> bool:
        wanted = self.model_dump(exclude_unset=True)
        return wanted.get("role", "superadmin") == "superadmin" and not wanted.get("disabled")


class NewRole(_Change):
    """Another role, and the lock too if it is given."""

    role: Role
    disabled: StrictBool = False


class NewLock(_Change):
    """The lock alone."""

    disabled: StrictBool


def _which(body: Any) -> str | None:
    names = body if isinstance(body, dict) else getattr(body, "model_fields_set", ())
    return next((name for name in ("role", "disabled") if name in names), None)


AccountChange = Annotated[
    Union[Annotated[NewRole, Tag("role")], Annotated[NewLock, Tag("disabled")]],
    Discriminator(_which),
]


class Permissions(BaseModel):
    role: str
    scopes: list[str]


router = APIRouter(route_class=SafeRoute, tags=["06 rbac"])


@router.get("/users/me/permissions")
async def read_permissions(
    user: Annotated[User, Security(require_scopes, scopes=["me"])],
) -> Permissions:
    return Permissions(role=user.role, scopes=user.scopes)


@router.get("/users/{username}/items")
async def read_items_of(
    username: str, user: Annotated[User, Security(require_scopes, scopes=["items"])], users: Users
) -> list[Item]:
    visible = {user.username: user}
    if user.role in STAFF:
        visible = {person.username: person for person in await users.everyone()}
    owner = await users.get(username)
    if owner is None or owner.username not in visible:
        raise HTTPException(status_code=404, detail=["nothing here"])
    return [Item(item_id="Foo", owner=owner.username)]


def as_account(person: User) -> Account:
    return Account.model_construct(**person.model_dump(include=Account.model_fields.keys()))


@router.get("/admin/users")
async def list_accounts(administrator: Administrator, users: Users) -> list[Account]:
    return [as_account(person) for person in await users.everyone()]


async def is_last_superadmin(users: UserStore, person: User) -> bool:
    keys = frozenset(
        each.username
        for each in await users.everyone()
        if each.role == Role.SUPERADMIN and not each.disabled
    )
    return keys == {person.username}


async def reach_of(users: UserStore, administrator: User) -> frozenset[str]:
    """The roles that the administrator may give and touch, if it is still the same one."""
    now = await users.get(administrator.username)
    if now is None or now.disabled or now.security_stamp != administrator.security_stamp:
        return frozenset()
    return ABOVE[Role(now.role)] | {now.role} if now.role in STAFF else frozenset()


@router.patch("/admin/users/{username}")
async def change_account(
    username: str, change: AccountChange, administrator: Administrator, users: Users
) -> Account:
    wanted = change.model_dump(mode="json", exclude_unset=True)
    async with users.transaction():
        within_reach = await reach_of(users, administrator)
        person = await users.get(username)
        if person is None:
            raise HTTPException(status_code=404, detail="Whom do you mean?")
        if not {person.role, wanted.get("role", person.role)} <= within_reach:
            raise HTTPException(status_code=403, detail="Insufficient permissions")
        if not change.keeps_superadmin() and await is_last_superadmin(users, person):
            raise HTTPException(status_code=409, detail="Not the last superadmin")
        return as_account(await users.change(person.username, **wanted))


app = create_app("Claims", hashing.router, oauth2.router, refresh.router, router)
