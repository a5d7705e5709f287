"""What is written down of requests that change something, and of those that try."""

import logging
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .addresses import Address, peer_of
from .seams import Attempt, current_facts, current_guard
from .session_requests import SAFE_METHODS

EVENTS = {  # names that stay: whoever searches the log goes by them
    "POST /register": "register",
    "POST /token": "login",  # or `refresh`; or `reuse`, when a spent token comes back
    "POST /revoke": "logout",
    "POST /users/me/password": "password",
    "PATCH /admin/users/{username}": "account",
    "POST /api-keys": "key",
    "DELETE /api-keys/{key_id}": "key-end",
    "POST /login": "login",
    "POST /logout": "logout",
    "DELETE /sessions/{session_id}": "session-end",
    "POST /sessions/end-others": "session-end",
    "POST /account/sessions": "session-end",
    "GET /callback/{provider}": "login",  # or `link`
    "POST /identities/{provider}": "link-begin",
    "DELETE /identities/{provider}": "unlink",
    "POST /account/identities": "unlink",
    "POST /tenants": "tenant",
    "PATCH /tenants/{tenant}/members/{username}": "member",
    "DELETE /tenants/{tenant}/members/{username}": "member-end",
    "POST /tenants/{tenant}/invitations": "invitation",
    "DELETE /tenants/{tenant}/invitations/{invitation}": "invitation-end",
    "POST /tenants/{tenant}/invitations/accept": "member",
    "POST /tenants/{tenant}/keys": "tenant-key",
    "DELETE /tenants/{tenant}/keys/{key}": "tenant-key-end",
    "POST /tenants/{tenant}/items": "item",
    "PATCH /tenants/{tenant}/items": "item",
    "PATCH /tenants/{tenant}/items/{item}": "item",
    "DELETE /tenants/{tenant}/items/{item}": "item-end",
}
MOST = 200  # characters of a name that somebody typed

audit_log = logging.getLogger("audit")
current_request_id: ContextVar[str] = ContextVar("current_request_id", default="")


@dataclass(frozen=True)
class Event:
    """Somebody has changed something, or has tried to."""

    what: str  # one of EVENTS; of a route that is not there, method and path
    who: str  # whose token or session it was; empty when nobody was logged in
    whom: str  # the name that was typed, or whom or what it was done to
    outcome: str  # ok, refused, limited or failed
    address: str  # of the client; empty when it is not known
    request_id: str
    at: datetime


def fields_of(event: Event) -> dict[str, str]:
    """Return the fields of an event, each a text; `at` as ISO 8601 has it."""
    return asdict(event) | {"at": event.at.isoformat()}


def open_audit_log() -> None:
    """Let the audit log go to the standard output, unless somebody has sent it elsewhere."""
    audit_log.setLevel(logging.INFO)
    if not audit_log.handlers:
        handler = logging.StreamHandler(sys.stdout)
        handler.setFormatter(logging.Formatter("%(message)s"))
        audit_log.addHandler(handler)
        audit_log.propagate = False


class Audited:
    """An ASGI wrapper that sets the seams for a request, and writes its event before the answer.

    It stands right around the routes: what it sees of a request is what they see.
    """

    def __init__(
        self,
        app: ASGIApp,
        find_address: Callable[[Address | None, Sequence[str]], Address | None],
        guard: Callable[[str, Address | None], AbstractAsyncContextManager[Attempt]],
        find_caller: Callable[[Request], Awaitable[str]],
        write: Callable[[Event], None],
    ) -> None:
        self.app = app
        self._guard, self._find_address = guard, find_address
        self._find_caller, self._write = find_caller, write

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, and write down what it was."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        facts: dict[str, str] = {}
        guard = current_guard.set(lambda name: self._guard(name, self._address_of(scope)))
        known = current_facts.set(facts)
        try:
            await self._answer(scope, receive, send, facts)
        finally:
            current_facts.reset(known)
            current_guard.reset(guard)

    async def _answer(
        self, scope: Scope, receive: Receive, send: Send, facts: dict[str, str]
    ) -> None:
        caller = await self._find_caller(Request(scope))  # before: a logout ends the session

        def write(status: int) -> None:
            if what := _name_of(scope, status, facts):
                address = str(self._address_of(scope) or "")
                self._write(_event(scope, status, facts, what, caller, address))

        async def send_after_writing(message: Message) -> None:
            if message["type"] == "http.response.start":
                write(message["status"])
            await send(message)

        try:
            await self.app(scope, receive, send_after_writing)
        except Exception:
            write(500)
            raise

    def _address_of(self, scope: Scope) -> Address | None:
        forwarded = Headers(scope=scope).getlist("x-forwarded-for")
        return self._find_address(peer_of(scope), forwarded)


def _name_of(scope: Scope, status: int, facts: dict[str, str]) -> str | None:
    """Return what a request was, or None where it could not have changed anything."""
    path = getattr(scope.get("route"), "path", None)
    if path is None or status == 405:
        return None
    operation = f"{scope['method']} {path}"
    if operation not in EVENTS and scope["method"] in SAFE_METHODS:
        return None
    what = facts.get("what") or EVENTS.get(operation, operation)
    return "reuse" if what == "refresh" and "revoked" in facts else what


def _event(
    scope: Scope, status: int, facts: dict[str, str], what: str, caller: str, address: str
) -> Event:
    named = " ".join(map(str, scope.get("path_params", {}).values()))
    return Event(
        what=what,
        who="" if status == 401 else caller,
        whom=facts.get("whom", named)[:MOST],
        outcome=_outcome_of(status),
        address=address,
        request_id=current_request_id.get(),
        at=datetime.now(UTC),
    )


def _outcome_of(status: int) -> str:
    if status < 400:
        return "ok"
    if status == 429:
        return "limited"
    return "failed" if status >= 500 else "refused"
