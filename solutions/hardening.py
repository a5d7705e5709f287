"""Lesson 10. Hardening: what stands around everything that the lessons before have built."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from . import api_keys, hashing, oauth2, rbac, refresh, sessions, social
from .stores.sessions import get_session_store
from .stores.users import fold_username
from .support.addresses import (
    Address,
    hops_of,
    is_https,
    is_proxy,
    network_of,
    read_address,
)
from .support.apps import create_app
from .support.audit import Audited, Event, audit_log, current_request_id, fields_of
from .support.counters import Counters, counter_key, get_counters, limit_of
from .support.digests import digest_of
from .support.doors import Doors, TryLater, policy_of, wrap
from .support.seams import Attempt
from .support.session_requests import session_id_in
from .support.token_service import decode_token
from .tokens import InvalidToken

COUNTER_SECONDS = 3  # counters that have not answered by then are down
RETRY_AFTER_SECONDS = 5


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
    """Return an app that gives each request an id of its own, and each answer its headers.

    Whatever answers: a route, a refusal, a 404, a 500. Of two headers of one name, ours counts.
    """

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await app(scope, receive, send)
        current_request_id.set(uuid.uuid4().hex)
        ours = headers_of(scope)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = dict(
                    message, headers=(MutableHeaders(raw=[*message["headers"]]) | ours).raw
                )
            await send(message)

        return await app(scope, receive, send_with_headers)

    return answer


def client_address(peer: Address | None, forwarded: Sequence[str]) -> Address | None:
    """Return the address that a request comes from; None where nobody knows it.

    `peer` is at the other end of the socket. `forwarded` has the X-Forwarded-For headers as they
    came. Each proxy adds at the end whom it has heard, and only ours are believed (CWE-348).
    """
    address = peer
    for hop in reversed(hops_of(forwarded)):
        said = read_address(hop)
        if said is None or not is_proxy(address):
            break
        address = said
    return address


def write_event(event: Event) -> None:
    """Write an event to the audit log: one line of JSON in ASCII, whatever anybody typed (CWE-117).

    Its fields are those of `Event`, each a text; `at` as ISO 8601 has it, in UTC (ASVS 16.2.2).
    """
    fields = fields_of(event)
    audit_log.info("%s", json.dumps(fields))


async def begin_attempt(counters: Counters, name: str, address: Address | None) -> str:
    """Count an attempt at a name from an address, and return the key of the two (CWE-307).

    Before the check, or fifty at once are all in time (CWE-367). Raises TryLater: 429 for one too
    many, and 503 when the counters are down, since nobody counts then (CWE-636).
    """
    who, place = fold_username(name), network_of(address)
    keys = {
        "login": counter_key("login", who, place),
        "address": counter_key("address", place),
        "name": counter_key("name", who),
    }
    try:
        async with asyncio.timeout(COUNTER_SECONDS):
            for kind, key in keys.items():
                if seconds := await counters.hit(limit_of(kind), key):
                    break
    except Exception:
        raise TryLater(503, "Please try again soon", RETRY_AFTER_SECONDS) from None
    if seconds:
        raise TryLater(429, "Too many attempts. Please try again later.", seconds)
    return keys["login"]


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
