"""Breakable on purpose: JSON and e-mail addresses. Whoever signs up chooses their own rights.

The login tells which addresses have an account, a refresh token may be used again, and neither a
logout nor a new password ends anything.
"""

import secrets
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import jwt
from fastapi import APIRouter, Depends, FastAPI, Header, HTTPException
from pwdlib import PasswordHash
from pydantic import BaseModel, ConfigDict

KEY = secrets.token_urlsafe(32)
LIVES = {"access": timedelta(minutes=15), "refresh": timedelta(days=14)}

passwords = PasswordHash.recommended()
people: dict[str, dict[str, Any]] = {}
router = APIRouter(prefix="/api/v1")


class Credentials(BaseModel):
    email: str
    password: str


class SignUp(Credentials):
    name: str = ""

    model_config = ConfigDict(extra="allow")


class Profile(BaseModel):
    email: str
    name: str


class NewName(BaseModel):
    name: str


class NewPassword(BaseModel):
    current: str
    new: str


class Refresh(BaseModel):
    refresh: str


def make_tokens(email: str) -> dict[str, dict[str, str]]:
    now = datetime.now(UTC)
    return {
        "data": {
            kind: jwt.encode({"sub": email, "kind": kind, "exp": now + life}, KEY)
            for kind, life in LIVES.items()
        }
    }


def read_token(token: str, kind: str) -> dict[str, Any]:
    try:
        claims = jwt.decode(token, KEY, algorithms=["HS256"], options={"require": ["exp", "sub"]})
    except jwt.InvalidTokenError:
        raise HTTPException(401, "Bad token") from None
    person = people.get(claims["sub"])
    if claims.get("kind") != kind or person is None or not person["active"]:
        raise HTTPException(401, "Bad token")
    return person


def current_person(authorization: Annotated[str, Header()] = "") -> dict[str, Any]:
    scheme, _, token = authorization.partition(" ")
    if scheme != "Token":
        raise HTTPException(401, "Bad token")
    return read_token(token, "access")


def current_admin(person: Annotated[dict[str, Any], Depends(current_person)]) -> dict[str, Any]:
    if not person["is_admin"]:
        raise HTTPException(403, "Administrators only")
    return person


Person = Annotated[dict[str, Any], Depends(current_person)]


@router.post("/users", status_code=201)
async def sign_up(body: SignUp) -> Profile:
    if body.email in people:
        raise HTTPException(409, "This address has an account")
    person = {"is_admin": False, "active": True, **body.model_dump()}
    person["hash"] = passwords.hash(person.pop("password"))
    people[body.email] = person
    return Profile(**person)


@router.post("/auth/login")
async def log_in(body: Credentials) -> dict[str, dict[str, str]]:
    person = people.get(body.email)
    if person is None or not person["active"]:
        raise HTTPException(404, "No account with this address")
    if not passwords.verify(body.password, person["hash"]):
        raise HTTPException(401, "Wrong password")
    return make_tokens(body.email)


@router.post("/auth/refresh")
async def refresh(body: Refresh) -> dict[str, dict[str, str]]:
    return make_tokens(read_token(body.refresh, "refresh")["email"])


@router.post("/auth/logout", status_code=204)
async def log_out(person: Person) -> None:
    """The client forgets its tokens."""


@router.get("/users/me")
async def read_me(person: Person) -> Profile:
    return Profile(**person)


@router.patch("/users/me")
async def change_me(person: Person, body: NewName) -> Profile:
    person["name"] = body.name
    return Profile(**person)


@router.post("/users/me/password", status_code=204)
async def change_password(person: Person, body: NewPassword) -> None:
    if not passwords.verify(body.current, person["hash"]):
        raise HTTPException(400, "Wrong password")
    person["hash"] = passwords.hash(body.new)


@router.delete("/users/me", status_code=204)
async def delete_me(person: Person) -> None:
    del people[person["email"]]


@router.get("/admin/users", dependencies=[Depends(current_admin)])
async def list_people() -> list[Profile]:
    return [Profile(**person) for person in people.values()]


app = FastAPI(title="Addresses")
app.include_router(router)


def disable(username: str) -> None:
    people[username]["active"] = False


def key() -> str:
    return KEY
