"""The guards of the door are asked once more inside the transaction, with the same token."""

from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Request, Security, status
from fastapi.security import SecurityScopes

from solutions import hashing, oauth2, refresh
from solutions.oauth2 import Item, get_current_active_user, get_current_user, oauth2_scheme
from solutions.stores.users import User, Users, UserStore
from solutions.support.accounts import Account, AccountChange, Permissions
from solutions.support.apps import create_app
from solutions.support.roles import Role, is_last_superadmin, rank
from solutions.support.safe_route import SafeRoute
from solutions.support.scopes import split_scopes
from solutions.tokens import InvalidToken, decode_token

Token = Annotated[str, Depends(oauth2_scheme)]
NO = HTTPException(status.HTTP_403_FORBIDDEN, "Insufficient permissions")


class Caller:
    """Who sent the token, as stored whenever `now` is awaited."""

    def __init__(self, token: Token, users: Users) -> None:
        self.token, self.users = token, users

    async def now(self) -> User:
        return await get_current_active_user(await get_current_user(self.token, self.users))

    async def scopes(self) -> set[str]:
        user = await self.now()
        return set(token_scopes(self.token)).intersection(user.scopes)


def require_role(allowed: list[Role]):
    if [] == list(allowed):
        raise ValueError("no role is allowed")
    roles = tuple(Role(role).value for role in allowed)

    async def check_role(caller: Annotated[Caller, Depends()]) -> User:
        user = await caller.now()
        if user.role not in roles:
            raise NO
        return user

    return check_role


def token_scopes(token: str) -> list[str]:
    try:
        claims = decode_token(token)
    except InvalidToken:
        return []
    return split_scopes(claims["scope"]) if isinstance(claims.get("scope"), str) else []


async def require_scopes(needed: SecurityScopes, caller: Annotated[Caller, Depends()]) -> User:
    user = await caller.now()
    if set(needed.scopes) - await caller.scopes():
        raise HTTPException(
            status.HTTP_403_FORBIDDEN,
            {"needs": needed.scopes},
            {"WWW-Authenticate": f'Bearer scope="{needed.scope_str}", error="insufficient_scope"'},
        )
    return user


administrators = require_role([Role.ADMIN, Role.SUPERADMIN])
router = APIRouter(route_class=SafeRoute, tags=["06 rbac"])


@router.get("/users/me/permissions", response_model=Permissions)
async def read_permissions(user: Annotated[User, Security(require_scopes, scopes=["me"])]):
    return user.model_dump(include={"role", "scopes"})


@router.get("/users/{username}/items", response_model=list[Item])
async def read_items_of(
    request: Request, users: Users, user: Annotated[User, Security(require_scopes, scopes=["items"])]
):
    owner = await users.get(request.path_params["username"])
    match owner, user.role:
        case None, _:
            pass
        case _, Role.ADMIN | Role.SUPERADMIN:
            return [Item(item_id="Foo", owner=owner.username)]
        case _ if owner.username == user.username:
            return [Item(item_id="Foo", owner=owner.username)]
    raise HTTPException(status.HTTP_404_NOT_FOUND)


@router.get("/admin/users", dependencies=[Depends(administrators)])
async def list_accounts(users: Users) -> list[Account]:
    return [Account(**person.model_dump()) for person in await users.everyone()]


async def rank_now(caller: Caller) -> int:
    """The caller's rank, by asking the guards again; their refusal is ours."""
    try:
        return rank((await administrators(caller)).role)
    except HTTPException:
        raise NO from None


async def decide(users: UserStore, name: str, change: AccountChange, caller: Caller) -> User:
    held = await rank_now(caller)
    if (person := await users.get(name)) is None:
        raise HTTPException(status.HTTP_404_NOT_FOUND, "Nobody")
    wanted = change.role or person.role
    if rank(person.role) > held or rank(wanted) > held:
        raise NO
    if not change.keeps_superadmin() and await is_last_superadmin(users, person):
        raise HTTPException(status.HTTP_409_CONFLICT, "One has to stay")
    return person


@router.patch("/admin/users/{username}", dependencies=[Depends(administrators)])
async def change_account(
    username: str, change: AccountChange, users: Users, caller: Annotated[Caller, Depends()]
) -> Account:
    async with users.transaction():
        await decide(users, username, change, caller)
        await users.change(username, **change.model_dump(exclude_none=True))
        stored = await users.get(username)
    return Account(**stored.model_dump())


app = create_app(
    "Guards, twice", hashing.router, oauth2.router, oauth2.demo_router, refresh.router, router
)
