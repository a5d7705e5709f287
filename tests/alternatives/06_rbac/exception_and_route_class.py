"""Refusals are exceptions of our own; a route class turns them into answers. Mended: the rank is read in the transaction."""

import logging
from enum import Enum, unique
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Request, Response, Security
from fastapi.responses import JSONResponse
from fastapi.security import SecurityScopes
from pydantic import BaseModel, ConfigDict, StrictBool, field_validator, model_validator

from solutions import hashing, oauth2, refresh
from solutions.support.apps import create_app
from solutions.oauth2 import CurrentUser, Item, UserPublic, oauth2_scheme
from solutions.support.safe_route import SafeRoute
from solutions.tokens import InvalidToken, decode_token
from solutions.stores.users import User, UserStore, get_users

log = logging.getLogger(__name__)
Users = Annotated[UserStore, Depends(get_users)]


class Refusal(HTTPException):
    """We know who asks, and the answer is no. On a foreign app it is still an HTTPException."""

    status = 403
    text = "Insufficient permissions"
    code = "forbidden"

    def __init__(self, **headers: str) -> None:
        super().__init__(self.status, self.text, headers)


class Hidden(Refusal):
    status, text, code = 404, "Not Found", "not_found"


class LastOne(Refusal):
    status, text, code = 409, "Somebody has to stay in charge", "last_superadmin"


class TooNarrow(Refusal):
    text, code = "The token was not made for this", "insufficient_scope"

    def __init__(self, needed: str) -> None:
        super().__init__(
            **{"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{needed}"'}
        )


class RefusingRoute(SafeRoute):
    def get_route_handler(self):
        inner = super().get_route_handler()

        async def handler(request: Request) -> Response:
            try:
                return await inner(request)
            except Refusal as no:
                log.info("refused: %s", no.code)
                return JSONResponse(
                    {"detail": no.detail, "code": no.code},
                    no.status_code,
                    {"Cache-Control": "no-store", **no.headers},
                )

        return handler


@unique
class Role(str, Enum):
    USER = "user"
    ADMIN = "admin"
    SUPERADMIN = "superadmin"

    @classmethod
    def find(cls, text: str) -> "Role | None":
        return next((role for role in cls if role.value == text), None)


def rank(role: str) -> int:
    match Role.find(role):
        case Role.USER:
            return 0
        case Role.ADMIN:
            return 1
        case Role.SUPERADMIN:
            return 2
    return 3


def require_role(allowed: list[Role]):
    if not allowed:
        raise ValueError("require_role([]) would guard nothing")
    wanted = [Role(each) for each in allowed]

    def check_role(user: CurrentUser) -> User:
        if Role.find(user.role) in wanted:
            return user
        raise Refusal

    return check_role


def token_scopes(token: str) -> list[str]:
    try:
        claims = decode_token(token)
    except InvalidToken:
        claims = {}
    match claims:
        case {"scope": str(text)}:
            return text.split(" ")
    return []


async def require_scopes(
    user: CurrentUser, security_scopes: SecurityScopes, token: str = Depends(oauth2_scheme)
) -> User:
    granted = token_scopes(token)
    if all(each in granted and each in user.scopes for each in security_scopes.scopes):
        return user
    raise TooNarrow(security_scopes.scope_str)


Administrator = Annotated[User, Depends(require_role([Role.ADMIN, Role.SUPERADMIN]))]


class Account(UserPublic):
    role: str


class AccountChange(BaseModel):
    model_config = ConfigDict(extra="forbid", use_enum_values=True)

    role: Role | None = None
    disabled: StrictBool | None = None

    @field_validator("role", mode="before")
    @classmethod
    def only_text(cls, value):
        if value is not None and not isinstance(value, str):
            raise ValueError("a role is a text")
        return value

    @model_validator(mode="after")
    def any_at_all(self):
        if (self.role, self.disabled) == (None, None):
            raise ValueError("say what to change")
        return self

    def keeps_superadmin(self) -> bool:
        return not self.disabled and self.role in (None, "superadmin")


class Permissions(BaseModel):
    role: str
    scopes: list[str]


router = APIRouter(route_class=RefusingRoute, tags=["roles"])


@router.get("/users/me/permissions")
async def read_permissions(
    me: Annotated[User, Security(require_scopes, scopes=["me"])],
) -> Permissions:
    return Permissions(role=me.role, scopes=me.scopes)


@router.get("/users/{username}/items")
async def read_items_of(
    username: str, me: Annotated[User, Security(require_scopes, scopes=["items"])], users: Users
) -> list[Item]:
    owner = await users.get(username)
    if owner is None:
        raise Hidden
    if owner.username != me.username and Role.find(me.role) not in (Role.ADMIN, Role.SUPERADMIN):
        raise Hidden
    return [Item(item_id="Foo", owner=owner.username)]


@router.get("/admin/users", dependencies=[Depends(require_role([Role.ADMIN, Role.SUPERADMIN]))])
async def list_accounts(users: Users) -> list[Account]:
    return [Account(**dict(person)) for person in await users.everyone()]


async def is_last_superadmin(users: UserStore, person: User) -> bool:
    def counts(each: User) -> bool:
        return Role.find(each.role) is Role.SUPERADMIN and not each.disabled

    others = [each for each in await users.everyone() if each.username != person.username]
    return counts(person) and not any(map(counts, others))


@router.patch("/admin/users/{username}")
async def change_account(
    username: str, change: AccountChange, administrator: Administrator, users: Users
) -> Account:
    async with users.transaction():
        if (person := await users.get(username)) is None:
            raise Hidden
        me = await users.get(administrator.username)
        if me is None or me.disabled or me.security_stamp != administrator.security_stamp:
            raise Refusal
        if rank(me.role) not in (1, 2):
            raise Refusal
        if max(rank(person.role), rank(change.role or "user")) > rank(me.role):
            raise Refusal
        if await is_last_superadmin(users, person) and not change.keeps_superadmin():
            raise LastOne
        person = await users.change(username, **change.model_dump(exclude_none=True))
    return Account(**dict(person))


app = create_app("Refusals", hashing.router, oauth2.router, refresh.router, router)
