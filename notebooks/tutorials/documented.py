"""What FastAPI's documentation arrives at (OAuth2 with JWT, as of 0.165), typed anew.

Better than most: PyJWT, Argon2, a token that ends, a dummy hash for unknown names, and the store
asked at each request. Two things are left to the reader: its key is printed, under a comment that
says how to draw one, and its hash runs on the event loop.
"""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import jwt
from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import OAuth2PasswordBearer, OAuth2PasswordRequestForm
from pwdlib import PasswordHash
from pydantic import BaseModel

# Its page says here: to get one of your own, run `openssl rand -hex 32`.
SECRET_KEY = "09d25e094faa6ca2556c818166b7a956" + "3b93f7099f6f0f4caa6cf63b88e8d3e7"
ALGORITHM = "HS256"

app = FastAPI(title="FastAPI's own")
password_hash = PasswordHash.recommended()
DUMMY_HASH = password_hash.hash("dummypassword")
oauth2_scheme = OAuth2PasswordBearer(tokenUrl="token")
fake_users_db: dict[str, dict[str, Any]] = {}


class User(BaseModel):
    username: str
    email: str | None = None
    full_name: str | None = None
    disabled: bool | None = None


class UserInDB(User):
    hashed_password: str


class Token(BaseModel):
    access_token: str
    token_type: str


def verify_password(plain_password: str, hashed_password: str) -> bool:
    return password_hash.verify(plain_password, hashed_password)


def get_password_hash(password: str) -> str:
    return password_hash.hash(password)


def get_user(username: str) -> UserInDB | None:
    return UserInDB(**fake_users_db[username]) if username in fake_users_db else None


def authenticate_user(username: str, password: str) -> UserInDB | None:
    user = get_user(username)
    if user is None:
        verify_password(password, DUMMY_HASH)
        return None
    return user if verify_password(password, user.hashed_password) else None


def create_access_token(data: dict[str, Any], life: timedelta = timedelta(minutes=15)) -> str:
    return jwt.encode({**data, "exp": datetime.now(UTC) + life}, SECRET_KEY, algorithm=ALGORITHM)


def unauthorized(detail: str) -> HTTPException:
    return HTTPException(401, detail, headers={"WWW-Authenticate": "Bearer"})


async def get_current_user(token: Annotated[str, Depends(oauth2_scheme)]) -> UserInDB:
    refusal = unauthorized("Could not validate credentials")
    try:
        username = jwt.decode(token, SECRET_KEY, algorithms=[ALGORITHM]).get("sub")
    except jwt.InvalidTokenError:
        raise refusal from None
    user = None if username is None else get_user(username)
    if user is None:
        raise refusal
    return user


async def get_current_active_user(user: Annotated[User, Depends(get_current_user)]) -> User:
    if user.disabled:
        raise HTTPException(400, "Inactive user")
    return user


CurrentUser = Annotated[User, Depends(get_current_active_user)]


@app.post("/token")
async def login(form: Annotated[OAuth2PasswordRequestForm, Depends()]) -> Token:
    user = authenticate_user(form.username, form.password)
    if user is None:
        raise unauthorized("Incorrect username or password")
    token = create_access_token({"sub": user.username}, timedelta(minutes=30))
    return Token(access_token=token, token_type="bearer")


@app.get("/users/me/")
async def read_users_me(user: CurrentUser) -> User:
    return user


@app.get("/users/me/items/")
async def read_own_items(user: CurrentUser) -> list[dict[str, str]]:
    return [{"item_id": "Foo", "owner": user.username}]
