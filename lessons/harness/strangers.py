"""Asks routes that a lesson does not know for somebody else, by what their documentation names."""

import re
from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI

from lessons.harness.client import Client, Send

Route = tuple[str, str]
NOBODYS = "nobody.s"  # in the place of what is somebody's


def shows_others(
    app: FastAPI, client: Client, known: set[Route], theirs: list[str], headers: dict[str, str]
) -> str | None:
    """Say which route answers in another way for what is somebody else's; None where none does.

    `theirs` are somebody's name, address and so on. They stand wherever a route outside of `known`
    takes a text: in its path, its query, its body. A route may repeat what it was sent.
    """
    for method, path, fields in _with_fields(app, known):
        for text in theirs:
            told = []
            for value in (text, _nobodys_like(text)):
                url, send = _filled(path, fields, value)
                answer = client.request(method, url, headers=headers, **send)
                told.append((answer.status_code, answer.text.replace(value, "")))
            if told[0] != told[1]:
                return f"{method} {path}, asked about {text!r}: {told[0][1]:.80}"
    return None


def _nobodys_like(text: str) -> str:
    """Return a name that is nobody's, or for an address one of the same host."""
    _, at, host = text.partition("@")
    return NOBODYS + at + host


def _with_fields(app: FastAPI, known: set[Route]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Return the routes that take something, each with the names of it by where it stands."""
    document = app.openapi()
    schemas = document.get("components", {}).get("schemas", {})
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            names = [(each["in"], each["name"]) for each in operation.get("parameters", [])]
            content = operation.get("requestBody", {}).get("content", {})
            body = content.get("application/json", {}).get("schema", {})
            schema = schemas.get(body.get("$ref", "").rpartition("/")[2], body)
            names += [("json", name) for name in schema.get("properties", {})]
            if names and (method.upper(), path) not in known:
                places = {place: [n for p, n in names if p == place] for place, _ in names}
                yield method.upper(), path, places


def _filled(path: str, fields: dict[str, list[str]], value: str) -> tuple[str, Send]:
    url = re.sub(r"\{.*?\}", value, path)
    send = {
        kind: dict.fromkeys(fields[place], value)
        for place, kind in (("query", "params"), ("json", "json"))
        if place in fields
    }
    return url, send
