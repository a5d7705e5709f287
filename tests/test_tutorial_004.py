"""What FastAPI's own tests ask of its security tutorial 004, asked of lesson 04's app.

The tutorial is "OAuth2 with password and bearer, JWT tokens". Its tests are typed anew here, and
two of them left out: the snapshot of its OpenAPI document, and that a disabled person can log in,
which lesson 03 refuses. What becomes of someone who is disabled after the login is kept. The
tutorial's `/users/me/items/` is asked without its last slash, since our apps send nobody on.

They are asked of `notebooks/tutorials/documented.py` too, the tutorial as demo 00 attacks it: it
has to be a fair copy.
"""

import asyncio
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
from fastapi.testclient import TestClient

from lessons.harness.catalogue import ROOT

NOT_AUTHENTICATED = "Not authenticated"
BAD_CREDENTIALS = "Could not validate credentials"
BAD_LOGIN = "Incorrect username or password"


@dataclass(frozen=True)
class Tutorial:
    """The adapter: the tutorial's names for what the workbook has in several modules."""

    client: TestClient
    find: Callable[[str], Any]
    disable: Callable[[str], object]
    slash: str  # at the end of its addresses
    get_password_hash: Callable[[str], str]
    verify_password: Callable[[str, str], bool]
    create_access_token: Callable[[dict[str, Any]], str]

    def log_in(self, username: str = "johndoe", password: str = "secret") -> Any:
        return self.client.post("/token", data={"username": username, "password": password})

    def get(self, url: str, token: str) -> Any:
        return self.ask(url, {"Authorization": f"Bearer {token}"})

    def ask(self, url: str, headers: dict[str, str] | None = None) -> Any:
        return self.client.get(url + self.slash, headers=headers)

    def stamp(self, username: str) -> dict[str, str]:
        """Return what a token has besides the name: nothing in the tutorial."""
        stamp = getattr(self.find(username), "security_stamp", None)
        return {} if stamp is None else {"stamp": stamp}


@pytest.fixture(params=["workbook", "documented"])
def tutorial(request: pytest.FixtureRequest) -> Tutorial:
    if request.param == "documented":
        return documented()
    request.getfixturevalue("development")
    return workbook()


@cache
def load_documented() -> tuple[Any, str]:
    """Return the tutorial as demo 00 attacks it, and a hash of "secret": Argon2 takes its time."""
    path = ROOT / "notebooks" / "tutorials" / "documented.py"
    spec = importlib.util.spec_from_file_location("documented", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module, module.get_password_hash("secret")


def documented() -> Tutorial:
    module, hashed = load_documented()
    module.fake_users_db["johndoe"] = {
        "username": "johndoe",
        "full_name": "John Doe",
        "email": "johndoe@example.com",
        "hashed_password": hashed,
        "disabled": False,
    }
    return Tutorial(
        client=TestClient(module.app),
        find=module.get_user,
        disable=lambda username: module.fake_users_db[username].update(disabled=True),
        slash="/",
        get_password_hash=module.get_password_hash,
        verify_password=module.verify_password,
        create_access_token=module.create_access_token,
    )


def workbook() -> Tutorial:
    from solutions import hashing, oauth2, tokens
    from solutions.stores import users

    store = users.open_user_store()
    # The stored hash costs what production costs. This one is as strong as the test's settings.
    asyncio.run(store.change("johndoe", hashed_password=hashing.hash_password("secret")))
    return Tutorial(
        client=TestClient(oauth2.app),
        find=lambda username: asyncio.run(store.get(username)),
        disable=lambda username: asyncio.run(store.change(username, disabled=True)),
        slash="",
        get_password_hash=hashing.hash_password,
        verify_password=hashing.verify_password,
        create_access_token=tokens.create_access_token,
    )


def assert_refused(answer: Any, detail: str) -> None:
    assert (answer.status_code, answer.json()) == (401, {"detail": detail})
    assert answer.headers.get("WWW-Authenticate") == "Bearer"


def test_a_login_gives_a_bearer_token(tutorial: Tutorial) -> None:
    answer = tutorial.log_in()
    assert answer.status_code == 200
    assert answer.json()["access_token"]
    assert answer.json()["token_type"] == "bearer"


@pytest.mark.parametrize(("username", "password"), [("johndoe", "incorrect"), ("foo", "secret")])
def test_a_wrong_login_is_refused(tutorial: Tutorial, username: str, password: str) -> None:
    assert_refused(tutorial.log_in(username, password), BAD_LOGIN)


def test_no_token(tutorial: Tutorial) -> None:
    assert_refused(tutorial.ask("/users/me"), NOT_AUTHENTICATED)


def test_the_token_opens_the_profile(tutorial: Tutorial) -> None:
    answer = tutorial.get("/users/me", tutorial.log_in().json()["access_token"])
    assert answer.status_code == 200
    assert answer.json() == {
        "username": "johndoe",
        "email": "johndoe@example.com",
        "full_name": "John Doe",
        "disabled": False,
    }


def test_a_token_that_is_none(tutorial: Tutorial) -> None:
    assert_refused(tutorial.get("/users/me", "nonexistent"), BAD_CREDENTIALS)


def test_another_scheme(tutorial: Tutorial) -> None:
    # A good token, so that only the scheme can be what is wrong.
    token = tutorial.log_in().json()["access_token"]
    answer = tutorial.ask("/users/me", {"Authorization": f"Notexistent {token}"})
    assert_refused(answer, NOT_AUTHENTICATED)


def test_verify_password(tutorial: Tutorial) -> None:
    stored = tutorial.find("johndoe").hashed_password
    assert tutorial.verify_password("secret", stored)
    assert not tutorial.verify_password("incorrect", stored)


def test_get_password_hash(tutorial: Tutorial) -> None:
    hashed = tutorial.get_password_hash("johndoe")
    assert hashed
    assert "johndoe" not in hashed


def test_create_access_token_without_sub(tutorial: Tutorial) -> None:
    token = tutorial.create_access_token({"data": "foo"})
    assert token
    assert_refused(tutorial.get("/users/me", token), BAD_CREDENTIALS)


@pytest.mark.parametrize("sub", ["foo", "username:bob"])
def test_a_token_of_nobody(tutorial: Tutorial, sub: str) -> None:
    stamp = tutorial.stamp("johndoe")
    token = tutorial.create_access_token({"sub": sub, **stamp})
    assert_refused(tutorial.get("/users/me", token), BAD_CREDENTIALS)
    twin = tutorial.create_access_token({"sub": "johndoe", **stamp})
    assert tutorial.get("/users/me", twin).status_code == 200


def test_disabled_after_the_login(tutorial: Tutorial) -> None:
    token = tutorial.log_in().json()["access_token"]
    tutorial.disable("johndoe")
    answer = tutorial.get("/users/me", token)
    assert (answer.status_code, answer.json()) == (400, {"detail": "Inactive user"})


def test_the_items(tutorial: Tutorial) -> None:
    answer = tutorial.get("/users/me/items", tutorial.log_in().json()["access_token"])
    assert answer.status_code == 200
    assert answer.json() == [{"item_id": "Foo", "owner": "johndoe"}]
