"""What README.md says under "Make it yours", done to a copy under another name, and played."""

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx
import pytest

from lessons.harness.catalogue import ROOT, find_lessons
from lessons.harness.routes import documented
from solutions import api_keys, key_rotation, main, oauth2, sessions, social, tenants, tokens
from solutions.support import health
from solutions.support.apps import create_app
from tests.browser import open_page
from tests.processes import refuse_to_start, serve
from tests.test_apps import copy_as_the_readme_says
from tests.test_browser import Docs
from tests.test_texts import blocks

README = ROOT / "README.md"
SECTION = README.read_text("utf-8").partition("\n## Make it yours\n")[2].partition("\n## ")[0]
PREFIX, EMAIL, NUMBERS = blocks(README, "diff")
PASSWORD = "trombone + seven"


def apply(diff: str, folder: Path) -> None:
    """Change files as a diff says: each of its parts fits in exactly one place."""
    for part in re.split(r"^--- ", diff, flags=re.M)[1:]:
        name, _, hunks = part.partition("\n")
        file = folder / name.replace("auth/", "shopauth/")
        text = file.read_text("utf-8")
        for hunk in re.split(r"^@@\n", hunks, flags=re.M):
            lines = hunk.splitlines()
            old = "".join(f"{line[1:]}\n" for line in lines if not line.startswith("+"))
            new = "".join(f"{line[1:]}\n" for line in lines if not line.startswith("-"))
            assert text.count(old) == 1, hunk
            text = text.replace(old, new)
        file.write_text(text, "utf-8")


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A folder with the whole system in `shopauth`, and the app of one's own beside it."""
    app = copy_as_the_readme_says(find_lessons()[9], tmp_path)
    assert app == "shopauth.hardening:app"
    (code,) = blocks(README, "python")
    folder = tmp_path / "somewhere"
    (folder / "shop.py").write_text(re.sub(r"\bauth\b", "shopauth", code))
    return folder


@contextmanager
def running(folder: Path, **env: str) -> Iterator[httpx.Client]:
    """Start the shop, in production if nothing else is said."""
    names = {"JWT_ISSUER": "https://shop.example", "JWT_AUDIENCE": "shop", "BCRYPT_ROUNDS": "10"}
    secret = {"JWT_SECRET": secrets.token_urlsafe(32)}
    with serve("shop:app", folder / "log", folder, **(names | secret | env)) as client:
        yield client
    assert " 500 " not in (folder / "log").read_text()


def enter(client: httpx.Client, name: str, typed: str = "") -> dict[str, Any]:
    """Register and log in; return the tokens."""
    person = {"username": name, "password": PASSWORD}
    answer = client.post("/api/v1/register", json=person)
    assert answer.status_code == 201, answer.text
    address = urljoin(f"{client.base_url}/docs", token_url(client))
    answer = client.post(address, data=person | {"username": typed or name})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def token_url(client: httpx.Client) -> str:
    """Return where the Authorize button looks for the login."""
    schemes = client.get("/openapi.json").json()["components"]["securitySchemes"]
    return str(schemes["OAuth2PasswordBearer"]["flows"]["password"]["tokenUrl"])


def bearer(tokens: dict[str, Any]) -> dict[str, str]:
    return {"Authorization": f"Bearer {tokens['access_token']}"}


# --- the text -------------------------------------------------------------------------------


def paths(router: Any) -> set[str]:
    return {str(route.path) for route in router.routes}


def test_the_demo_routes_are_named() -> None:
    shown, _, pattern = SECTION.partition("One more is still there")
    named = set(re.findall(r"`GET (/\S+)`", shown))
    assert named == paths(oauth2.demo_router) | paths(api_keys.demo_router)
    schema = main.app.openapi()["paths"]
    made_up = {path for path, methods in schema.items() if "/Item" in str(methods.get("get"))}
    made_up |= {path for path, methods in schema.items() if "/Secret" in str(methods.get("get"))}
    assert made_up - named == {"/users/{username}/items"}
    assert "`GET /users/{username}/items`" in pattern
    assert not paths(tokens.router) & set(schema)  # 02's is for show, and in no whole system


# --- under a prefix, without the demos ------------------------------------------------------


def test_under_a_prefix_without_the_demos(shop: Path) -> None:
    apply(PREFIX, shop)
    with running(shop) as client:
        mine = bearer(enter(client, "erin"))
        assert client.get("/api/v1/orders").status_code == 401
        assert client.get("/api/v1/orders", headers=mine).json() == ["an order of erin"]
        served = set(client.get("/openapi.json").json()["paths"])
        pages = {
            path for _, path in documented(create_app("Pages", sessions.router, social.router))
        }
        whole = set(main.app.openapi()["paths"])
        whole -= paths(key_rotation.router)  # for apps whose tokens are of its kind
        whole -= paths(oauth2.demo_router) | paths(api_keys.demo_router)
        later = create_app("Later lessons", tenants.router, health.router)
        whole -= {path for _, path in documented(later)}
        assert served - pages == {f"/api/v1{path}" for path in whole - pages} | {"/api/v1/orders"}
        assert pages < served
        assert client.get("/login").status_code == 200
        assert client.post("/token", data={}).status_code == 404
        # OAuth's own answers came along with the routes.
        refused = client.post("/api/v1/token", data={"grant_type": "x"})
        assert refused.json()["error"] == "unsupported_grant_type"
        assert refused.headers["cache-control"] == "no-store"
        big = client.post("/api/v1/register", content=b" " * 100_000)
        assert big.status_code == 413


@pytest.mark.parametrize("changed", [True, False], ids=["told", "not told"])
def test_the_authorize_button_finds_the_login(changed: bool, shop: Path) -> None:
    """And it does not without the change, so that the text asks for nothing idle."""
    if changed:
        apply(PREFIX, shop)
    env = {"ENVIRONMENT": "development", "BCRYPT_ROUNDS": "4"}
    with running(shop, **env) as client, open_page() as page:
        if changed:
            Docs(page, str(client.base_url)).log_in(scopes=True)
        else:
            assert client.post(f"/{token_url(client)}", data={}).status_code == 404


def test_an_app_that_is_there_already(shop: Path) -> None:
    text = " ".join(SECTION.split())
    assert (
        "`redirect_slashes=False`, and the middlewares `Bounds` and `StartUp`, in this order"
        in text
    )
    mine = shop / "shop.py"
    code = mine.read_text()
    there = (
        "from fastapi import FastAPI\n"
        "from shopauth.support.bounds import Bounds\n"
        "from shopauth.support.start_up import StartUp\n"
        "app = FastAPI(redirect_slashes=False)\n"
        "app.include_router(api)\n"
        "app.add_middleware(Bounds)\n"
        "app.add_middleware(StartUp)\n"
    )
    assert code.count('app = create_app("Shop", api, sessions.router, social.router)\n') == 1
    line = 'app = create_app("Shop", api, sessions.router, social.router)\n'
    mine.write_text(code.replace(line, there))
    apply(PREFIX, shop)
    with running(shop) as client:
        mine_only = bearer(enter(client, "erin"))
        assert client.get("/api/v1/orders", headers=mine_only).status_code == 200
        assert client.post("/api/v1/token/", data={}).status_code == 404
        assert client.post("/api/v1/register", content=b" " * 100_000).status_code == 413
    assert refuse_to_start("shop:app", shop).startswith("Not started: JWT_SECRET is not set.")


# --- an e-mail address as the login ---------------------------------------------------------


def test_an_email_address_as_the_login(shop: Path) -> None:
    for diff in (PREFIX, EMAIL):
        apply(diff, shop)
    with running(shop) as client:
        tokens = enter(client, "Erin+Shop@Example.co.uk", typed="erin+shop@example.CO.UK")
        mine = bearer(tokens)
        me = client.get("/api/v1/users/me", headers=mine).json()
        assert me["username"] == "erin+shop@example.co.uk"
        address = "/api/v1/users/erin+shop@example.co.uk/items"
        assert client.get(address, headers=mine).status_code == 200
        again = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
        assert client.post("/api/v1/token", data=again).status_code == 200
        wanted = {"name": "backup", "scopes": ["items"], "expires_in_days": 1}
        key = client.post("/api/v1/api-keys", headers=mine, json=wanted)
        assert key.status_code == 201
        for name in ("erin", "erin@example", "erin@example.com.", "e rin@example.com", "e" * 99):
            refused = client.post("/api/v1/register", json={"username": name, "password": PASSWORD})
            assert refused.status_code == 422, name
            assert "is an e-mail address" in refused.text


def test_with_addresses_development_starts_too(shop: Path) -> None:
    for diff in (PREFIX, EMAIL):
        apply(diff, shop)
    with running(shop, ENVIRONMENT="development", BCRYPT_ROUNDS="4") as client:
        assert enter(client, "erin@example.com")
        demo = client.post("/api/v1/token", data={"username": "johndoe", "password": "secret"})
        assert demo.json()["error"] == "invalid_grant"


# --- numbers as ids -------------------------------------------------------------------------


def test_numbers_as_ids(shop: Path) -> None:
    """With both of the others: the three go together."""
    for diff in (PREFIX, EMAIL, NUMBERS):
        apply(diff, shop)
    mine = shop / "shop.py"
    old = 'f"an order of {user.username}"'
    text = mine.read_text()
    assert old in text
    mine.write_text(text.replace(old, "str(user.id)"))
    with running(shop) as client:
        people = [enter(client, f"{name}@example.com") for name in ("erin", "frank", "grace")]
        for _ in range(2):
            shown = [client.get("/api/v1/orders", headers=bearer(each)).json() for each in people]
            assert shown == [["1"], ["2"], ["3"]]
        # The number is for inside: no answer of the system itself has it.
        me = client.get("/api/v1/users/me", headers=bearer(people[0])).json()
        assert "id" not in me
