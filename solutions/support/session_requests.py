"""What a browser's request brings along: the session's cookie, and a form's token."""

from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import Depends, HTTPException, Request, Response, Security
from fastapi.security import APIKeyCookie
from starlette.requests import HTTPConnection

from .safe_route import SafeRoute

# A browser takes this prefix only with Secure, Path=/ and no Domain, so no other host can set it.
COOKIE = "__Host-session"
CSRF_FIELD, CSRF_HEADER = "csrf_token", "X-CSRF-Token"
CHALLENGE = {"WWW-Authenticate": "Cookie"}  # of a 401; browsers ask for no password at this one


def session_id_in(request: HTTPConnection) -> str:
    """Return the id in the session's cookie, as the browser sent it, or an empty text.

    Of two cookies of that name one may be mallory's, and nobody can tell which: neither counts.
    """
    headers: list[tuple[bytes, bytes]] = request.scope["headers"]
    text = b";".join([value for name, value in headers if name == b"cookie"]).decode("latin-1")
    pairs = [pair.partition("=") for pair in text.split(";")]
    values = [value.strip() for name, _, value in pairs if name.strip() == COOKIE]
    return values[0] if len(values) == 1 else ""


class SessionCookie(APIKeyCookie):
    """The session's cookie, for the OpenAPI document and for routes."""

    async def __call__(self, request: HTTPConnection) -> str:
        """Return the id in the cookie, or an empty text."""
        return session_id_in(request)


PresentedId = Annotated[str, Security(SessionCookie(name=COOKIE, auto_error=False))]


async def csrf_token_in(request: Request) -> str:
    """Return the CSRF token that a request brings, in a header or in a form, or an empty text.

    Two tokens are none. A header of that name can only come from a page of this site.
    """
    found: list[object] = [*request.headers.getlist(CSRF_HEADER)]
    if not found and request.method == "POST":
        found = [*(await request.form()).getlist(CSRF_FIELD)]  # empty unless it is a form
    return found[0] if len(found) == 1 and isinstance(found[0], str) else ""


SentToken = Annotated[str, Depends(csrf_token_in)]


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
