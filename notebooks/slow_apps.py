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
from solutions.apps import create_app
from solutions.login import Token, authenticate_user
from solutions.settings import get_settings
from solutions.tokens import create_access_token
from solutions.users import UserStore, get_users

Form = Annotated[OAuth2PasswordRequestForm, Depends()]
Users = Annotated[UserStore, Depends(get_users)]


async def login_inline(form: Form, users: Users) -> Token:
    """Log in, while nothing else moves."""
    return _log_in(form, users)


def login_in_a_thread(form: Form, users: Users) -> Token:
    """Log in, in one of the forty threads that FastAPI has for plain `def`."""
    return _log_in(form, users)


def _log_in(form: OAuth2PasswordRequestForm, users: UserStore) -> Token:
    user = authenticate_user(users, form.username, form.password)
    if user is None:
        raise HTTPException(
            status.HTTP_401_UNAUTHORIZED,
            "Incorrect username or password",
            headers={"WWW-Authenticate": "Bearer"},
        )
    return Token(
        access_token=create_access_token({"sub": user.username, "stamp": user.security_stamp}),
        expires_in=get_settings().access_token_expire_minutes * 60,
    )


def _app(title: str, login: Callable[..., object]) -> FastAPI:
    router = APIRouter()
    router.post("/token")(login)
    return create_app(title, hashing.router, oauth2.router, router)


inline = _app("The hash on the event loop", login_inline)
threads = _app("The hash in forty threads", login_in_a_thread)
