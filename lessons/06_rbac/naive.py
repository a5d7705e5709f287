"""Breakable on purpose: errors of many tutorials in one file. Never import it, never copy it.

`pytest lessons/06 --naive` shows how mallory gets in.
"""

from enum import StrEnum
from typing import Annotated, Any

import jwt
from fastapi import APIRouter, Depends, HTTPException, Request, Security
from fastapi.security import SecurityScopes
from pydantic import BaseModel, ConfigDict

from solutions import hashing, oauth2, refresh
from solutions.support.apps import create_app
from solutions.oauth2 import oauth2_scheme
from solutions.support.settings import get_settings
from solutions.stores.users import User, UserStore, get_users

Users = Annotated[UserStore, Depends(get_users)]


class Role(StrEnum):
    USER = "user"
    ADMIN = "admin"
    SUPERADMIN = "superadmin"


async def get_claims(token: Annotated[str, Depends(oauth2_scheme)]) -> dict[str, Any]:
    try:
        return jwt.decode(
            token, get_settings().signing_key, algorithms=["HS256"], options={"verify_aud": False}
        )
    except jwt.InvalidTokenError:
        raise HTTPException(
            401, "Could not validate credentials", headers={"WWW-Authenticate": "Bearer"}
        ) from None


Claims = Annotated[dict[str, Any], Depends(get_claims)]


async def get_caller(request: Request, claims: Claims, users: Users) -> User:
    user = await users.get(claims["sub"])
    if user is None:
        raise HTTPException(401, "No such user", headers={"WWW-Authenticate": "Bearer"})
    role = request.headers.get("X-Role") or claims.get("role") or user.role
    return user.model_copy(update={"role": role})


Caller = Annotated[User, Depends(get_caller)]


def require_role(allowed: list[Role]) -> Any:
    async def check_role(user: Caller) -> User:
        if allowed and not any(role in user.role for role in allowed):
            raise HTTPException(403, "Insufficient permissions")
        return user

    return check_role


async def require_scopes(needed: SecurityScopes, claims: Claims, user: Caller) -> User:
    for scope in needed.scopes:
        if scope not in claims.get("scope", ""):
            raise HTTPException(403, "Insufficient scope")
    return user


class Account(BaseModel):
    username: str
    email: str | None
    full_name: str | None
    disabled: bool
    role: str


class AccountChange(BaseModel):
    model_config = ConfigDict(extra="forbid")

    role: Role | None = None
    disabled: bool | None = None
    email: str | None = None
    full_name: str | None = None
    scopes: list[str] | None = None
    hashed_password: str | None = None


router = APIRouter(tags=["06 rbac"])


@router.get("/users/me/permissions")
async def read_permissions(
    user: Annotated[User, Security(require_scopes, scopes=["me"])],
) -> dict[str, Any]:
    return {"role": user.role, "scopes": user.scopes}


@router.get("/users/{username}/items")
async def read_items_of(
    username: str, user: Annotated[User, Security(require_scopes, scopes=["items"])], users: Users
) -> list[dict[str, str]]:
    owner = await users.get(username)
    if owner is None:
        raise HTTPException(404, "User not found")
    if user.role == "user" and owner.username != user.username:
        raise HTTPException(403, "These are not your items")
    return [{"item_id": "Foo", "owner": owner.username}]


@router.get("/admin/users", dependencies=[Depends(require_role([Role.ADMIN]))])
async def list_accounts(users: Users) -> list[Account]:
    return [Account(**person.model_dump()) for person in await users.everyone()]


@router.patch("/admin/users/{username}")
async def change_account(
    username: str, change: AccountChange, user: Caller, users: Users
) -> Account:
    changes = change.model_dump(exclude_none=True)
    if not changes:
        raise HTTPException(422, "Nothing to change")
    person = await users.get(username)
    if person is None:
        raise HTTPException(404, "User not found")
    superadmins = [each for each in await users.everyone() if each.role == Role.SUPERADMIN]
    if change.role and person.role == Role.SUPERADMIN and len(superadmins) == 1:
        raise HTTPException(409, "The last superadmin must stay")
    changed = await users.change(username, **changes)
    return Account(**changed.model_dump())


@router.get("/debug/users", include_in_schema=False)
async def debug(users: Users) -> list[User]:
    return await users.everyone()


app = create_app(
    "Lesson 06: roles", hashing.router, oauth2.router, oauth2.demo_router, refresh.router, router
)
