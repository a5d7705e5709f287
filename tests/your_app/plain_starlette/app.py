"""Breakable on purpose: sessions by hand in Starlette, without a document that tells its routes.

An error shows its traceback, a session has no end, and only a known name is worth a hash.
"""

import hashlib
import secrets

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

people: dict[str, tuple[bytes, bytes]] = {}
sessions: dict[str, str] = {}


def digest(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=2**14, r=8, p=5)


async def keep(name: str, password: str) -> None:
    salt = secrets.token_bytes(16)
    people[name] = salt, await run_in_threadpool(digest, password, salt)


async def is_right(name: str, password: str) -> bool:
    if name not in people:
        return False
    salt, hashed = people[name]
    return secrets.compare_digest(await run_in_threadpool(digest, password, salt), hashed)


def current_name(request: Request) -> str:
    name = sessions.get(request.headers.get("X-Key", ""))
    if name is None:
        raise HTTPException(401, "Enter first")
    return name


async def join(request: Request) -> Response:
    body = await request.json()
    if body["user"] in people:
        raise HTTPException(409, "There is one of this name")
    await keep(body["user"], body["pass"])
    return JSONResponse({"user": body["user"]}, 201)


async def enter(request: Request) -> Response:
    body = await request.json()
    if not await is_right(body["user"], body["pass"]):
        raise HTTPException(401, "No")
    key = secrets.token_urlsafe(32)
    sessions[key] = body["user"]
    return JSONResponse({"key": {"value": key}})


async def who(request: Request) -> Response:
    return JSONResponse({"user": current_name(request)})


async def leave(request: Request) -> Response:
    current_name(request)
    del sessions[request.headers["X-Key"]]
    return Response(status_code=204)


async def change(request: Request) -> Response:
    name, body = current_name(request), await request.json()
    if not await is_right(name, body["old"]):
        raise HTTPException(400, "No")
    await keep(name, body["new"])
    return Response(status_code=204)


async def go(request: Request) -> Response:
    name = current_name(request)
    del people[name]
    for key in [key for key, owner in sessions.items() if owner == name]:
        del sessions[key]
    return Response(status_code=204)


app = Starlette(
    debug=True,
    routes=[
        Route("/join", join, methods=["POST"]),
        Route("/enter", enter, methods=["POST"]),
        Route("/who", who),
        Route("/leave", leave, methods=["POST"]),
        Route("/pass", change, methods=["PUT"]),
        Route("/who", go, methods=["DELETE"]),
    ],
)
