"""Breakable on purpose: the password travels in the address, and no route asks for the token."""

from fastapi import FastAPI, HTTPException
from jose import jwt
from passlib.context import CryptContext

SECRET_KEY = "supersecretkey"

app = FastAPI(title="The quick start")
pwd_context = CryptContext(schemes=["bcrypt"], bcrypt__rounds=4)
fake_users_db: dict[str, str] = {}


@app.post("/register")
async def register(username: str, password: str):
    fake_users_db[username] = pwd_context.hash(password)
    return {"message": "User registered"}


@app.post("/login")
async def login(username: str, password: str):
    if username not in fake_users_db:
        raise HTTPException(404, "User not found")
    if not pwd_context.verify(password, fake_users_db[username]):
        raise HTTPException(401, "Wrong password")
    return {"access_token": jwt.encode({"sub": username}, SECRET_KEY)}


@app.get("/protected")
async def protected():
    return {"message": "You are logged in"}
