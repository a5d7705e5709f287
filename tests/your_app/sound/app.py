"""Not breakable on purpose: a right app in a style unlike the workbook's. Each alarm here is false.

Two cookies of opaque tokens, a header against forgeries, mails before anybody is in, and 404 for
all that is not one's own.
"""

import secrets
import time
from collections import defaultdict
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Annotated, Any

from fastapi import Cookie, Depends, FastAPI, Header, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pwdlib import PasswordHash
from pydantic import BaseModel, ConfigDict, Field
from starlette.types import Message, Receive, Scope, Send

SHORT, LONG = 900, 43_200  # seconds
FAILURES, WINDOW = 5, 300
MOST = 65_536  # bytes of a body

passwords = PasswordHash.recommended()
DUMMY_HASH = passwords.hash(secrets.token_urlsafe())


@dataclass
class Member:
    email: str
    hashed: str
    name: str = ""
    active: bool = False
    staff: bool = False


@dataclass(frozen=True)
class Session:
    email: str
    family: str
    short: str  # the digests of the two tokens
    long: str
    csrf: str
    end: float
    long_end: float


@dataclass
class Store:
    members: dict[str, Member] = field(default_factory=dict)
    sessions: dict[str, Session] = field(default_factory=dict)  # by family
    spent: dict[str, str] = field(default_factory=dict)  # digest of a long token: its family
    failures: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    notes: dict[str, tuple[str, str]] = field(default_factory=dict)

    def end_all(self, email: str) -> None:
        self.sessions = {key: one for key, one in self.sessions.items() if one.email != email}


store = Store()


class Form(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Credentials(Form):
    email: Annotated[str, Field(max_length=254, pattern=r"^[!-~]+@[!-~]+$")]
    password: Annotated[str, Field(min_length=12, max_length=128, pattern="^[ -~]*$")]


class Change(Form):
    name: Annotated[str, Field(max_length=64, pattern="^[ -~]*$")]


class NewPassword(Form):
    old: Annotated[str, Field(max_length=128, pattern="^[ -~]*$")]
    new: Annotated[str, Field(min_length=12, max_length=128, pattern="^[ -~]*$")]


class Note(Form):
    text: Annotated[str, Field(max_length=1000, pattern="^[ -~]*$")]


def digest(token: str) -> str:
    return sha256(token.encode("utf-8", "replace")).hexdigest()


def nobody() -> HTTPException:
    return HTTPException(401, "Sign in first")


def current_session(sid: Annotated[str, Cookie()] = "") -> Session:
    now, wanted = time.time(), digest(sid)
    for session in store.sessions.values():
        if secrets.compare_digest(session.short, wanted) and session.end > now:
            return session
    raise nobody()


def current_member(session: Annotated[Session, Depends(current_session)]) -> Member:
    member = store.members.get(session.email)
    if member is None or not member.active:
        raise nobody()
    return member


def own_page(
    session: Annotated[Session, Depends(current_session)],
    x_csrf: Annotated[str, Header()] = "",
) -> None:
    if not secrets.compare_digest(session.csrf, digest(x_csrf)):
        raise HTTPException(403, "Send the csrf cookie's value as X-CSRF")


Current = Annotated[Member, Depends(current_member)]
OWN_PAGE = [Depends(own_page)]


def begin(response: Response, email: str, family: str, long_end: float) -> None:
    short, long, csrf = (secrets.token_urlsafe(32) for _ in range(3))
    end = min(time.time() + SHORT, long_end)
    store.sessions[family] = Session(
        email, family, digest(short), digest(long), digest(csrf), end, long_end
    )
    flags: dict[str, Any] = {"secure": True, "samesite": "lax"}
    response.set_cookie("sid", short, httponly=True, **flags)
    response.set_cookie("rid", long, httponly=True, path="/v1/session/renewal", **flags)
    response.set_cookie("csrf", csrf, **flags)


app = FastAPI(title="A sound one")


@app.exception_handler(RequestValidationError)
async def say_less(request: Request, error: RequestValidationError) -> JSONResponse:
    fields = sorted({str(each["loc"][-1])[:40] for each in error.errors()})
    return JSONResponse({"wrong": [name for name in fields if name.isascii()]}, 422)


@app.post("/v1/signup", status_code=202)
def sign_up(body: Credentials) -> dict[str, str]:
    hashed = passwords.hash(body.password)
    store.members.setdefault(body.email, Member(body.email, hashed))
    return {"next": "Look into your mail"}


@app.post("/v1/session", status_code=204)
def sign_in(body: Credentials, response: Response) -> None:
    now = time.time()
    recent = [each for each in store.failures[body.email] if each > now - WINDOW]
    if len(recent) >= FAILURES:
        raise HTTPException(429, "Wait", {"Retry-After": str(int(recent[0] + WINDOW - now) + 1)})
    member = store.members.get(body.email)
    right = passwords.verify(body.password, member.hashed if member else DUMMY_HASH)
    if member is None or not right or not member.active:
        store.failures[body.email] = [*recent, now]
        raise HTTPException(401, "No such address and password")
    begin(response, body.email, secrets.token_hex(8), now + LONG)


@app.post("/v1/session/renewal", status_code=204)
def renew(response: Response, rid: Annotated[str, Cookie()] = "") -> None:
    wanted = digest(rid)
    if family := store.spent.get(wanted):
        store.sessions.pop(family, None)  # one of two has stolen it
        raise nobody()
    session = next((one for one in store.sessions.values() if one.long == wanted), None)
    if session is None or session.long_end < time.time():
        raise nobody()
    store.spent[wanted] = session.family
    begin(response, session.email, session.family, session.long_end)


@app.delete("/v1/session", status_code=204, dependencies=OWN_PAGE)
def sign_out(session: Annotated[Session, Depends(current_session)], response: Response) -> None:
    store.sessions.pop(session.family, None)
    response.delete_cookie("sid")


@app.get("/v1/account")
def read_account(member: Current) -> dict[str, str]:
    return {"email": member.email, "name": member.name}


@app.patch("/v1/account", dependencies=OWN_PAGE)
def change_account(member: Current, change: Change) -> dict[str, str]:
    store.members[member.email] = replace(member, name=change.name)
    return {"email": member.email, "name": change.name}


@app.put("/v1/account/password", status_code=204, dependencies=OWN_PAGE)
def change_password(member: Current, body: NewPassword) -> None:
    if not passwords.verify(body.old, member.hashed):
        raise HTTPException(403, "Wrong password")
    store.members[member.email] = replace(member, hashed=passwords.hash(body.new))
    store.end_all(member.email)


@app.post("/v1/notes", status_code=201, dependencies=OWN_PAGE)
def write_note(member: Current, note: Note) -> dict[str, str]:
    key = secrets.token_hex(8)
    store.notes[key] = (member.email, note.text)
    return {"note": key}


def own_note(member: Current, key: str) -> str:
    owner, text = store.notes.get(key, ("", ""))
    if owner != member.email:
        raise HTTPException(404, "No such note")
    return text


@app.get("/v1/notes/{key}")
def read_note(text: Annotated[str, Depends(own_note)]) -> dict[str, str]:
    return {"text": text}


@app.delete("/v1/notes/{key}", status_code=204, dependencies=OWN_PAGE)
def delete_note(key: str, text: Annotated[str, Depends(own_note)]) -> None:
    del store.notes[key]


@app.get("/v1/staff/accounts")
def list_accounts(member: Current) -> list[str]:
    if not member.staff:
        raise HTTPException(404, "Not Found")
    return list(store.members)


class Walls:
    """Bounds what is read, and says what browsers may do with an answer."""

    def __init__(self, app: FastAPI) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        body, more = b"", True
        while more and len(body) <= MOST:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)

        async def replay() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def walled(message: Message) -> None:
            if message["type"] == "http.response.start":
                extra = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))
                message = {**message, "headers": [*message["headers"], *extra]}
            await send(message)

        if len(body) > MOST:
            await JSONResponse({"detail": "Too large"}, 413)(scope, replay, walled)
        else:
            await self.app(scope, replay, walled)


walled = Walls(app)


def activate(username: str) -> None:
    store.members[username].active = True


def disable(username: str) -> None:
    store.members[username].active = False


def remove(username: str) -> None:
    store.members.pop(username)


def rights(username: str) -> None:
    store.members[username].staff = True
