"""Finds an app's OpenAPI documents, those of its parts too, and makes one of them."""

import re
from typing import Any

from lessons.harness.your_app.target import Here, NoAnswer, Target

USUAL = (
    *("/openapi.json", "/api/openapi.json", "/api/v1/openapi.json", "/v1/openapi.json"),
    *("/docs/openapi.json", "/schema/openapi.json"),
)
DEEPEST = 6  # references in references
LINK = re.compile(r"""url:\s*['"]([^'"]+)['"]|data-url=['"]([^'"]+)['"]""")


def fetch(target: Target, app: Any = None) -> dict[str, Any] | None:
    """Return the document as the app serves it, with those of its sub-apps, or None."""
    places = list(dict.fromkeys([*_own_places(app), *USUAL, *_linked(target)]))
    documents = [found for each in places if (found := _ask(target, each)) is not None]
    if not documents:
        return None
    whole: dict[str, Any] = {"paths": {}, "components": {"securitySchemes": {}}}
    for document in documents:
        prefix = _prefix(document)
        for path, methods in document["paths"].items():
            if isinstance(methods, dict):
                whole["paths"].setdefault(
                    prefix + path,
                    {
                        method: _resolved(_with_security(about, document), document)
                        for method, about in methods.items()
                        if isinstance(about, dict)
                    },
                )
        schemes = (document.get("components") or {}).get("securitySchemes") or {}
        for name, scheme in schemes.items():
            whole["components"]["securitySchemes"].setdefault(name, {**scheme, "prefix": prefix})
    return whole


def _ask(target: Target, path: str) -> dict[str, Any] | None:
    try:
        answer = target.send("GET", path)
        document = answer.json() if answer.status_code == 200 else None
    except (NoAnswer, ValueError, AssertionError):
        return None
    has_paths = isinstance(document, dict) and isinstance(document.get("paths"), dict)
    return document if has_paths else None


def _own_places(app: Any, prefix: str = "", depth: int = 0) -> list[str]:
    """Return where an app, and what is mounted in it, says that its documents are."""
    found = []
    url = getattr(app, "openapi_url", None)
    if isinstance(url, str):
        found.append(prefix + url)
    if depth < 4:
        for route in getattr(app, "routes", None) or []:
            inner, path = getattr(route, "app", None), getattr(route, "path", "")
            if hasattr(inner, "routes") and not hasattr(route, "methods"):
                found += _own_places(inner, prefix + path, depth + 1)
    return found


def _linked(target: Target) -> list[str]:
    """Return the document that the page of the documentation shows, for a running server."""
    if isinstance(target, Here):
        return []
    for page in ("/docs", "/api/docs", "/redoc"):
        try:
            answer = target.send("GET", page)
        except NoAnswer:
            return []
        if answer.status_code == 200:
            return [a or b for a, b in LINK.findall(answer.text) if (a or b).startswith("/")]
    return []


def _prefix(document: dict[str, Any]) -> str:
    servers = document.get("servers")
    first = servers[0] if isinstance(servers, list) and servers else {}
    url = str(first.get("url", "")) if isinstance(first, dict) else ""
    return url.rstrip("/") if url.startswith("/") else ""


def _with_security(about: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    return {"security": document.get("security") or [], **about}


def _resolved(part: Any, document: dict[str, Any], depth: int = 0) -> Any:
    """Return a part of a document with its references written out."""
    if isinstance(part, list):
        return [_resolved(each, document, depth) for each in part]
    if not isinstance(part, dict):
        return part
    reference = part.get("$ref")
    if isinstance(reference, str) and reference.startswith("#/"):
        if depth >= DEEPEST:
            return {}
        found: Any = document
        for step in reference[2:].split("/"):
            found = found.get(step.replace("~1", "/"), {}) if isinstance(found, dict) else {}
        return _resolved(found, document, depth + 1)
    return {name: _resolved(part[name], document, depth) for name in part if name != "responses"}
