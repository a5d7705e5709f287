"""What an OpenAPI document says of an app's routes."""

import re
from collections.abc import Iterator
from typing import Any

LOGOUT = re.compile(r"log-?_?out|sign-?_?out|revoke", re.IGNORECASE)
MOST = 40  # routes that are asked; an app may have hundreds
PUBLIC = re.compile(
    r"^/?$|health|ready|live(ness)?z?$|ping|status$|version|docs|redoc|openapi|favicon|robots|static"
    r"|\.well-known|login|log-in|signin|sign-in|register|signup|sign-up|callback|csrf|jwks|metrics"
    r"|forgot|reset|authorize|oauth|logout",
    re.IGNORECASE,
)
PRIVATE = re.compile(
    r"\bme\b|admin|protected|private|secret|account|profile|settings|users?\b|internal|session",
    re.IGNORECASE,
)


def looks_public(path: str) -> bool:
    """Tell whether a path is one that most apps mean to be open."""
    return bool(PUBLIC.search(path))


def looks_private(path: str) -> bool:
    """Tell whether a path is one that hardly any app means to be open."""
    return bool(PRIVATE.search(path)) and not looks_public(path)


def operations(document: dict[str, Any] | None) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield method, path and description of each route, of a document as `fetch` returns it."""
    document = document if isinstance(document, dict) else {}
    paths = document.get("paths")
    for path, methods in (paths if isinstance(paths, dict) else {}).items():
        for method, about in (methods if isinstance(methods, dict) else {}).items():
            if method in ("get", "post", "put", "patch", "delete") and isinstance(about, dict):
                yield method.upper(), path, about


def plain_gets(document: dict[str, Any] | None) -> list[str]:
    """Return the paths that can be asked as they are: without anything that must be known first."""
    found = []
    for method, path, about in operations(document):
        needed = any(
            isinstance(each, dict) and each.get("required") and each.get("in") in ("path", "query")
            for each in about.get("parameters") or []
        )
        # To log out is to change something, whatever its method.
        if method == "GET" and "{" not in path and not needed and not LOGOUT.search(path):
            found.append(path)
    return found[:MOST]
