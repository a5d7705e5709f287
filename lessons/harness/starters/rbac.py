"""Lesson 06. What may this person do? Roles, owners and scopes, asked at every request."""

from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Security, status
from fastapi.security import SecurityScopes

from solutions import hashing, oauth2, refresh
from solutions.oauth2 import CurrentUser, Item, oauth2_scheme
from solutions.stores.users import User, Users
from solutions.support.accounts import Account, AccountChange, Permissions
from solutions.support.apps import create_app
from solutions.support.roles import Role, is_last_superadmin, rank, rank_of
from solutions.support.safe_route import SafeRoute
from solutions.support.scopes import split_scopes
from solutions.support.token_service import decode_token
from solutions.tokens import InvalidToken


def require_role(allowed: list[Role]) -> Callable[[User], Coroutine[Any, Any, User]]:
    """Return a dependency that lets only these roles in, and hands the caller to the route.

    The role is the one in the store at this request (ASVS 8.3.2), and has to be in the list: no
    role brings another one along. Raises ValueError for an empty list or an unknown role: when the
    app starts, not when mallory finds out.
    """
    roles = frozenset(Role(role) for role in allowed)
    if not roles:
        raise ValueError("require_role needs at least one role")

    async def check_role(user: CurrentUser) -> User:
        """Return the caller, or raise 403."""
        raise NotImplementedError("TODO 1: let in only those whose role is one of these")

    return check_role


def token_scopes(token: str) -> list[str]:
    """Return the scopes that a token was granted; none for a token that says nothing of them."""
    try:
        scope = decode_token(token).get("scope")
    except InvalidToken:  # it may expire between two looks at it
        return []
    return split_scopes(scope) if isinstance(scope, str) else []


def insufficient_scope(needed: str) -> HTTPException:
    """Return the 403 that names the scopes which are needed (RFC 6750 section 3.1)."""
    challenge = f'Bearer error="insufficient_scope", scope="{needed}"'
    headers = {"WWW-Authenticate": challenge}
    return HTTPException(status.HTTP_403_FORBIDDEN, "Insufficient scope", headers=headers)


async def require_scopes(
    needed: SecurityScopes, token: Annotated[str, Depends(oauth2_scheme)], user: CurrentUser
) -> User:
    """Let in only a token with every scope that the route names, and return the caller.

    Scopes narrow: what counts is in the token and also among the user's, as they are now. Raises
    `insufficient_scope` with the scopes that are needed.
    """
    raise NotImplementedError("TODO 2: let in only a token with every scope that the route names")


Administrator = Annotated[User, Depends(require_role([Role.ADMIN, Role.SUPERADMIN]))]

router = APIRouter(route_class=SafeRoute, tags=["06 rbac"])


@router.get("/users/me/permissions")
async def read_permissions(
    user: Annotated[User, Security(require_scopes, scopes=["me"])],
) -> Permissions:
    """Tell the caller what the account may do. A token may carry less."""
    return Permissions(role=user.role, scopes=user.scopes)


@router.get("/users/{username}/items")
async def read_items_of(
    username: str, user: Annotated[User, Security(require_scopes, scopes=["items"])], users: Users
) -> list[Item]:
    """List somebody's items, for the owner and for administrators.

    404 for anybody else, whether that user exists or not: a 403 would be a list of accounts to
    whoever tries names (CWE-639, CWE-204).
    """
    raise NotImplementedError("TODO 3: tell a stranger nothing")


@router.get("/admin/users")
async def list_accounts(administrator: Administrator, users: Users) -> list[Account]:
    """List all accounts."""
    return [Account(**person.model_dump()) for person in await users.everyone()]


@router.patch("/admin/users/{username}")
async def change_account(
    username: str, change: AccountChange, administrator: Administrator, users: Users
) -> Account:
    """Change somebody's role, or disable or enable the account.

    404 when there is no such user. 403 for granting more than the caller has, and for an account
    above the caller's (CWE-269). 409 for the last superadmin who can log in. What is checked still
    holds when it is written: both happen in one transaction (CWE-367).
    """
    raise NotImplementedError("TODO 4: check and write in one transaction")


app = create_app(
    "Lesson 06: roles",
    hashing.router,
    oauth2.router,
    oauth2.demo_router,
    refresh.router,
    router,
)
