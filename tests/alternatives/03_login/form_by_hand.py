"""Alternative: reads the form by hand, answers with Response objects, hashes behind an anyio limiter.

The look-up and the decision are in one class; the dummy's hash is a class attribute, made once.
"""

import json
import os
import secrets
from dataclasses import dataclass
from typing import Annotated

import anyio
import anyio.to_thread
from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response
from starlette.datastructures import FormData

from solutions import hashing
from solutions.hashing import hash_password, verify_and_upgrade
from solutions.support.apps import create_app
from solutions.support.settings import get_settings
from solutions.tokens import create_access_token
from solutions.stores.users import User, UserInDB, UserStore, Users

LIMITER = anyio.CapacityLimiter(os.cpu_count() or 2)


def get_dummy_hash() -> str:
    if Attempt.decoy is None:
        Attempt.decoy = hash_password(secrets.token_hex(32))
    return Attempt.decoy


@dataclass
class Attempt:
    """One login, from its beginning to its end. Nothing of it is shared."""

    users: UserStore
    person: UserInDB | None
    password: str
    decoy = None

    @property
    def hashed(self) -> str | None:
        return self.person.hashed_password if self.person and not self.person.disabled else None

    def compare(self) -> tuple[bool, str | None]:
        decoy, hashed = get_dummy_hash(), self.hashed
        return verify_and_upgrade(self.password, decoy if hashed is None else hashed)

    async def succeed(self) -> User | None:
        correct, better = await anyio.to_thread.run_sync(self.compare, limiter=LIMITER)
        if self.hashed is None or not correct:
            return None
        if better:
            await self.users.replace_hash(self.person.username, self.hashed, better)
        return self.person


async def authenticate_user(users: UserStore, username: str, password: str) -> User | None:
    return await Attempt(users, await users.get(username), password).succeed()


async def read_form(request: Request) -> FormData:
    """Return the form; of anything else nothing."""
    kind = request.headers.get("content-type", "").partition(";")[0]
    return await request.form() if kind == "application/x-www-form-urlencoded" else FormData()


def answer(status: int, content: dict, **headers: str) -> Response:
    named = {name.replace("_", "-"): headers[name] for name in headers}
    return Response(
        json.dumps(content), status, {"Cache-Control": "no-store", **named}, "application/json"
    )


router = APIRouter(tags=["03 login"])


@router.post("/token")
async def login(form: Annotated[FormData, Depends(read_form)], users: Users) -> Response:
    name, password = form.get("username"), form.get("password")
    if not isinstance(name, str) or not isinstance(password, str):
        return JSONResponse({"detail": "A field is missing"}, 422)
    user = await authenticate_user(users, name, password)
    if user is None:
        text = "Incorrect username or password"
        return answer(401, {"detail": text}, WWW_Authenticate='Bearer realm="workbook"')
    token = create_access_token({"sub": user.username, "stamp": user.security_stamp})
    minutes = get_settings().access_token_expire_minutes
    return answer(
        200, {"access_token": token, "token_type": "Bearer", "expires_in": minutes * 60}
    )


app = create_app("Lesson 03: login", hashing.router, router)
