"""Which routes an app has, documented or not."""

from collections.abc import Iterable, Iterator
from typing import Any

from fastapi import FastAPI
from starlette.routing import Mount, WebSocketRoute

Operation = tuple[str, str]  # method and path
SOCKET = "WEBSOCKET"  # in the place of the method; the documentation has no words for these

# FastAPI's own pages, and what they load.
PAGES = ("/docs", "/docs/oauth2-redirect", "/redoc", "/openapi.json", "/static-offline-docs")


def documented(app: FastAPI) -> set[Operation]:
    """Return the operations that the app's OpenAPI document names."""
    return {
        (method.upper(), path)
        for path, operations in app.openapi()["paths"].items()
        for method in operations
    }


def served(app: FastAPI) -> list[Operation]:
    """Return the operations that the app answers, but for reading FastAPI's own pages.

    Those of a mounted app are among them. One that has no routes counts as a GET of its path.
    """
    return [
        (method, path)
        for path, methods in _walk(app.routes)
        if not path.endswith(PAGES) or methods - {"GET", "HEAD"}
        for method in methods - ({"HEAD"} if "GET" in methods else set())
    ]


def _walk(routes: Iterable[Any]) -> Iterator[tuple[str, set[str]]]:
    for route in routes:
        if isinstance(route, Mount) and route.routes:
            yield from ((route.path + path, methods) for path, methods in _walk(route.routes))
            continue
        if hasattr(route, "original_router"):  # an included one stays nested; it is not built here
            prefix, inner = route.include_context.prefix, route.original_router.routes
            yield from ((prefix + path, methods) for path, methods in _walk(inner))
        elif isinstance(route, WebSocketRoute):
            yield route.path, {SOCKET}
        else:
            path = getattr(route, "path", type(route).__name__)  # a Host has none
            yield path, set(getattr(route, "methods", None) or {"GET"})
