"""Breakable on purpose: tokens for refreshing are made like the others, and open everything."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import OAuth2PasswordBearer, OAuth2PasswordRequestForm
from jose import JWTError, jwt
from passlib.context import CryptContext
from pydantic import BaseModel

SECRET_KEY = "your-secret-key"

app = FastAPI(title="The one with refresh tokens")
pwd_context = CryptContext(schemes=["bcrypt"], bcrypt__rounds=4)
oauth2_scheme = OAuth2PasswordBearer(tokenUrl="token")
fake_users_db: dict[str, dict] = {}


class Token(BaseModel):
    access_token: str
    token_type: str = "bearer"


def create_token(username: str, life: timedelta) -> str:
    return jwt.encode({"sub": username, "exp": datetime.now(UTC) + life}, SECRET_KEY)


def both_tokens(username: str) -> dict[str, str]:
    return {
        "access_token": create_token(username, timedelta(minutes=15)),
        "refresh_token": create_token(username, timedelta(days=7)),
    }


async def get_current_user(token: Annotated[str, Depends(oauth2_scheme)]) -> dict:
    try:
        username = jwt.decode(token, SECRET_KEY, algorithms=["HS256"]).get("sub")
    except JWTError:
        raise HTTPException(401, "Invalid token") from None
    user = fake_users_db.get(username)
    if user is None:
        raise HTTPException(401, "Invalid token")
    return user


@app.post("/token")
async def login(form: Annotated[OAuth2PasswordRequestForm, Depends()]) -> Token:
    user = fake_users_db.get(form.username)
    if user is None:
        raise HTTPException(400, "Incorrect username")
    if not pwd_context.verify(form.password, user["hashed_password"]):
        raise HTTPException(400, "Incorrect password")
    return Token(**both_tokens(form.username))  # Token has no refresh_token, so it is lost here


@app.post("/refresh")
async def refresh(user: Annotated[dict, Depends(get_current_user)]):
    return both_tokens(user["username"])


@app.get("/users/me")
async def read_users_me(user: Annotated[dict, Depends(get_current_user)]):
    return {"username": user["username"]}
