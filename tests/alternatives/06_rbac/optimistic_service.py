"""A service decides on a snapshot, and writes if it still holds. Mended: the stamp is compared too."""

from enum import Enum
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Security, status
from fastapi.security import SecurityScopes
from pydantic import BaseModel, ConfigDict, StrictBool, model_validator

from solutions import hashing, oauth2, refresh
from solutions.support.apps import create_app
from solutions.oauth2 import CurrentUser, Item, UserPublic, oauth2_scheme
from solutions.support.safe_route import SafeRoute
from solutions.tokens import InvalidToken, decode_token
from solutions.stores.users import User, UserInDB, UserStore, fold_username, get_users

Role = Enum("Role", {"USER": "user", "ADMIN": "admin", "SUPERADMIN": "superadmin"}, type=str)
Users = Annotated[UserStore, Depends(get_users)]
Snapshot = dict[str, UserInDB]

ORDER = "user admin superadmin".split()


def rank(role: str) -> int:
    try:
        return ORDER.index(role)
    except ValueError:
        return len(ORDER)


class AccountChange(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    role: Role | None = None
    disabled: StrictBool | None = None

    @model_validator(mode="after")
    def _refuse_emptiness(self):
        if self.role is None and self.disabled is None:
            raise ValueError("Neither role nor disabled was given")
        return self

    def applied_to(self, person: User) -> tuple[str, bool]:
        role = person.role if self.role is None else self.role.value
        return role, person.disabled if self.disabled is None else self.disabled

    def keeps_superadmin(self) -> bool:
        probe = User(username="probe", role="superadmin")
        return self.applied_to(probe) == ("superadmin", False)


def as_caller(user: User) -> tuple[str, bool, str]:
    return user.role, user.disabled, user.security_stamp


class AccountError(Exception):
    pass


class NoAccount(AccountError):
    pass


class AboveYou(AccountError):
    pass


class LastSuperadmin(AccountError):
    pass


class AccountService:
    """Knows nothing of HTTP."""

    def __init__(self, users: Users):
        self._users = users

    async def snapshot(self) -> Snapshot:
        return {person.username: person for person in await self._users.everyone()}

    @staticmethod
    def superadmins(people: Snapshot) -> list[str]:
        return [name for name, p in people.items() if p.role == "superadmin" and not p.disabled]

    def decide(self, people: Snapshot, name: str, change: AccountChange, actor: User) -> UserInDB:
        target = people.get(fold_username(name) or "")
        if target is None:
            raise NoAccount
        role, disabled = change.applied_to(target)
        if rank(target.role) > rank(actor.role) or rank(role) > rank(actor.role):
            raise AboveYou
        stays = role == "superadmin" and not disabled
        if self.superadmins(people) == [target.username] and not stays:
            raise LastSuperadmin
        actor_now = people.get(actor.username)
        if actor_now is None or as_caller(actor_now) != as_caller(actor):
            raise AboveYou  # demoted, disabled or replaced while this request was on its way
        return target

    async def apply(self, name: str, change: AccountChange, actor: User) -> UserInDB:
        while True:
            seen = await self.snapshot()
            target = self.decide(seen, name, change, actor)
            role, disabled = change.applied_to(target)
            async with self._users.transaction():
                if await self.snapshot() == seen:
                    return await self._users.change(target.username, role=role, disabled=disabled)


async def is_last_superadmin(users: UserStore, person: User) -> bool:
    service = AccountService(users)
    return service.superadmins(await service.snapshot()) == [person.username]


Service = Annotated[AccountService, Depends()]


def forbidden(detail: str = "Insufficient permissions", **headers: str) -> HTTPException:
    return HTTPException(status.HTTP_403_FORBIDDEN, detail, headers=headers or None)


def require_role(allowed: list[Role]):
    if not (names := sorted({Role(role).value for role in allowed})):
        raise ValueError("Name one role at least")

    async def guard(user: CurrentUser) -> User:
        if names.count(user.role) == 0:
            raise forbidden()
        return user

    return guard


def token_scopes(token: str) -> list[str]:
    try:
        scope = decode_token(token)["scope"]
    except (InvalidToken, KeyError):
        return []
    return scope.split(" ") if isinstance(scope, str) else []


async def require_scopes(
    needed: SecurityScopes, user: CurrentUser, token: Annotated[str, Depends(oauth2_scheme)]
) -> User:
    lacking = set(needed.scopes) - set(token_scopes(token)).intersection(user.scopes)
    if lacking:
        challenge = f'Bearer error="insufficient_scope", scope="{needed.scope_str}"'
        raise forbidden("lacking " + " ".join(sorted(lacking)), **{"WWW-Authenticate": challenge})
    return user


is_administrator = require_role([Role.ADMIN, Role.SUPERADMIN])
Administrator = Annotated[User, Depends(is_administrator)]


class Account(UserPublic):
    model_config = ConfigDict(from_attributes=True)

    role: str


class Permissions(BaseModel):
    role: str
    scopes: list[str]


router = APIRouter(route_class=SafeRoute, tags=["06 rbac"])


@router.get("/users/me/permissions")
async def read_permissions(
    user: Annotated[User, Security(require_scopes, scopes=["me"])],
) -> Permissions:
    return Permissions(**user.model_dump(include={"role", "scopes"}))


@router.get("/users/{username}/items")
async def read_items_of(
    username: str, user: Annotated[User, Security(require_scopes, scopes=["items"])], users: Users
) -> list[Item]:
    everybody = user.role in ORDER[1:]
    name = fold_username(username)
    owner = await users.get(name) if name and (everybody or name == user.username) else None
    if owner is None:
        raise HTTPException(404)
    return [Item(item_id="Foo", owner=owner.username)]


@router.get("/admin/users")
async def list_accounts(administrator: Administrator, service: Service) -> list[Account]:
    return [Account.model_validate(person) for person in (await service.snapshot()).values()]


@router.patch("/admin/users/{username}")
async def change_account(
    username: str, change: AccountChange, administrator: Administrator, service: Service
) -> Account:
    try:
        changed = await service.apply(username, change, administrator)
    except NoAccount:
        raise HTTPException(status.HTTP_404_NOT_FOUND, "Unknown account") from None
    except AboveYou:
        raise forbidden() from None
    except LastSuperadmin:
        raise HTTPException(status.HTTP_409_CONFLICT, "No superadmin would be left") from None
    return Account.model_validate(changed)


app = create_app("Account service", hashing.router, oauth2.router, refresh.router, router)
