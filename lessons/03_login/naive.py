"""Breakable on purpose: errors of many tutorials in one file. Never import it, never copy it.

`pytest lessons/03 --naive` shows how mallory gets in.
"""

import logging
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Form, HTTPException, status
from passlib.context import CryptContext
from pydantic import BaseModel

from solutions import hashing
from solutions.support.apps import create_app
from solutions.support.settings import get_settings
from solutions.tokens import create_access_token
from solutions.stores.users import User, UserStore, get_users

logger = logging.getLogger(__name__)
pwd_context = CryptContext(schemes=["bcrypt"], deprecated="auto")


async def authenticate_user(users: UserStore, username: str, password: str) -> User | None:
    user = await users.get(username)
    if not user:
        return None
    if not pwd_context.verify(password, user.hashed_password):
        return None
    return user


class LoginForm(BaseModel):
    username: str
    password: str


class Token(BaseModel):
    access_token: str
    token_type: Literal["bearer"] = "bearer"
    expires_in: int


router = APIRouter(tags=["03 login"])


@router.post("/token")
async def login(
    form: Annotated[LoginForm, Form()],
    users: Annotated[UserStore, Depends(get_users)],
) -> Token:
    logger.debug("login attempt: %s", vars(form))
    if not await authenticate_user(users, form.username, form.password):
        raise HTTPException(
            status.HTTP_401_UNAUTHORIZED,
            "Incorrect username or password",
            headers={"WWW-Authenticate": "Bearer"},
        )
    user = await users.get(form.username)
    if user.disabled:
        raise HTTPException(status.HTTP_400_BAD_REQUEST, "Inactive user")
    return Token(
        access_token=create_access_token(
            {"sub": user.username, "stamp": user.security_stamp, "email": user.email}
        ),
        expires_in=get_settings().access_token_expire_minutes * 60,
    )


app = create_app("Lesson 03: login", hashing.router, router)
