"""Writes first and looks at what came of it: whatever must not be is an exception, which undoes it."""

from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Security
from fastapi.security import SecurityScopes

from solutions import hashing, oauth2, refresh
from solutions.oauth2 import CurrentUser, Item, oauth2_scheme
from solutions.stores.users import User, UserInDB, UserStore, Users
from solutions.support.accounts import Account, AccountChange, Permissions
from solutions.support.apps import create_app
from solutions.support.roles import Role, rank
from solutions.support.safe_route import SafeRoute
from solutions.tokens import InvalidToken, decode_token

STAFF = {"admin", "superadmin"}


def require_role(allowed: list[Role]):
    names = [Role(each) for each in allowed]
    if not names:
        raise ValueError("whom should it let in?")

    async def check_role(user: CurrentUser) -> User:
        if user.role in names:
            return user
        raise HTTPException(403, "Insufficient permissions")

    return check_role


def token_scopes(token: str) -> list[str]:
    try:
        scope = decode_token(token).get("scope")
    except InvalidToken:
        return []
    return [word for word in scope.split(" ") if word] if isinstance(scope, str) else []


async def require_scopes(
    needed: SecurityScopes, token: Annotated[str, Depends(oauth2_scheme)], user: CurrentUser
) -> User:
    words = token_scopes(token)
    for scope in needed.scopes:
        if words.count(scope) and user.scopes.count(scope):
            continue
        header = f'Bearer realm="workbook", error="insufficient_scope", scope="{needed.scope_str}"'
        raise HTTPException(403, f"Lacks {scope}", {"WWW-Authenticate": header})
    return user


router = APIRouter(route_class=SafeRoute)


@router.get("/users/me/permissions")
async def read_permissions(user: Annotated[User, Security(require_scopes, scopes=["me"])]):
    return Permissions(role=user.role, scopes=user.scopes)


@router.get("/users/{username}/items")
async def read_items_of(
    username: str, user: Annotated[User, Security(require_scopes, scopes=["items"])], users: Users
) -> list[Item]:
    person = await users.get(username)
    if person and (person.username == user.username or user.role in STAFF):
        return [Item(item_id="Foo", owner=person.username)]
    raise HTTPException(404, "Not here")


@router.get("/admin/users")
async def list_accounts(
    _: Annotated[User, Depends(require_role([Role.ADMIN, Role.SUPERADMIN]))], users: Users
) -> list[Account]:
    people = await users.everyone()
    return [Account(**person.model_dump()) for person in people]


async def still_there(users: UserStore, user: User) -> UserInDB:
    """Who asks, as stored before anything is written. It may be the account that changes."""
    person = await users.get(user.username)
    if (
        person is None
        or person.disabled
        or person.role not in STAFF
        or person.security_stamp != user.security_stamp
    ):
        raise HTTPException(403, "Insufficient permissions")
    return person


@router.patch("/admin/users/{username}")
async def change_account(
    username: str,
    change: AccountChange,
    user: Annotated[User, Depends(require_role([Role.SUPERADMIN, Role.ADMIN]))],
    users: Users,
) -> Account:
    async with users.transaction():
        before = {person.username: person for person in await users.everyone()}
        caller = await still_there(users, user)
        after = await users.change(username, **change.model_dump(exclude_none=True))
        if after is None:
            raise HTTPException(404, "No such account")
        ranks = [rank(before[after.username].role), rank(after.role)]
        if max(ranks) > rank(caller.role):
            raise HTTPException(403, "Insufficient permissions")
        left = [p for p in await users.everyone() if p.role == "superadmin" and not p.disabled]
        had = [p for p in before.values() if p.role == "superadmin" and not p.disabled]
        if had and not left:
            raise HTTPException(409, "That was the last superadmin")
    return Account(**after.model_dump())


app = create_app("Write, then check", hashing.router, oauth2.router, refresh.router, router)
