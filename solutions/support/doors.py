"""What stands around a whole app: what is refused before the app, and what nobody foresaw."""

import logging
import re
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse
from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from .addresses import is_https
from .audit import current_request_id, open_audit_log
from .counters import close_counters
from .pages import POLICY, render
from .settings import get_settings

DOCUMENTS = ("/docs", "/redoc", "/openapi.json", "/static-offline-docs")
POLICY_OF_DOCUMENTS = (  # FastAPI's own pages bring a script along, and load others
    "default-src 'none'; script-src 'self' 'unsafe-inline' https://cdn.jsdelivr.net; "
    "style-src 'self' 'unsafe-inline' https://cdn.jsdelivr.net; img-src 'self' data: https:; "
    "connect-src 'self'; worker-src blob:; base-uri 'none'; frame-ancestors 'none'"
)
PROBES = ("/healthz", "/readyz")  # asked from beside the app, by its address
METHODS = ("GET", "POST", "PATCH", "DELETE")
ASKED = ("Authorization", "Content-Type", "X-API-Key")
EXPOSED = ("Retry-After", "X-Request-ID")  # a script sees no others of its own accord

PORT = re.compile(r":\d*\Z")

logger = logging.getLogger("uvicorn.error")


class TryLater(HTTPException):
    """A refusal that says when to come back: 429 after too many attempts, 503 for what is down."""

    def __init__(self, status: int, detail: str, seconds: int) -> None:
        headers = {"Retry-After": str(seconds), "Cache-Control": "no-store"}
        super().__init__(status, detail, headers)


def policy_of(scope: Scope) -> str:
    """Return the Content-Security-Policy of an answer. FastAPI's own pages have one of theirs."""
    return POLICY_OF_DOCUMENTS if _is_document(scope) else POLICY


def _is_document(scope: Scope) -> bool:
    path: str = scope["path"].removeprefix(scope.get("root_path", ""))
    return path.startswith(DOCUMENTS)


class Doors:
    """An ASGI wrapper that knows which requests an app need not see.

    Plain http and documents in production, and hosts that are not ours (CWE-319). Scripts of
    CORS_ORIGINS may read every answer, these refusals too.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a request, or let it in."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        scope = {**scope, "scheme": "https" if is_https(scope) else "http"}
        app: ASGIApp = refusal_of(scope) or self.app
        if origins := get_settings().cors_origins.split():
            app = CORSMiddleware(
                app,
                allow_origins=origins,
                allow_methods=METHODS,
                allow_headers=ASKED,
                expose_headers=EXPOSED,
            )
        await app(scope, receive, send)


def refusal_of(scope: Scope) -> Response | None:
    """Return why a request goes no further; None when it may."""
    if scope["path"] in PROBES:
        return None
    settings = get_settings()
    name = PORT.sub("", Headers(scope=scope).get("host", "").lower())
    if settings.allowed_hosts and name not in settings.allowed_hosts.split():
        return JSONResponse({"detail": "This host is not served here"}, 400)
    if settings.environment != "production":
        return None
    if scope["scheme"] != "https":
        # No redirect: whoever follows one has sent the password in the clear, and never notices.
        return JSONResponse({"detail": "Use https"}, 403)
    return JSONResponse({"detail": "Not Found"}, 404) if _is_document(scope) else None


async def answer_unforeseen(request: Request, error: Exception) -> Response:
    """Answer a 500 that says nothing, and log where it came from.

    Type and frames, and no message: messages quote what somebody sent (CWE-209, CWE-532).
    """
    request_id = current_request_id.get()
    logger.error("Unforeseen in request %s: %s", request_id, frames_of(error))
    return JSONResponse({"detail": "Internal Server Error", "request_id": request_id}, 500)


def frames_of(error: BaseException | None) -> str:
    """Return where an error came from, and nothing of what it says."""
    told = []
    while error:
        frames = "".join(traceback.format_tb(error.__traceback__))
        told.append(f"{type(error).__name__}\n{frames}")
        error = error.__cause__ or error.__context__
    return "after ".join(told)


async def answer_later(request: Request, error: Exception) -> Response:
    """Answer a TryLater: with a page to whoever reads pages, else with JSON."""
    assert isinstance(error, TryLater)
    if "text/html" in request.headers.get("accept", ""):
        answer: Response = render("refused.html", error.status_code, sentence=error.detail)
    else:
        answer = JSONResponse({"detail": error.detail}, error.status_code)
    answer.headers.update(error.headers or {})
    return answer


def _is_no_copy(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith("Exception in ASGI application")


def wrap(app: FastAPI, *wrappers: Callable[[ASGIApp], ASGIApp]) -> None:
    """Put wrappers around everything in an app that answers, the outermost first.

    What `add_middleware` adds stays inside of the 500, and of FastAPI's own 413. The app remains a
    FastAPI, with routes and a document.
    """
    build: Callable[[], ASGIApp] = app.build_middleware_stack

    def build_all() -> ASGIApp:
        stack = build()
        for wrapper in reversed(wrappers):
            stack = wrapper(stack)
        return stack

    app.build_middleware_stack = build_all  # type: ignore[method-assign]
    app.add_exception_handler(Exception, answer_unforeseen)
    app.add_exception_handler(TryLater, answer_later)
    lifespan = app.router.lifespan_context

    @asynccontextmanager
    async def with_logs(app: Any) -> AsyncIterator[Any]:
        open_audit_log()
        logger.addFilter(_is_no_copy)  # uvicorn would log the message of each error as well
        async with lifespan(app) as state:
            yield state
        logger.removeFilter(_is_no_copy)
        await close_counters()

    app.router.lifespan_context = with_logs
