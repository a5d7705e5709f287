"""The floor of the benchmark: one test that logs in once, with the imports of a lesson."""

from typing import Annotated

import jwt
from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import OAuth2PasswordRequestForm
from fastapi.testclient import TestClient
from passlib.context import CryptContext
from pydantic_settings import BaseSettings


class Settings(BaseSettings):
    rounds: int = 4


context = CryptContext(schemes=["bcrypt"], bcrypt__rounds=Settings().rounds)
app = FastAPI()
people = {"johndoe": context.hash("secret")}


@app.post("/token")
def login(form: Annotated[OAuth2PasswordRequestForm, Depends()]) -> dict[str, str]:
    if not context.verify(form.password, people[form.username]):
        raise HTTPException(401)
    return {"access_token": jwt.encode({"sub": form.username}, "k" * 32), "token_type": "bearer"}


def test_login() -> None:
    answer = TestClient(app).post("/token", data={"username": "johndoe", "password": "secret"})
    assert jwt.decode(answer.json()["access_token"], "k" * 32, algorithms=["HS256"])
