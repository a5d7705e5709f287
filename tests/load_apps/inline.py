"""Lesson 04's app with the login of most tutorials: `async def`, and the hash on the event loop.

For `python -m tests.load`, which shows what it costs everybody else. The rest is the workbook's.
"""

from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, status
from fastapi.security import OAuth2PasswordRequestForm

from solutions import hashing, oauth2
from solutions.apps import create_app
from solutions.login import Token, authenticate_user
from solutions.settings import get_settings
from solutions.tokens import create_access_token
from solutions.users import UserStore, get_users

router = APIRouter()


@router.post("/token")
async def login(
    form: Annotated[OAuth2PasswordRequestForm, Depends()],
    users: Annotated[UserStore, Depends(get_users)],
) -> Token:
    """Exchange a name and a password for an access token, while nothing else moves."""
    user = authenticate_user(users, form.username, form.password)
    if user is None:
        raise HTTPException(status.HTTP_401_UNAUTHORIZED, "Incorrect username or password")
    return Token(
        access_token=create_access_token({"sub": user.username, "stamp": user.security_stamp}),
        expires_in=get_settings().access_token_expire_minutes * 60,
    )


app = create_app("The hash on the loop", hashing.router, oauth2.router, router)
