"""Breakable on purpose: notes, in an app that a factory makes, mounted within another one.

Guarded with care, but for one route of the administrators that was forgotten, and notes that
anybody may read who guesses a number.
"""

import os
import secrets
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Annotated

import bcrypt
from fastapi import APIRouter, Depends, FastAPI, HTTPException
from fastapi.security import OAuth2PasswordBearer, OAuth2PasswordRequestForm
from pydantic import BaseModel

LIFE, FAILURES, WINDOW = 1800, 5, 60
DUMMY_HASH = bcrypt.hashpw(b"nobody", bcrypt.gensalt())


@dataclass
class Person:
    username: str
    hashed: bytes
    is_admin: bool = False


@dataclass
class Store:
    """Lives as long as the app."""

    people: dict[str, Person]
    tokens: dict[str, tuple[str, float]] = field(default_factory=dict)
    failures: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    notes: dict[int, tuple[str, str]] = field(default_factory=dict)


class Note(BaseModel):
    text: str


class NewPassword(BaseModel):
    current: str
    new: str


store: Store
router = APIRouter(prefix="/v1")
oauth2_scheme = OAuth2PasswordBearer(tokenUrl="/api/v1/token")


def current_person(token: Annotated[str, Depends(oauth2_scheme)]) -> Person:
    username, end = store.tokens.get(token, ("", 0.0))
    if username not in store.people or time.time() > end:
        raise HTTPException(401, "Not logged in", {"WWW-Authenticate": "Bearer"})
    return store.people[username]


Current = Annotated[Person, Depends(current_person)]


def current_admin(person: Current) -> Person:
    if not person.is_admin:
        raise HTTPException(403, "Administrators only")
    return person


@router.post("/token")
def log_in(form: Annotated[OAuth2PasswordRequestForm, Depends()]) -> dict[str, str]:
    now = time.time()
    recent = [each for each in store.failures[form.username] if each > now - WINDOW]
    if len(recent) >= FAILURES:
        wait = int(recent[0] + WINDOW - now) + 1
        raise HTTPException(429, "Too many attempts", {"Retry-After": str(wait)})
    person = store.people.get(form.username)
    correct = bcrypt.checkpw(form.password.encode(), person.hashed if person else DUMMY_HASH)
    if person is None or not correct:
        store.failures[form.username] = [*recent, now]
        raise HTTPException(401, "Wrong name or password", {"WWW-Authenticate": "Bearer"})
    token = secrets.token_urlsafe(32)
    store.tokens[token] = (person.username, now + LIFE)
    return {"access_token": token, "token_type": "bearer"}


def end_sessions(username: str) -> None:
    store.tokens = {token: kept for token, kept in store.tokens.items() if kept[0] != username}


@router.post("/logout", status_code=204)
def log_out(token: Annotated[str, Depends(oauth2_scheme)], person: Current) -> None:
    del store.tokens[token]


@router.get("/me")
def read_me(person: Current) -> dict[str, str]:
    return {"username": person.username}


@router.put("/me/password", status_code=204)
def change_password(person: Current, body: NewPassword) -> None:
    if not bcrypt.checkpw(body.current.encode(), person.hashed):
        raise HTTPException(400, "Wrong password")
    person.hashed = bcrypt.hashpw(body.new.encode(), bcrypt.gensalt())
    end_sessions(person.username)


@router.post("/notes", status_code=201)
def write_note(person: Current, note: Note) -> dict[str, int]:
    number = len(store.notes) + 1
    store.notes[number] = (person.username, note.text)
    return {"id": number}


@router.get("/notes/{number}")
def read_note(person: Current, number: int) -> Note:
    if number not in store.notes:
        raise HTTPException(404, "No such note")
    return Note(text=store.notes[number][1])


@router.get("/admin/people", dependencies=[Depends(current_admin)])
def list_people() -> list[str]:
    return list(store.people)


@router.get("/admin/export")
def export() -> list[dict[str, str]]:
    return [{"name": each.username, "hash": each.hashed.decode()} for each in store.people.values()]


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Read who there is. Nobody signs up here."""
    global store
    secret = os.environ["NOTES_PASSWORD"].encode()
    hashed = bcrypt.hashpw(secret, bcrypt.gensalt())
    store = Store({"root": Person("root", hashed, is_admin=True)})
    yield


def create_app() -> FastAPI:
    inner = FastAPI(title="Notes")
    inner.include_router(router)
    outer = FastAPI(title="The house", lifespan=lifespan)
    outer.mount("/api", inner)
    return outer


def add(username: str, email: str, password: str) -> None:
    """Nobody can sign up here."""
    store.people[username] = Person(username, bcrypt.hashpw(password.encode(), bcrypt.gensalt()))


def remove(username: str) -> None:
    del store.people[username]
