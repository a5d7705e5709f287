"""No role in the caller's object counts: only names go from the guards to the routes."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, HTTPException, Path, Security
from fastapi.responses import JSONResponse
from fastapi.security import SecurityScopes

from solutions import hashing, oauth2, refresh
from solutions.oauth2 import CurrentUser, Item, oauth2_scheme
from solutions.stores.users import User, UserInDB, UserStore, get_users
from solutions.support.accounts import Account, AccountChange, Permissions
from solutions.support.apps import create_app
from solutions.support.roles import Role
from solutions.support.safe_route import SafeRoute
from solutions.tokens import InvalidToken, decode_token

# who may set which role on an account of which role
REACH: dict[str, set[str]] = {
    "admin": {"user", "admin"},
    "superadmin": {"user", "admin", "superadmin"},
}


def require_role(allowed: list[Role]):
    if not allowed or any(each not in set(Role) for each in allowed):
        raise ValueError(f"not a list of roles: {allowed}")

    async def check_role(user: CurrentUser) -> User:
        if not any(user.role == each.value for each in map(Role, allowed)):
            raise HTTPException(403, "Insufficient permissions")
        return user

    return check_role


def token_scopes(token: str) -> list[str]:
    try:
        scope: Any = decode_token(token).get("scope", "")
    except InvalidToken:
        scope = ""
    return scope.split(" ") if isinstance(scope, str) else []


def require_scopes(
    needed: SecurityScopes, user: CurrentUser, token: str = Depends(oauth2_scheme)
) -> User:
    have = frozenset(user.scopes).intersection(token_scopes(token))
    missing = [scope for scope in needed.scopes if scope not in have]
    if not missing:
        return user
    challenge = f'Bearer error="insufficient_scope", scope="{needed.scope_str}"'
    raise HTTPException(403, "A wider token, please", {"WWW-Authenticate": challenge})


Store = Annotated[UserStore, Depends(get_users)]
Name = Annotated[str, Path(alias="username")]
router = APIRouter(route_class=SafeRoute)


@router.get("/users/me/permissions")
def read_permissions(user: User = Security(require_scopes, scopes=["me"])) -> Permissions:
    return Permissions(role=user.role, scopes=user.scopes)


@router.get("/users/{username}/items")
async def read_items_of(
    name: Name, store: Store, user: User = Security(require_scopes, scopes=["items"])
) -> list[Item]:
    people = {each.username: each for each in await store.everyone()}
    owner = await store.get(name)
    if owner is None or owner.username not in (people if user.role in REACH else {user.username}):
        raise HTTPException(404, "There is nothing")
    return [Item(item_id="Foo", owner=owner.username)]


administrator = require_role([Role.ADMIN, Role.SUPERADMIN])


@router.get("/admin/users", response_model=list[Account])
async def list_accounts(store: Store, _: User = Depends(administrator)) -> Any:
    return [each.model_dump() for each in await store.everyone()]


def refusal(people: dict[str, UserInDB], asked_by: User, target: str, change: AccountChange):
    """The status and the words of a refusal, or None. Everything in one look at everybody."""
    caller = people.get(asked_by.username)
    reach = REACH.get(caller.role, set()) if caller and not caller.disabled else set()
    if not reach or caller.security_stamp != asked_by.security_stamp:
        return 403, "Insufficient permissions"
    person = people[target]
    if not {person.role, str(change.role or person.role)} <= reach:
        return 403, "Insufficient permissions"
    tops = {n for n, p in people.items() if (p.role, p.disabled) == ("superadmin", False)}
    if tops == {target} and not change.keeps_superadmin():
        return 409, "Nobody else could undo it"
    return None


@router.patch("/admin/users/{username}", response_model=Account)
async def change_account(
    name: Name,
    store: Store,
    change: Annotated[AccountChange, Body()],
    asked_by: User = Depends(administrator),
) -> Any:
    async with store.transaction():
        person = await store.get(name)
        if person is None:
            return JSONResponse({"detail": "Unknown"}, 404)
        people = {each.username: each for each in await store.everyone()}
        if no := refusal(people, asked_by, person.username, change):
            return JSONResponse({"detail": no[1]}, no[0])
        changed = await store.change(person.username, **change.model_dump(exclude_none=True))
    return changed.model_dump()


app = create_app("Names only", hashing.router, oauth2.router, refresh.router, router)
