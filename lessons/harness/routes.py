"""Which routes an app has, documented or not."""

from collections.abc import Iterable, Iterator
from typing import Any

from fastapi import FastAPI

Operation = tuple[str, str]  # method and path

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
    """Return the operations that the app answers, but for FastAPI's own pages.

    A mounted app or a websocket counts as a GET of its path.
    """
    return [
        (method, path)
        for path, methods in _walk(app.routes)
        if path not in PAGES
        for method in methods - {"HEAD"}
    ]


def _walk(routes: Iterable[Any]) -> Iterator[tuple[str, set[str]]]:
    for route in routes:
        if hasattr(route, "effective_candidates"):  # an included router stays nested
            yield from _walk(route.effective_candidates())
        elif getattr(route, "starlette_route", None):
            yield from _walk([route.starlette_route])
        else:
            yield route.path, set(getattr(route, "methods", None) or {"GET"})
