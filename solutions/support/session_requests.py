"""What a browser's request brings along: the session's cookie, and where it comes from."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import HTTPException, Request, Response, Security
from fastapi.openapi.models import APIKey, APIKeyIn
from fastapi.security.base import SecurityBase
from starlette.requests import HTTPConnection

from .safe_route import SafeRoute

# A browser takes this prefix only with Secure, Path=/ and no Domain, so no other host can set it.
COOKIE = "__Host-session"
CSRF_FIELD, CSRF_HEADER = "csrf_token", "X-CSRF-Token"
CHALLENGE = {"WWW-Authenticate": "Cookie"}  # of a 401; browsers ask for no password at this one
SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}  # RFC 9110 section 9.2.1: they change nothing


@dataclass(frozen=True)
class BrowserRequest:
    """What is looked at in a browser's request."""

    method: str
    session_id: str = field(repr=False)  # in the cookie, as it was sent; empty without one
    csrf_token: str = field(repr=False)  # in a form or a header; empty without one
    sec_fetch_site: str | None  # the header; no script can set it
    origin: str | None  # the header; no script can set it
    user_agent: str


def session_id_in(request: HTTPConnection) -> str:
    """Return the id in the session's cookie, as the browser sent it, or an empty text.

    Of two cookies of that name one may be mallory's, and nobody can tell which: neither counts.
    """
    headers: list[tuple[bytes, bytes]] = request.scope["headers"]
    text = b";".join([value for name, value in headers if name == b"cookie"]).decode("latin-1")
    pairs = [pair.partition("=") for pair in text.split(";")]
    values = [value.strip() for name, _, value in pairs if name.strip() == COOKIE]
    return values[0] if len(values) == 1 else ""


async def csrf_token_in(request: Request) -> str:
    """Return the CSRF token that a request brings, in a header or in a form, or an empty text.

    Two tokens are none.
    """
    found: list[object] = [*request.headers.getlist(CSRF_HEADER)]
    if not found and request.method == "POST":
        found = [*(await request.form()).getlist(CSRF_FIELD)]  # empty unless it is a form
    return found[0] if len(found) == 1 and isinstance(found[0], str) else ""


class SessionCookie(SecurityBase):
    """Takes a request apart, and tells the OpenAPI document that the routes want this cookie."""

    def __init__(self) -> None:
        self.model = APIKey(**{"in": APIKeyIn.cookie}, name=COOKIE)
        self.scheme_name = "SessionCookie"

    async def __call__(self, request: Request) -> BrowserRequest:
        """Return what is looked at in a request. It refuses nothing."""
        return BrowserRequest(
            method=request.method,
            session_id=session_id_in(request),
            csrf_token=await csrf_token_in(request),
            sec_fetch_site=request.headers.get("sec-fetch-site"),
            origin=request.headers.get("origin"),
            user_agent=request.headers.get("user-agent", ""),
        )


Browser = Annotated[BrowserRequest, Security(SessionCookie())]


def unauthenticated() -> HTTPException:
    """Return the 401 of whoever has no session."""
    return HTTPException(401, "Not authenticated", headers=CHALLENGE)


class SessionRoute(SafeRoute):
    """Lets nobody keep an answer: a page stays in a cache when its reader has logged out."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_unkept(request: Request) -> Response:
            response = await handle(request)
            response.headers["Cache-Control"] = "no-store"
            return response

        return handle_unkept
