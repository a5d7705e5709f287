"""Breakable on purpose: a token that was good once is good for ever."""

from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import OAuth2PasswordBearer
from jose import JWTError, jwt
from passlib.context import CryptContext
from pydantic import BaseModel

SECRET_KEY = "jwt-secret-123"

app = FastAPI(title="The ten minutes")
pwd_context = CryptContext(schemes=["bcrypt"], bcrypt__rounds=4)
oauth2_scheme = OAuth2PasswordBearer(tokenUrl="login")
fake_users_db: dict[str, dict] = {}


class Credentials(BaseModel):
    username: str
    password: str


@app.post("/login")
async def login(credentials: Credentials):
    user = fake_users_db.get(credentials.username)
    if user is None or not pwd_context.verify(credentials.password, user["hashed_password"]):
        raise HTTPException(401, "Invalid credentials")
    return {"access_token": jwt.encode({"sub": credentials.username}, SECRET_KEY)}


async def get_current_user(token: Annotated[str, Depends(oauth2_scheme)]) -> dict:
    try:
        claims = jwt.decode(token, SECRET_KEY, algorithms=["HS256"])
    except JWTError:
        raise HTTPException(401, "Invalid token") from None
    username = claims["sub"]
    if username not in fake_users_db or fake_users_db[username]["disabled"]:
        raise HTTPException(401, "Invalid token")
    return fake_users_db[username]


@app.get("/users/me")
async def read_users_me(user: Annotated[dict, Depends(get_current_user)]):
    return {"username": user["username"]}
