"""What FastAPI's documentation arrives at: its security tutorial's app with hashes and JWT.

For `python -m tests.load`. Typed anew from what that app does, in its order and with its tools: a
dict for people, a model made of it at each request, pwdlib's recommended hash, a token with `sub`
and `exp`, two `async def` dependencies, and a response filtered by a model.
"""

import secrets
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import jwt
from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import OAuth2PasswordBearer, OAuth2PasswordRequestForm
from pwdlib import PasswordHash
from pydantic import BaseModel

KEY = secrets.token_hex(32)
ALGORITHM = "HS256"
LIFETIME = timedelta(minutes=30)

password_hash = PasswordHash.recommended()
oauth2_scheme = OAuth2PasswordBearer(tokenUrl="token")
app = FastAPI()

fake_users_db: dict[str, dict[str, Any]] = {
    "johndoe": {
        "username": "johndoe",
        "full_name": "John Doe",
        "email": "johndoe@example.com",
        "hashed_password": password_hash.hash("secret"),
        "disabled": False,
    }
}


class User(BaseModel):
    """A person."""

    username: str
    email: str | None = None
    full_name: str | None = None
    disabled: bool | None = None


class UserInDB(User):
    """A person as stored."""

    hashed_password: str


class TokenData(BaseModel):
    """What a token says."""

    username: str | None = None


class Token(BaseModel):
    """The answer to a login."""

    access_token: str
    token_type: str


def refused(detail: str) -> HTTPException:
    """Return the tutorial's 401."""
    return HTTPException(401, detail, headers={"WWW-Authenticate": "Bearer"})


def get_user(username: str | None) -> UserInDB | None:
    """Make a person of what the dict has, if it has it."""
    return UserInDB(**fake_users_db[username]) if username in fake_users_db else None


async def get_current_user(token: Annotated[str, Depends(oauth2_scheme)]) -> UserInDB:
    """Return the person that the token names."""
    try:
        claims = jwt.decode(token, KEY, algorithms=[ALGORITHM])
    except jwt.InvalidTokenError:
        raise refused("Could not validate credentials") from None
    user = get_user(TokenData(username=claims.get("sub")).username)
    if user is None:
        raise refused("Could not validate credentials")
    return user


async def get_current_active_user(user: Annotated[User, Depends(get_current_user)]) -> User:
    """Return the caller, unless disabled."""
    if user.disabled:
        raise HTTPException(400, "Inactive user")
    return user


@app.post("/token")
async def login(form: Annotated[OAuth2PasswordRequestForm, Depends()]) -> Token:
    """Exchange a name and a password for a token; the hash runs on the loop, as there."""
    user = get_user(form.username)
    if user is None or not password_hash.verify(form.password, user.hashed_password):
        raise refused("Incorrect username or password")
    claims = {"sub": user.username, "exp": datetime.now(UTC) + LIFETIME}
    return Token(access_token=jwt.encode(claims, KEY, algorithm=ALGORITHM), token_type="bearer")


@app.get("/users/me", response_model=User)
async def read_users_me(user: Annotated[User, Depends(get_current_active_user)]) -> User:
    """Tell the caller who they are."""
    return user
