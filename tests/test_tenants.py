"""Tenants through the routes, in memory and on both databases, and with the first wall off."""

import asyncio
import itertools
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from fastapi import FastAPI
from fastapi.testclient import TestClient

from lessons.harness.audit_lines import audit_lines
from lessons.harness.candidate import clear_caches, clear_state
from lessons.harness.catalogue import ROOT
from lessons.harness.routes import served
from tests.postgres import QUICK, Postgres, postgres
from tests.test_tenant_rows import migrated, url_for

STRANGER, KEY, MEMBER, ADMIN, OWNER = range(5)
NAMES = ("stranger", "key", "member", "admin", "owner")
TABLE = {  # method and path below a tenant: the least that may
    ("GET", ""): KEY,
    ("GET", "/items"): KEY,
    ("POST", "/items"): KEY,
    ("PATCH", "/items"): KEY,
    ("GET", "/items/{item}"): KEY,
    ("PATCH", "/items/{item}"): KEY,
    ("DELETE", "/items/{item}"): KEY,
    ("GET", "/members"): MEMBER,
    ("PATCH", "/members/{username}"): ADMIN,
    ("DELETE", "/members/{username}"): ADMIN,
    ("GET", "/invitations"): ADMIN,
    ("POST", "/invitations"): ADMIN,
    ("DELETE", "/invitations/{invitation}"): ADMIN,
    ("GET", "/keys"): ADMIN,
    ("POST", "/keys"): ADMIN,
    ("DELETE", "/keys/{key}"): ADMIN,
}
ACCEPT = ("POST", "/invitations/accept")  # which anybody may try
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
PASSWORD = "trombone + seven"


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres(**QUICK) as server:
        server.execute("CREATE ROLE shop LOGIN PASSWORD 'shop'")
        yield server


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the DATABASE_URL of an empty database with all tables; empty for memory."""
    if request.param == "memory":
        return ""
    return new_database(request, tmp_path, request.param)


def new_database(request: pytest.FixtureRequest, folder: Path, kind: str) -> str:
    is_sqlite = kind == "sqlite"
    url = f"sqlite:///{folder}/f.db" if is_sqlite else url_for(request.getfixturevalue("server"))
    asyncio.run(bring_up(url))
    return url


async def bring_up(url: str) -> None:
    async with migrated(url, 1):
        pass


class World:
    """Two tenants, and a caller of each role in each of them."""

    def __init__(self, client: TestClient) -> None:
        self.client = client
        self.ids: dict[str, str] = {}
        self.callers: dict[tuple[str, int], dict[str, str]] = {}
        self.fresh = itertools.count()
        for tenant in "ab":
            owner = self.person(f"owner-{tenant}")
            self.ids[tenant] = self.send(owner, "POST", "/tenants", name="shop").json()["id"]
            self.callers[tenant, OWNER] = owner
            for role in (ADMIN, MEMBER):
                self.callers[tenant, role] = self.member(tenant, NAMES[role])
            made = self.send(owner, "POST", f"{self.url(tenant)}/keys", name="k", expires_in_days=1)
            self.callers[tenant, KEY] = {"X-API-Key": made.json()["key"]}

    def url(self, tenant: str) -> str:
        return f"/tenants/{self.ids[tenant]}"

    def send(self, headers: Any, method: str, url: str, **body: Any) -> Any:
        return self.client.request(method, url, headers=headers, json=body or None)

    def person(self, name: str) -> dict[str, str]:
        """Register somebody, and return the header of their token."""
        about = {"username": name, "password": PASSWORD, "email": f"{name}@example.com"}
        assert self.client.post("/register", json=about).status_code == 201
        token = self.client.post("/token", data={"username": name, "password": PASSWORD}).json()
        return {"Authorization": f"Bearer {token['access_token']}"}

    def member(self, tenant: str, role: str, name: str = "") -> dict[str, str]:
        """Register somebody, and let them into a tenant."""
        name = name or f"{role}-{tenant}-{next(self.fresh)}"
        headers, url = self.person(name), f"{self.url(tenant)}/invitations"
        sent = {"email": f"{name}@example.com", "role": role}
        made = self.send(self.callers[tenant, OWNER], "POST", url, **sent)
        assert made.status_code == 201, made.text
        answer = self.send(headers, "POST", f"{url}/accept", secret=made.json()["secret"])
        assert answer.json()["role"] == role, answer.text
        return headers

    def operation(self, tenant: str, method: str, path: str) -> tuple[str, dict[str, Any]]:
        """Return an address below a tenant, with something new to work on, and a good body."""
        owner, below = self.callers[tenant, OWNER], self.url(tenant)
        new = {"title": f"item {next(self.fresh)}"}
        body: dict[str, Any] = {}
        if "/items" in path:
            item = self.send(owner, "POST", f"{below}/items", **new).json()["id"]
            path = path.replace("{item}", item)
            body = {"ids": [item], "done": True} if path == "/items" else {"done": True}
            body = new if method == "POST" else body
        elif "/members" in path:
            name = f"whom-{tenant}-{next(self.fresh)}"
            if "{" in path:
                self.member(tenant, "member", name)
            path, body = path.replace("{username}", name), {"role": "admin"}
        elif "/invitations" in path:
            body = {"email": "x@example.com", "role": "member"}
            if "{" in path:
                made = self.send(owner, "POST", f"{below}/invitations", **body).json()
                path = path.replace("{invitation}", made["id"])
        elif "/keys" in path:
            body = {"name": "k", "expires_in_days": 1}
            if "{" in path:
                made = self.send(owner, "POST", f"{below}/keys", **body).json()
                path = path.replace("{key}", made["id"])
        return path, body if method in ("POST", "PATCH") else {}


@contextmanager
def running(
    patch: pytest.MonkeyPatch, url: str, app: FastAPI | None = None, **settings: str
) -> Iterator[TestClient]:
    """Run an app on a database, as uvicorn would."""
    from solutions import tenants

    for name, value in {"DATABASE_URL": url, **settings}.items():
        patch.setenv(name, value)
    clear_caches()
    clear_state()
    with TestClient(app or tenants.app) as client:
        yield client


@pytest.fixture
def world(development: pytest.MonkeyPatch, database: str) -> Iterator[World]:
    with running(development, database) as client:
        yield World(client)


def test_every_operation_has_a_row_in_the_table() -> None:
    from solutions.tenants import app

    below = "/tenants/{tenant}"
    found = {(method, path) for method, path in served(app) if path.startswith(below)}
    assert found == {(method, below + path) for method, path in [*TABLE, ACCEPT]}


def test_every_cell_is_as_the_table_says(world: World) -> None:
    """Each of both tenants as the caller's and as the target, each role, each route and method."""
    for home, target in itertools.product("ab", repeat=2):
        for role in (KEY, MEMBER, ADMIN, OWNER):
            headers = world.callers[home, role]
            for (method, path), least in TABLE.items():
                url, body = world.operation(target, method, path)
                answer = world.send(headers, method, world.url(target) + url, **body)
                cell = f"{NAMES[role]} of {home}: {method} {path} of {target}"
                if home != target:
                    assert answer.status_code == 404, cell
                    assert answer.json() == {"detail": "No such tenant"}, cell
                elif role >= least:
                    assert answer.status_code in (200, 201, 204), f"{cell}: {answer.text}"
                else:
                    assert answer.status_code == 403, cell
                assert answer.headers.get("cache-control") == "no-store", cell
    answer = world.send({}, "GET", world.url("a"))
    assert answer.status_code == 401


def test_no_other_method_is_there(world: World) -> None:
    owner = world.callers["a", OWNER]
    for path in {path for _, path in TABLE}:
        for method in METHODS:
            if (method, path) not in TABLE:
                url = world.url("a") + path.replace("{", "").replace("}", "")
                assert world.send(owner, method, url).status_code == 405, f"{method} {path}"


def test_an_id_of_the_other_tenant_is_none(world: World) -> None:
    for home, other in ("ab", "ba"):
        for (method, path), _ in TABLE.items():
            if "{" in path:
                url, body = world.operation(other, method, path)
                answer = world.send(
                    world.callers[home, OWNER], method, world.url(home) + url, **body
                )
                assert answer.status_code == 404, f"{method} {path}"
                there = world.callers[other, OWNER]
                again = world.send(there, method, world.url(other) + url, **body)
                assert again.status_code in (200, 204), f"{method} {path} was touched"
        items = [world.operation(each, "GET", "/items/{item}")[0][7:] for each in (home, other)]
        answer = world.send(
            world.callers[home, OWNER], "PATCH", f"{world.url(home)}/items", ids=items, done=True
        )
        assert answer.status_code == 404
        one = world.send(world.callers[home, OWNER], "GET", f"{world.url(home)}/items/{items[0]}")
        assert one.json()["done"] is False


def test_lists_pages_and_searches_are_of_one_tenant(world: World) -> None:
    for tenant in "ab":
        for number in range(5):
            title = {"title": f"{tenant}{number} 100%_\\"}
            world.send(world.callers[tenant, OWNER], "POST", f"{world.url(tenant)}/items", **title)
    for tenant, other in ("ab", "ba"):

        def page(of: str = tenant, **params: Any) -> Any:
            url = f"{world.url(of)}/items"
            return world.client.get(url, params=params, headers=world.callers[of, OWNER]).json()

        assert page(q="%")["total"] == page(q="0%_\\")["total"] == 5
        assert page(q=other)["total"] == page(q="a%b")["total"] == 0
        first = page(limit=2)
        assert [each["title"][:2] for each in first["items"]] == [f"{tenant}0", f"{tenant}1"]
        rest = page(after=first["next"])
        assert [each["title"][1] for each in rest["items"]] == ["2", "3", "4"]
        assert rest["next"] is None and rest["total"] == 5
        theirs = {each["title"][0] for each in page(other, after=first["next"])["items"]}
        assert theirs == {other}
    for bad in ("1", "-1-x", "1-" + "g" * 32, "9" * 16 + "-" + "a" * 32):
        url = f"{world.url('a')}/items?after={bad}"
        assert world.send(world.callers["a", OWNER], "GET", url).status_code == 422, bad


def test_odd_ids_and_texts_are_4xx(world: World) -> None:
    owner = world.callers["a", OWNER]
    for odd in ("%00", "%27", "x" * 400, "%25", "..%2f", "%ed%a0%80"):
        for url in (f"/tenants/{odd}", f"/tenants/{odd}/items", f"{world.url('a')}/items/{odd}"):
            assert world.send(owner, "GET", url).status_code in (404, 422), url
        url = f"{world.url('a')}/members/{odd}"
        assert world.send(owner, "DELETE", url).status_code == 404, url
    for title in ("\0", "a\0", "", " ", "x" * 201, "\u202e", 1, None):
        answer = world.send(owner, "POST", f"{world.url('a')}/items", title=title)
        assert answer.status_code == 422, ascii(title)
    raw = {**owner, "Content-Type": "application/json"}
    surrogate = b'{"title": "\\ud800"}'
    url = f"{world.url('a')}/items"
    assert world.client.post(url, content=surrogate, headers=raw).status_code == 422
    assert world.client.get(f"{url}?q=%00", headers=owner).json()["total"] == 0


def test_a_name_that_is_free_again_is_nobody(world: World, database: str) -> None:
    """Who gets the name of a member whose account is gone gets nothing else; and may be invited."""

    from solutions.stores.sql.opening import open_database
    from solutions.stores.sql.users import SqlUsers
    from solutions.stores.users import open_user_store

    async def remove() -> bool:
        if not database:
            return await open_user_store().remove("erin")
        async with open_database(database, 1) as opened:
            return await SqlUsers(opened).remove("erin")

    headers, below = world.member("a", "admin", "erin"), world.url("a")
    key = world.send(headers, "POST", f"{below}/keys", name="k", expires_in_days=9).json()["key"]
    for sent in (headers, {"X-API-Key": key}):
        assert world.send(sent, "GET", below).status_code == 200
    assert asyncio.run(remove())
    again = world.person("erin")
    for sent in (again, {"X-API-Key": key}):
        assert world.send(sent, "GET", below).status_code == 404
    made = {"email": "erin@example.com", "role": "member"}
    owner = world.callers["a", OWNER]
    secret = world.send(owner, "POST", f"{below}/invitations", **made).json()["secret"]
    answer = world.send(again, "POST", f"{below}/invitations/accept", secret=secret)
    assert answer.json()["role"] == "member"
    listed = world.send(owner, "GET", f"{below}/members").json()
    assert [each["role"] for each in listed if each["username"] == "erin"] == ["member"]


def test_an_end_is_the_end(world: World) -> None:
    """Keys and invitations after their days; what is listed is what is open."""
    owner, below = world.callers["a", OWNER], world.url("a")
    sent = {"email": "late@example.com", "role": "member"}
    secret = world.send(owner, "POST", f"{below}/invitations", **sent).json()["secret"]
    with time_machine.travel(timedelta(days=7, minutes=1)):
        late = world.person("late")
        answer = world.send(late, "POST", f"{below}/invitations/accept", secret=secret)
        assert answer.status_code == 404
        token = world.client.post("/token", data={"username": "owner-a", "password": PASSWORD})
        owner = {"Authorization": f"Bearer {token.json()['access_token']}"}
        assert world.send(owner, "GET", f"{below}/invitations").json() == []
        assert world.send(world.callers["a", KEY], "GET", below).status_code == 404
        made = world.send(owner, "POST", f"{below}/keys", name="new", expires_in_days=1).json()
        listed = world.send(owner, "GET", f"{below}/keys").json()
        assert [each["id"] for each in listed] == [made["id"]], "The one that is over is swept."


def test_more_than_one_s_own_is_not_granted(world: World) -> None:
    admin, below = world.callers["a", ADMIN], world.url("a")
    for role, status in (("member", 201), ("admin", 201), ("owner", 403), ("key", 422)):
        sent = {"email": "x@example.com", "role": role}
        assert world.send(admin, "POST", f"{below}/invitations", **sent).status_code == status
    for role, status in (("owner", 403), ("key", 422), ("king", 422)):
        answer = world.send(admin, "PATCH", f"{below}/members/owner-a", role=role)
        assert answer.status_code == status


def test_the_audit_log_has_the_tenant_in_each_line(development: pytest.MonkeyPatch) -> None:
    from solutions import hashing, refresh, tenants
    from solutions.hardening import harden
    from solutions.support.apps import create_app
    from solutions.support.audit import EVENTS

    app = harden(create_app("shop", *(each.router for each in (hashing, refresh)), tenants.router))
    with audit_lines() as lines, running(development, "", app) as client:
        world = World(client)
        for (method, path), _ in TABLE.items():
            if method != "GET":
                url, body = world.operation("a", method, path)
                world.send(world.callers["a", OWNER], method, world.url("a") + url, **body)
                event = lines.events[-1]
                assert event["what"] == EVENTS[f"{method} /tenants/{{tenant}}{path}"]
                assert world.ids["a"] in event["whom"], event
                assert (event["who"], event["outcome"]) == ("owner-a", "ok")
        world.send(world.callers["b", OWNER], "DELETE", f"{world.url('a')}/items/x")
        event = lines.events[-1]
        assert (event["who"], event["outcome"]) == ("owner-b", "refused")


# --- the second wall, and several workers ---------------------------------------------------


def tear_down_the_first_wall(patch: pytest.MonkeyPatch) -> None:
    """Let every query forget the tenant. New rows still say whose they are."""
    from solutions.tenants import Narrowed

    async def find(self: Any, table: str, **about: Any) -> Any:
        how = {name: about.pop(name) for name in ("after", "limit", "containing") if name in about}
        return await self._rows.find(table, about, **how)

    async def count(self: Any, table: str, *, containing: str = "", **where: Any) -> Any:
        return await self._rows.count(table, where, containing=containing)

    async def change(self: Any, table: str, where: Any, **fields: Any) -> Any:
        return await self._rows.change(table, where, fields)

    async def remove(self: Any, table: str, **where: Any) -> Any:
        return await self._rows.remove(table, where)

    for function in (find, count, change, remove):
        patch.setattr(Narrowed, function.__name__, function)


SHOWN: list[Callable[[World], None]] = [
    test_every_cell_is_as_the_table_says,
    test_an_id_of_the_other_tenant_is_none,
    test_lists_pages_and_searches_are_of_one_tenant,
]


@pytest.mark.parametrize("test", SHOWN, ids=lambda test: test.__name__)
def test_row_level_security_holds_when_every_query_forgets_the_tenant(
    test: Callable[[World], None],
    development: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> None:
    """On one connection, which both tenants have in turn."""
    url = new_database(request, tmp_path, "postgresql")
    tear_down_the_first_wall(development)
    with running(development, url, DATABASE_CONNECTIONS="1") as client:
        test(World(client))


def test_sqlite_has_the_first_wall_only(
    development: pytest.MonkeyPatch, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """As the text says. So the tests above would find a wall that is not there."""
    url = new_database(request, tmp_path, "sqlite")
    with running(development, url) as client:
        world = World(client)
        tear_down_the_first_wall(development)
        with pytest.raises(AssertionError):
            test_lists_pages_and_searches_are_of_one_tenant(world)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_two_workers_leave_an_owner_and_let_one_in(
    kind: str, development: pytest.MonkeyPatch, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Two owners leave at once by two workers; two accounts accept one invitation."""
    url = new_database(request, tmp_path, kind)
    with ExitStack() as stack, ThreadPoolExecutor(2) as pool:
        workers = [stack.enter_context(running(development, url)) for _ in range(2)]
        world = World(workers[0])
        owner, below = world.callers["a", OWNER], world.url("a")
        people = {name: world.member("a", "owner", name) for name in ("dave", "erin")}
        world.send(owner, "DELETE", f"{below}/members/owner-a")

        def at_once(*requests: tuple[Any, str, str, dict[str, Any]]) -> list[int]:
            ready = threading.Barrier(2)

            def one(worker: TestClient, sent: tuple[Any, str, str, dict[str, Any]]) -> int:
                headers, method, path, body = sent
                ready.wait(10)
                answer = worker.request(method, path, headers=headers, json=body or None)
                return int(answer.status_code)

            return sorted(pool.map(one, workers, requests))

        for _ in range(8):
            statuses = at_once(
                *((people[name], "DELETE", f"{below}/members/{name}", {}) for name in people)
            )
            assert statuses in ([204, 409], [204, 404]), statuses
            (left,) = [name for name in people if world.send(people[name], "GET", below).is_success]
            (gone,) = set(people) - {left}
            sent = {"email": f"{gone}@example.com", "role": "owner"}
            made = world.send(people[left], "POST", f"{below}/invitations", **sent).json()
            accept = (people[gone], "POST", f"{below}/invitations/accept")
            secret = {"secret": made["secret"]}
            assert at_once((*accept, secret), (*accept, secret)) == [200, 404]


def test_the_recording_of_the_demo_is_true(server: Postgres) -> None:
    """What the notebook shows of row-level security, played on a real server."""
    import ast

    import psycopg

    text = (ROOT / "notebooks" / "props" / "tenants.py").read_text("utf-8")
    recording = next(
        ast.literal_eval(node.value)
        for node in ast.parse(text).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "RECORDING"
    )
    played = re.findall(r"((?:^shop[=-]> .*\n?)+)((?:^(?!shop).*\n?)*)", recording, re.M)
    with psycopg.connect(url_for(server), autocommit=True) as connection:
        for statement in (
            "CREATE TABLE items (tenant text, title text)",
            "INSERT INTO items VALUES ('shop', 'Buy the bakery'), ('mallory', 'Feed the cat')",
            "ALTER TABLE items ENABLE ROW LEVEL SECURITY",
            "ALTER TABLE items FORCE ROW LEVEL SECURITY",
        ):
            connection.execute(statement)
        compared = 0
        for typed, printed in played:
            typed = re.sub(r"^shop[=-]> ", "", typed, flags=re.M)
            *before, last = [each for each in re.split(r";.*\n?", typed) if each.strip()]
            for statement in before:
                connection.execute(statement.encode())
            try:
                rows = connection.execute(last.encode()).fetchall() if printed else []
                count = f"({len(rows)} row{'' if len(rows) == 1 else 's'})"
                said = "".join(f" {row[0]}\n" for row in rows) + count
            except psycopg.errors.InsufficientPrivilege as error:
                said = f"ERROR:  {error.diag.message_primary}"
            assert not printed or printed.strip("\n") == said
            compared += bool(printed)
    assert compared == 4


def test_production_does_not_start_with_a_role_that_passes_the_wall(
    development: pytest.MonkeyPatch, server: Postgres
) -> None:
    """The server's owner is a superuser. A role of one's own starts."""
    from solutions.support.settings import UnsafeSettings

    ordinary = url_for(server)
    asyncio.run(bring_up(ordinary))
    owner = server.url(ordinary.rpartition("/")[2])
    names = {"JWT_ISSUER": "https://shop.example", "JWT_AUDIENCE": "shop", "BCRYPT_ROUNDS": "12"}
    production = {"ENVIRONMENT": "production", **names}
    with running(development, ordinary, **production) as client:
        assert client.get("/tenants").status_code == 401
    with (
        pytest.raises(UnsafeSettings, match="BYPASSRLS"),
        running(development, owner, **production),
    ):
        pass
