"""Breakable on purpose: lesson 04's app with two other logins, for the demo of lesson 03.

`python -m tests.load` shows what the first one costs, too.

They verify as the workbook's login does. Where they do it is what most tutorials print: on the
event loop (`inline`), or in as many threads as FastAPI has (`threads`).
"""

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, HTTPException, status
from fastapi.security import OAuth2PasswordRequestForm

from solutions import hashing, oauth2
from solutions.login import Token, check_password
from solutions.stores.users import UserInDB, Users
from solutions.support.apps import create_app
from solutions.support.settings import get_settings
from solutions.tokens import create_access_token

Form = Annotated[OAuth2PasswordRequestForm, Depends()]


async def find_person(form: Form, users: Users) -> UserInDB | None:
    """Return whoever wants to log in, if there is such a person."""
    return await users.get(form.username)


Person = Annotated[UserInDB | None, Depends(find_person)]


async def login_inline(form: Form, person: Person) -> Token:
    """Log in, while nothing else moves."""
    return _log_in(form, person)


def login_in_a_thread(form: Form, person: Person) -> Token:
    """Log in, in one of the forty threads that FastAPI has for plain `def`."""
    return _log_in(form, person)


def _log_in(form: OAuth2PasswordRequestForm, person: UserInDB | None) -> Token:
    hashed = person.hashed_password if person and not person.disabled else None
    correct, _ = check_password(form.password, hashed)
    if person is None or not correct:
        raise HTTPException(
            status.HTTP_401_UNAUTHORIZED,
            "Incorrect username or password",
            headers={"WWW-Authenticate": "Bearer"},
        )
    return Token(
        access_token=create_access_token({"sub": person.username, "stamp": person.security_stamp}),
        expires_in=get_settings().access_token_expire_minutes * 60,
    )


def _app(title: str, login: Callable[..., object]) -> FastAPI:
    router = APIRouter()
    router.post("/token")(login)
    return create_app(title, hashing.router, oauth2.router, router)


inline = _app("The hash on the event loop", login_inline)
threads = _app("The hash in forty threads", login_in_a_thread)
