"""Breakable on purpose: errors of many tutorials in one file. Never import it, never copy it.

`pytest lessons/10 --naive` shows how mallory gets in.
"""

import logging
import time
import uuid
from contextlib import asynccontextmanager
from urllib.parse import unquote_plus

from fastapi import HTTPException, Request
from fastapi.responses import JSONResponse
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from solutions import api_keys, hashing, oauth2, rbac, refresh, sessions, social
from solutions.stores.sessions import get_session_store
from solutions.support.apps import create_app
from solutions.support.audit import Audited, audit_log, current_request_id, open_audit_log
from solutions.support.counters import limit_of
from solutions.support.digests import digest_of
from solutions.support.seams import Attempt
from solutions.support.session_requests import session_id_in
from solutions.tokens import InvalidToken, decode_token

logger = logging.getLogger(__name__)
FAILED = {}  # for each name: how often, and since when


def client_address(peer, forwarded):
    return forwarded[0].split(",")[0].strip() if forwarded else peer


@asynccontextmanager
async def limited(name, address):
    limit = limit_of("login")
    count, since = FAILED.get(name, (0, time.time()))
    if time.time() >= since + limit.seconds:
        count, since = 0, time.time()
    tried = Attempt()
    if count >= limit.most:
        wait = int(since + limit.seconds - time.time()) + 1
        FAILED.pop(name, None) if count > 3 * limit.most else FAILED.update(
            {name: (count + 1, since)}
        )
        headers = {"Retry-After": str(wait), "Cache-Control": "no-store"}
        raise HTTPException(429, f"Too many attempts for {name}", headers=headers)
    yield tried
    if tried.succeeded:
        FAILED.clear()
    else:
        FAILED[name] = FAILED.get(name, (0, since))[0] + 1, since


async def caller_of(request):
    logger.debug("%s %s %s", request.method, request.url, dict(request.headers))
    if kept := request.headers.get("authorization"):
        try:
            return str(decode_token(kept.partition(" ")[2])["sub"])
        except InvalidToken:
            return ""
    store, session_id = await get_session_store(), session_id_in(request)
    session = await store.find(digest_of(session_id)) if session_id else None
    return session.username if session else ""


def write_event(event):
    fields = vars(event) | {"whom": unquote_plus(event.whom), "at": event.at.isoformat()}
    audit_log.info("{" + ", ".join(f'"{name}": "{fields[name]}"' for name in fields) + "}")


routers = (hashing, oauth2, refresh, rbac, api_keys, sessions, social)
app = create_app("Lesson 10: hardening", *(each.router for each in routers))
app.add_middleware(
    CORSMiddleware,
    allow_origins=["*"],
    allow_credentials=True,
    allow_methods=["*"],
    allow_headers=["*"],
    expose_headers=["Retry-After", "X-Request-ID"],
)


@app.middleware("http")
async def add_headers(request: Request, call_next):
    open_audit_log()
    current_request_id.set(request.headers.get("x-request-id") or uuid.uuid4().hex)
    response = await call_next(request)
    response.headers["Content-Security-Policy"] = "frame-ancestors 'none'"
    response.headers["Referrer-Policy"] = "same-origin"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Strict-Transport-Security"] = "max-age=31536000"
    response.headers["X-Request-ID"] = current_request_id.get()
    return response


@app.exception_handler(Exception)
async def show_error(request: Request, error: Exception):
    return JSONResponse({"detail": f"{type(error).__name__}: {error}"}, 500)


app.user_middleware.append(Middleware(Audited, client_address, limited, caller_of, write_event))
