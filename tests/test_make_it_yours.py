"""What README.md says under "Make it yours", done to a copy under another name, and played."""

import re
import secrets
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import bcrypt
import httpx
import pytest

from lessons.harness.any_loop import AnyLoop
from lessons.harness.catalogue import ROOT, find_lessons
from lessons.harness.routes import documented
from solutions import api_keys, key_rotation, main, oauth2, sessions, social, tenants, tokens
from solutions.stores.sql.migrate import migrate
from solutions.support import health
from solutions.support.apps import create_app
from tests.browser import open_page
from tests.judge import ENVIRONMENT
from tests.processes import refuse_to_start, serve
from tests.test_apps import copy_as_the_readme_says
from tests.test_browser import Docs
from tests.test_texts import blocks

README = ROOT / "README.md"
SECTION = README.read_text("utf-8").partition("\n## Make it yours\n")[2].partition("\n## ")[0]
PREFIX, EMAIL, NUMBERS, OWN_TABLE = blocks(README, "diff")
(MEMBERS,) = blocks(README, "sql")
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


def run(folder: Path, *command: str, **env: str) -> str:
    """Run Python where the copy lies, and return what it prints."""
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=ENVIRONMENT | env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


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


NEWCOMERS = """
import asyncio
from shopauth.stores.users import MemoryUserStore
from shopauth.support.people_at_providers import Person, add_account

async def main():
    users = MemoryUserStore()
    for name in ("erin", "erin", ""):
        person = Person("https://one.example", "1", nickname=name, email="erin@example.com")
        account = await add_account(users, person, "hash")
        print((await users.get(account.username)).username)

asyncio.run(main())
"""


def test_with_addresses_people_come_from_providers_too(shop: Path) -> None:
    """Under names that are nobody's address: else whoever owns it could not register."""
    apply(EMAIL, shop)
    names = run(shop, "-c", NEWCOMERS).split()
    assert names[0] == "erin@people.invalid"
    assert len({*names}) == 3
    assert all(name.endswith("@people.invalid") for name in names), names


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


# --- a table of one's own -------------------------------------------------------------------


class Members:
    """Lesson 12's app on the table of the text, which has a member already: two workers."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder, self.database = folder, AnyLoop(url)
        self.env = {
            "DATABASE_URL": url,
            "JWT_ISSUER": "https://shop.example",
            "JWT_AUDIENCE": "shop",
            "JWT_SECRET": secrets.token_urlsafe(32),
            "PUBLIC_URL": "https://shop.example",
            "TRUSTED_PROXIES": "127.0.0.1",
            "BCRYPT_ROUNDS": "10",
        }

    def make(self) -> None:
        """Make the table as the text says, with somebody in it, and migrate."""
        self.database.wait(migrate(self.database, 0))
        there = {"sqlite": "id integer PRIMARY KEY AUTOINCREMENT"}
        there["postgresql"] = "id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY"
        for key in there.values():
            assert f"`{key.removeprefix('id ')}`" in SECTION or f"{key}," in MEMBERS
        self.database.now(MEMBERS.replace(there["sqlite"], there[self.database.dialect]))
        self.database.now(
            "INSERT INTO members (email, full_name, password_hash, newsletter)"
            " VALUES ('old@example.com', 'Olga', :hash, 1)",
            hash=bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode(),
        )
        self.migrate()

    def migrate(self, *options: str) -> None:
        run(self.folder, "-m", "shopauth.stores.sql.migrate", *options, **self.env)

    @contextmanager
    def workers(self) -> Iterator[list[httpx.Client]]:
        """Start two, behind a proxy that hears https."""
        logs = [self.folder / "one.log", self.folder / "two.log"]
        app = "shopauth.database:app"
        with (
            serve(app, logs[0], self.folder, **self.env) as one,
            serve(app, logs[1], self.folder, **self.env) as two,
        ):
            for client in (one, two):
                client.headers["X-Forwarded-Proto"] = "https"
            yield [one, two]
        for log in logs:
            assert " 500 " not in log.read_text() and "Traceback" not in log.read_text()

    def rows(self) -> dict[str, dict[str, Any]]:
        rows = self.database.now("SELECT * FROM members ORDER BY id")
        return {row["email"]: dict(row) for row in rows}


@pytest.fixture
def members(tmp_path: Path, database_url: str) -> Iterator[Members]:
    assert copy_as_the_readme_says(find_lessons()[11], tmp_path) == "shopauth.database:app"
    folder = tmp_path / "somewhere"
    for diff in (EMAIL, NUMBERS, OWN_TABLE):
        apply(diff, folder)
    members = Members(folder, database_url)
    members.make()
    yield members
    members.migrate("--to", "0")
    left = members.database.now("SELECT * FROM members LIMIT 1")
    columns = {"id", "email", "full_name", "password_hash", "newsletter", "created_at"}
    assert {*left[0]} == columns, "Back at version 0 it is the table that was there."
    members.database.now("DROP TABLE members")
    members.database.close()


def tokens_of(client: httpx.Client, name: str, password: str = PASSWORD) -> dict[str, Any]:
    answer = client.post("/token", data={"username": name, "password": password})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def status_of(answer: httpx.Response) -> int:
    return answer.status_code


def test_a_table_of_ones_own(members: Members) -> None:
    """What is one step is one there too, and nobody else's column is touched."""
    before = members.rows()["old@example.com"]
    with members.workers() as (one, two):
        erin = {"username": "Erin+Shop@Example.com", "password": PASSWORD}
        assert status_of(one.post("/register", json=erin)) == 201
        again = erin | {"username": "erin+shop@example.COM"}
        assert status_of(two.post("/register", json=again)) == 409

        tokens = tokens_of(two, "OLD@example.com")
        mine = bearer(tokens)
        me = one.get("/users/me", headers=mine).json()
        assert (me["email"], me["full_name"]) == ("old@example.com", "Olga")
        after = members.rows()["old@example.com"]
        assert after["password_hash"].startswith("$2b$10$"), "The login makes a cheap hash anew."
        assert before == after | {"password_hash": before["password_hash"]}

        first = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
        following = one.post("/token", data=first)
        assert status_of(following) == 200
        assert status_of(two.post("/token", data=first)) == 400
        stolen = first | {"refresh_token": following.json()["refresh_token"]}
        assert status_of(one.post("/token", data=stolen)) == 400

        wanted = {"name": "backup", "scopes": ["items"], "expires_in_days": 1}
        assert status_of(two.post("/api-keys", headers=mine, json=wanted)) == 201
        change = {"current_password": PASSWORD, "new_password": f"{PASSWORD} more"}
        assert status_of(one.post("/users/me/password", headers=mine, json=change)) == 204
        assert status_of(two.get("/users/me", headers=mine)) == 401
        tokens_of(two, "old@example.com", f"{PASSWORD} more")

        assert status_of(log_in_at_the_page(one, "ERIN+shop@example.com")) == 303
    rows = members.rows()
    assert [row["id"] for row in rows.values()] == sorted({row["id"] for row in rows.values()})
    assert rows["old@example.com"]["newsletter"] == 1
    assert rows["erin+shop@example.com"]["newsletter"] == 0


def log_in_at_the_page(client: httpx.Client, name: str) -> httpx.Response:
    page = client.get("/login")
    token = re.search(r'name="csrf_token" value="([^"]+)"', page.text)
    assert token
    cookies = "; ".join(each.partition(";")[0] for each in page.headers.get_list("set-cookie"))
    return client.post(
        "/login",
        data={"username": name, "password": PASSWORD, "csrf_token": token[1]},
        headers={"Cookie": cookies, "Origin": "https://shop.example"},
    )


def test_a_table_of_ones_own_keeps_its_last_superadmin(members: Members) -> None:
    with members.workers() as workers:
        names = ["alice@example.com", "carol@example.com"]
        for name in names:
            person = {"username": name, "password": PASSWORD}
            assert status_of(workers[0].post("/register", json=person)) == 201
        admins = [bearer(tokens_of(workers[0], name)) for name in names]

        def dismiss(index: int) -> int:
            """Let one take the other's role away, each at her own worker."""
            who = names[1 - index].upper()
            url, change = f"/admin/users/{who}", {"role": "user"}
            return status_of(workers[index].patch(url, headers=admins[index], json=change))

        for _ in range(5):
            members.database.now("UPDATE members SET role = 'superadmin' WHERE id > 1")
            with ThreadPoolExecutor(2) as pool:
                assert sorted(pool.map(dismiss, range(2)))[0] == 200
            roles = [row["role"] for row in members.rows().values()]
            assert roles.count("superadmin") == 1
        left = roles.index("superadmin") - 1
        last, other = names[left], names[1 - left]
        disable = {"disabled": True}
        url = "/admin/users/{}"
        head = admins[left]
        assert status_of(workers[1].patch(url.format(last), headers=head, json=disable)) == 409
        assert status_of(workers[0].patch(url.format(other), headers=head, json=disable)) == 200
        refused = workers[1].post("/token", data={"username": other, "password": PASSWORD})
        assert status_of(refused) == 400
