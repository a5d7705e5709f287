"""Alternative: an own Pydantic form with extra rules, own exception, JSONResponses built by hand."""

import secrets
from functools import lru_cache
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Form
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field, SecretStr

from solutions import hashing
from solutions.support.apps import create_app
from solutions.support.passwords import MAX_PASSWORD_CHARACTERS
from solutions.support.safe_route import SafeRoute
from solutions.support.settings import get_settings
from solutions.support.threads import run_hashing
from solutions.tokens import create_access_token
from solutions.stores.users import User, UserStore, get_users


class Credentials(BaseModel):
    """RFC 6749 section 4.3.2. What a client sends besides (scope, client_id) is ignored."""

    grant_type: Literal["password"] | None = None
    username: str
    # Nobody can have registered a longer one, whoever they are (CWE-400).
    password: SecretStr = Field(max_length=MAX_PASSWORD_CHARACTERS)


class Token(BaseModel):
    access_token: str
    token_type: Literal["bearer"] = "bearer"
    expires_in: int


class LoginRefused(Exception):
    """Carries no reason, so none can slip out."""


@lru_cache
def get_dummy_hash() -> str:
    return hashing.hash_password(secrets.token_urlsafe(32))


def compare(password: str, reference: str | None) -> tuple[bool, str | None]:
    return hashing.verify_and_upgrade(password, (reference, get_dummy_hash())[reference is None])


async def admit(users: UserStore, username: str, password: str) -> User:
    """Return the person or raise LoginRefused, after one verification in any case."""
    person = await users.get(username)
    usable = person is not None and not person.disabled
    reference = person.hashed_password if usable else None
    correct, replacement = await run_hashing(compare, password, reference)
    if not (usable and correct):
        raise LoginRefused
    if replacement:
        await users.replace_hash(person.username, old=reference, new=replacement)
    return person


async def authenticate_user(users: UserStore, username: str, password: str) -> User | None:
    try:
        return await admit(users, username, password)
    except LoginRefused:
        return None


def no_store(body: dict, status_code: int = 200, **headers: str) -> JSONResponse:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return JSONResponse(body, status_code, {"Cache-Control": "no-store", **names})


router = APIRouter(route_class=SafeRoute, tags=["03 login"])


@router.post("/token", response_model=Token)
async def login(
    credentials: Annotated[Credentials, Form()], users: Annotated[UserStore, Depends(get_users)]
) -> JSONResponse:
    try:
        person = await admit(
            users, credentials.username, credentials.password.get_secret_value()
        )
    except LoginRefused:
        refusal = {"detail": "Incorrect username or password"}
        return no_store(refusal, 401, WWW_Authenticate="Bearer")
    token = create_access_token({"sub": person.username, "stamp": person.security_stamp})
    minutes = get_settings().access_token_expire_minutes
    return no_store({"access_token": token, "token_type": "bearer", "expires_in": minutes * 60})


app = create_app("Lesson 03: login", hashing.router, router)
