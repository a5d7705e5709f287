"""Breakable on purpose: nobody reads `disabled`, and the token outlives its user."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import OAuth2PasswordBearer, OAuth2PasswordRequestForm
from jose import JWTError, jwt
from passlib.context import CryptContext
from pydantic import BaseModel

SECRET_KEY = "my-secret-key"

app = FastAPI(title="The long read")
pwd_context = CryptContext(schemes=["bcrypt"], bcrypt__rounds=4)
oauth2_scheme = OAuth2PasswordBearer(tokenUrl="token")
fake_users_db: dict[str, dict] = {}


class User(BaseModel):
    username: str
    disabled: bool = False


@app.post("/token")
async def login(form: Annotated[OAuth2PasswordRequestForm, Depends()]):
    user = fake_users_db.get(form.username)
    if not user or not pwd_context.verify(form.password, user["hashed_password"]):
        raise HTTPException(401, "Incorrect username or password")
    claims = {"sub": form.username, "exp": datetime.now(UTC) + timedelta(minutes=30)}
    return {"access_token": jwt.encode(claims, SECRET_KEY), "token_type": "bearer"}


async def get_username(token: Annotated[str, Depends(oauth2_scheme)]) -> str:
    try:
        return jwt.decode(token, SECRET_KEY, algorithms=["HS256"])["sub"]
    except (JWTError, KeyError):
        raise HTTPException(401, "Could not validate credentials") from None


@app.get("/users/me")
async def read_users_me(username: Annotated[str, Depends(get_username)]) -> User:
    return User(**fake_users_db[username])


@app.get("/protected-resource")
async def protected_resource(username: Annotated[str, Depends(get_username)]):
    return {"message": f"Hello, {username}"}
