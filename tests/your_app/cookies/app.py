"""Breakable on purpose: a guest book with HTML forms, its token in a cookie, and no wall around it.

Whoever is elsewhere may send its forms, scripts may read the cookie, and logging out forgets it on
one side only.
"""

import html
import secrets
from datetime import UTC, datetime, timedelta
from typing import Annotated

import jwt
from fastapi import Cookie, Depends, FastAPI, Form, HTTPException
from fastapi.responses import HTMLResponse, RedirectResponse
from passlib.context import CryptContext

KEY = secrets.token_urlsafe(32)
LIFE = timedelta(hours=8)

app = FastAPI(title="The guest book")
passwords = CryptContext(schemes=["bcrypt"])
DUMMY_HASH = passwords.hash("nobody")
hashes: dict[str, str] = {}
entries: list[tuple[str, str]] = []

Text = Annotated[str, Form()]


def page(body: str, status: int = 200) -> HTMLResponse:
    return HTMLResponse(f"<!doctype html><title>Guest book</title>{body}", status)


def form(action: str, *names: str) -> str:
    inputs = "".join(f'<input name="{name}">' for name in names)
    return f'<form method="post" action="{action}">{inputs}<button>Go</button></form>'


def who_is_it(session: Annotated[str | None, Cookie()] = None) -> str:
    try:
        name = str(jwt.decode(session or "", KEY, algorithms=["HS256"])["sub"])
    except (jwt.InvalidTokenError, KeyError):
        raise HTTPException(401, "Please log in") from None
    if name not in hashes:
        raise HTTPException(401, "Please log in")
    return name


Guest = Annotated[str, Depends(who_is_it)]


@app.get("/")
def read_entries() -> HTMLResponse:
    return page("".join(f"<p>{html.escape(f'{name}: {text}')}</p>" for name, text in entries))


@app.get("/register")
def show_register() -> HTMLResponse:
    return page(form("/register", "username", "password"))


@app.post("/register")
def register(username: Text, password: Text) -> RedirectResponse:
    if username in hashes:
        raise HTTPException(409, "This name is taken")
    hashes[username] = passwords.hash(password)
    return RedirectResponse("/login", 303)


@app.get("/login")
def show_login() -> HTMLResponse:
    return page(form("/login", "username", "password"))


@app.post("/login", response_model=None)
def log_in(username: Text, password: Text) -> HTMLResponse | RedirectResponse:
    correct = passwords.verify(password, hashes.get(username, DUMMY_HASH))
    if not correct or username not in hashes:
        return page("<p>Wrong name or password.</p>" + form("/login", "username", "password"))
    token = jwt.encode({"sub": username, "exp": datetime.now(UTC) + LIFE}, KEY)
    answer = RedirectResponse("/me", 303)
    answer.set_cookie("session", token, samesite=None)
    return answer


@app.get("/me")
def show_me(guest: Guest) -> HTMLResponse:
    return page(f"<h1>{html.escape(guest)}</h1>" + form("/entries", "text"))


@app.post("/entries")
def write_entry(guest: Guest, text: Text) -> RedirectResponse:
    entries.append((guest, text))
    return RedirectResponse("/", 303)


@app.post("/password")
def change_password(guest: Guest, new: Text) -> RedirectResponse:
    hashes[guest] = passwords.hash(new)
    return RedirectResponse("/me", 303)


@app.post("/goodbye")
def delete_me(guest: Guest) -> RedirectResponse:
    del hashes[guest]
    return RedirectResponse("/", 303)


@app.get("/logout")
def log_out() -> RedirectResponse:
    answer = RedirectResponse("/", 303)
    answer.delete_cookie("session")
    return answer
