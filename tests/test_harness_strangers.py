"""Routes that tell of other people are found by asking, whatever they take and say."""

from typing import Any

import pytest
from fastapi import FastAPI
from pydantic import BaseModel

from lessons.harness.client import Client
from lessons.harness.loop import Loop
from lessons.harness.strangers import shows_others
from lessons.harness.transcript import Transcript

PEOPLE = {"erin": "erin@example.com"}


class Asked(BaseModel):
    """What somebody asks for."""

    name: str = ""


def app_with(path: str, method: str, route: Any) -> FastAPI:
    app = FastAPI()
    app.add_api_route(path, route, methods=[method])
    return app


def _by_query(email: str = "") -> list[str]:
    return [name for name in PEOPLE if PEOPLE[name] == email]


def _by_path(name: str) -> str:
    return PEOPLE.get(name, "")


def _by_body(asked: Asked) -> bool:
    return asked.name in PEOPLE


def _echo(name: str, email: str = "") -> str:
    return f"Hello {name} {email}"


ROUTES = {
    "query": ("/find", "GET", _by_query, True),
    "path": ("/find/{name}", "GET", _by_path, True),
    "body": ("/find", "POST", _by_body, True),
    "echo": ("/hello/{name}", "GET", _echo, False),
}


@pytest.mark.parametrize("which", ROUTES)
def test_a_route_that_tells_of_others_is_found(which: str) -> None:
    path, method, route, tells = ROUTES[which]
    app, loop = app_with(path, method, route), Loop()
    client = Client(app, Transcript(), loop, None)  # type: ignore[arg-type]
    try:
        theirs = ["erin", PEOPLE["erin"]]
        assert bool(shows_others(app, client, set(), theirs, {})) == tells
        assert shows_others(app, client, {(method, path)}, theirs, {}) is None
    finally:
        client.close()
        loop.close()
