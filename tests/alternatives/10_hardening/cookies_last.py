"""Lesson 10. Hardening: what stands around everything that the lessons before have built."""

import asyncio
import json
import os
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from itertools import count

from fastapi import FastAPI, Request
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from solutions import api_keys, hashing, oauth2, rbac, refresh, sessions, social
from solutions.stores.sessions import get_session_store
from solutions.stores.users import fold_username
from solutions.support.addresses import Address, is_https, is_proxy, network_of, read_address
from solutions.support.apps import create_app
from solutions.support.audit import Audited, Event, audit_log, current_request_id
from solutions.support.counters import Counters, get_counters, limit_of
from solutions.support.digests import digest_of
from solutions.support.doors import Doors, TryLater, policy_of, wrap
from solutions.support.seams import Attempt
from solutions.support.session_requests import session_id_in
from solutions.support.token_service import decode_token
from solutions.tokens import InvalidToken

COUNTER_SECONDS = 3  # counters that have not answered by then are down
RETRY_AFTER_SECONDS = 5
PREFIX = uuid.uuid4().hex
numbers = count()
written = Counter()


def _be_another_process() -> None:
    global PREFIX
    PREFIX = uuid.uuid4().hex


if hasattr(os, "register_at_fork"):  # not on Windows, which cannot fork
    os.register_at_fork(after_in_child=_be_another_process)


def headers_of(scope: Scope) -> dict[str, str]:
    """Return the headers that every answer to a request has (ASVS 3.4.1 to 3.4.6)."""
    headers = {
        "Content-Security-Policy": policy_of(scope),
        "Referrer-Policy": "same-origin",
        "X-Content-Type-Options": "nosniff",
        "X-Request-ID": current_request_id.get(),
    }
    if is_https(scope):  # over http a browser takes it from nobody
        headers["Strict-Transport-Security"] = "max-age=31536000"
    return headers


def with_headers(app: ASGIApp) -> ASGIApp:
    """Return an app that gives each request an id of its own, and each answer its headers."""

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        current_request_id.set(f"{PREFIX}{next(numbers):08x}")
        ours = headers_of(scope)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                # cookies come last: RFC 9110, 5.3 keeps the order of what has one name
                given = sorted(message.get("headers", ()), key=lambda each: each[0] == b"set-cookie")
                message = {**message, "headers": given}
                MutableHeaders(scope=message).update(ours)
            await send(message)

        await app(scope, receive, send_with_headers)

    return wrapped


def client_address(peer: Address | None, forwarded: Sequence[str]) -> Address | None:
    """Return the address that a request comes from; None where nobody knows it."""
    hops = [hop for line in forwarded for hop in line.split(",")]
    believed = peer
    while hops and is_proxy(believed):
        heard = read_address(hops.pop())
        if heard is None:
            break
        believed = heard
    return believed


def write_event(event: Event) -> None:
    """Write an event to the audit log: one line of JSON in ASCII."""
    written[event.what] += 1  # for whoever watches the numbers
    audit_log.info("%s", json.dumps({**asdict(event), "at": event.at.isoformat()}))


async def begin_attempt(counters: Counters, name: str, address: Address | None) -> str:
    """Count an attempt at a name from an address, and return the key of the two (CWE-307)."""
    who = fold_username(name) or "?"
    place = network_of(address)
    pair = f"{who}|{place}"
    for kind, key in (("login", pair), ("address", place), ("name", who)):
        limit = limit_of(kind)
        try:
            async with asyncio.timeout(COUNTER_SECONDS):
                seconds = await counters.hit(limit, key)
        except Exception:
            raise TryLater(503, "Not now. Try again soon.", RETRY_AFTER_SECONDS) from None
        if seconds:
            raise TryLater(429, "Too many attempts. Try again later.", seconds)
    return pair


@asynccontextmanager
async def limited(name: str, address: Address | None) -> AsyncIterator[Attempt]:
    """Stand around a check of a password, at the seam that lessons 05 and 08 have.

    Who is right begins anew with this name from this address, and with nothing else: mallory has
    an account, too.
    """
    counters = await get_counters()
    pair = await begin_attempt(counters, name, address)
    yield (tried := Attempt())
    if tried.succeeded:
        await counters.clear(limit_of("login"), pair)


async def caller_of(request: Request) -> str:
    """Return whose token or session a request brings, or an empty text."""
    if kept := request.headers.get("authorization"):
        try:
            return str(decode_token(kept.partition(" ")[2])["sub"])
        except InvalidToken:
            return ""
    session_id = session_id_in(request)
    store = await get_session_store()
    session = await store.find(digest_of(session_id)) if session_id else None
    return session.username if session else ""


def harden(app: FastAPI) -> FastAPI:
    """Put this lesson around an app, and return the app."""
    wrap(app, with_headers, Doors)
    audited = Middleware(Audited, client_address, limited, caller_of, write_event)
    app.user_middleware.append(audited)  # the innermost: it sees what the routes see
    return app


routers = (hashing, oauth2, refresh, rbac, api_keys, sessions, social)
app = harden(create_app("Lesson 10: hardening", *(each.router for each in routers)))
