"""The whole system on a database: whatever is sent, and whichever statement fails."""

import asyncio
import itertools
import json
import logging
import re
import secrets
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from importlib import import_module
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from lessons.harness.abroad import leads_to
from lessons.harness.any_loop import AnyLoop
from lessons.harness.internet import internet_of
from lessons.harness.provider import Provider, Reply
from lessons.harness.routes import served
from solutions.stores.sql import postgres, sqlite
from solutions.stores.sql.database import Row, StoreDown, Value
from solutions.support.settings import get_settings
from tests.contract import TABLES
from tests.everyday import IS_EVERYDAY
from tests.processes import free_port

ERIN = {"username": "erin", "password": "trombone + seven"}
SAME_SITE = {"Sec-Fetch-Site": "same-origin"}
PROVIDER = "https://login.example"
LATE = (False,) if IS_EVERYDAY else (False, True)  # whether a statement fails when it is done
UNTOLD = re.compile(r"/(healthz|readyz|docs.*|redoc|openapi\.json|\.well-known/.*|static.*)?")
Sent = tuple[str, str, dict[str, Any]]  # method, address, and what is sent


@pytest.fixture
def on_database(development: pytest.MonkeyPatch, database_url: str) -> pytest.MonkeyPatch:
    """Development on a database of this test's own, without limits that it would meet."""
    for name, value in {
        "DATABASE_URL": database_url,
        "MAX_BODY_BYTES": "5000000",
        "ATTEMPTS_PER_LOGIN": "100",
        "ATTEMPTS_PER_ADDRESS": "1000000",
        "ATTEMPTS_PER_NAME": "1000000",
        "OIDC_ISSUER": PROVIDER,
        "OIDC_CLIENT_ID": "shop",
        "OIDC_CLIENT_SECRET": "secret",
    }.items():
        development.setenv(name, value)
    return development


@pytest.fixture(params=["main", "database"])
def each_app(request: pytest.FixtureRequest, on_database: pytest.MonkeyPatch) -> FastAPI:
    """The whole system, and the app of lesson 12, around which stands what lesson 10 has."""
    app: FastAPI = import_module(f"solutions.{request.param}").app
    return app


@contextmanager
def client_of(app: FastAPI) -> Iterator[TestClient]:
    # No cookies are kept: each request brings its own.
    with TestClient(
        app, "http://localhost:8000", raise_server_exceptions=False, follow_redirects=False
    ) as client:
        yield client


@pytest.fixture
def app(on_database: pytest.MonkeyPatch) -> FastAPI:
    """The whole system."""
    from solutions.main import app

    return app


class Generous(Provider):
    """A provider whose codes may come again: the database is put back as well."""

    def _token(self, headers: Mapping[str, str], body: bytes) -> Reply:
        for grant in self._grants.values():
            grant.spent = False
        return super()._token(headers, body)


@pytest.fixture
def provider() -> Iterator[Provider]:
    """The one provider that there is."""
    there = Generous(PROVIDER, "shop", "secret")
    with internet_of(there):
        yield there


class Erin:
    """What a person has: tokens, a key, a session, and a right role to try everything."""

    def __init__(self, client: TestClient, database: AnyLoop, provider: Provider) -> None:
        self.client, self.provider = client, provider
        assert client.post("/register", json=ERIN).status_code == 201
        # The only one: carol is none any more.
        database.now("UPDATE users SET role = 'user' WHERE username = 'carol'")
        database.now("UPDATE users SET role = 'superadmin' WHERE username = 'erin'")
        self.tokens = client.post("/token", data=ERIN).json()
        self.bearer = {"Authorization": f"Bearer {self.tokens['access_token']}"}
        wanted = {"name": "backup", "scopes": ["items"], "expires_in_days": 1}
        made = client.post("/api-keys", headers=self.bearer, json=wanted).json()
        self.key, self.key_id = {"X-API-Key": made["key"]}, made["id"]
        form = self.begin()
        answer = client.post("/login", headers=form, data=ERIN | self.csrf(form))
        assert answer.status_code == 303, answer.text
        self.browser = SAME_SITE | {"Cookie": cookie_of(answer)}
        self.browser["X-CSRF-Token"] = client.get("/session", headers=self.browser).json()[
            "csrf_token"
        ]
        (row,) = client.get("/sessions", headers=self.browser).json()
        self.session_id = row["id"]
        self.form = self.begin()
        self.at_the_provider = self.outward(("GET", "/login/oidc", {}), "2")
        linking = ("POST", "/identities/oidc", {"headers": self.browser})
        self.to_be_linked = self.outward(linking, "3", self.browser["Cookie"])
        client.cookies.clear()
        self.tenant: list[Sent] = []
        if "/tenants" in client.app.openapi()["paths"]:  # type: ignore[attr-defined]
            self.tenant = self.in_a_tenant()

    def outward(self, begins: Sent, subject: str, cookie: str = "") -> Sent:
        """Go to the provider, and return the request with which the browser comes back."""
        answer = send(self.client, begins)
        back = self.provider.answer(leads_to(answer), {"sub": subject, "name": "Zo\u00eb"})
        came = {"Cookie": cookie or cookie_of(answer), "Sec-Fetch-Site": "cross-site"}
        return "GET", back.removeprefix("http://localhost:8000"), {"headers": came}

    def in_a_tenant(self) -> list[Sent]:
        """Make a tenant, and return a good request to each of its routes."""

        def ask(method: str, url: str, headers: dict[str, str], **body: Any) -> Any:
            answer = send(self.client, (method, url, {"headers": headers, "json": body}))
            assert answer.status_code < 300, answer.text
            return answer.json()

        def token_of(username: str, password: str) -> dict[str, str]:
            form = {"username": username, "password": password}
            token = self.client.post("/token", data=form).json()["access_token"]
            return {"Authorization": f"Bearer {token}"}

        frank = ERIN | {"username": "frank", "email": "frank@example.com"}
        assert self.client.post("/register", json=frank).status_code == 201
        john, franks = token_of("johndoe", "secret"), token_of("frank", ERIN["password"])
        own = f"/tenants/{ask('POST', '/tenants', self.bearer, name='shop')['id']}"
        item = ask("POST", f"{own}/items", self.bearer, title="one")["id"]
        key = ask("POST", f"{own}/keys", self.bearer, name="k", expires_in_days=1)
        by_key, accept = {"X-API-Key": key["key"]}, f"{own}/invitations/accept"
        wanted = {"email": "johndoe@example.com", "role": "member"}
        for_frank = wanted | {"email": frank["email"]}
        first, second, third = (
            ask("POST", f"{own}/invitations", self.bearer, **each)
            for each in (wanted, wanted, for_frank)
        )
        ask("POST", accept, john, secret=first["secret"])

        def by(headers: dict[str, str], **body: Any) -> dict[str, Any]:
            return {"headers": headers} | ({"json": body} if body else {})

        return [
            ("POST", "/tenants", by(self.bearer, name="another")),
            ("GET", "/tenants", by(self.bearer)),
            ("GET", own, by(self.browser)),
            ("GET", f"{own}/members", by(john)),
            ("PATCH", f"{own}/members/johndoe", by(self.bearer, role="admin")),
            ("DELETE", f"{own}/members/johndoe", by(john)),
            ("PATCH", f"{own}/members/erin", by(self.bearer, role="member")),
            ("GET", f"{own}/items?limit=1&q=o", by(by_key)),
            ("POST", f"{own}/items", by(self.browser, title="two")),
            ("PATCH", f"{own}/items", by(by_key, ids=[item], done=True)),
            ("GET", f"{own}/items/{item}", by(by_key)),
            ("PATCH", f"{own}/items/{item}", by(self.bearer, title="three", done=True)),
            ("DELETE", f"{own}/items/{item}", by(by_key)),
            ("GET", f"{own}/invitations", by(self.bearer)),
            ("POST", f"{own}/invitations", by(self.bearer, **wanted)),
            ("DELETE", f"{own}/invitations/{second['id']}", by(self.bearer)),
            ("POST", accept, by(franks, secret=third["secret"])),
            ("GET", f"{own}/keys", by(self.bearer)),
            ("POST", f"{own}/keys", by(self.bearer, name="n", expires_in_days=2)),
            ("DELETE", f"{own}/keys/{key['id']}", by(self.bearer)),
        ]

    def begin(self) -> dict[str, str]:
        """Ask for a login form, and return the headers of that browser."""
        self.client.cookies.clear()
        page = self.client.get("/login")
        self.client.cookies.clear()
        token = page.text.partition('csrf_token" value="')[2].partition('"')[0]
        return SAME_SITE | {"Cookie": cookie_of(page), "X-CSRF-Token": token}

    def csrf(self, browser: dict[str, str]) -> dict[str, str]:
        return {"csrf_token": browser["X-CSRF-Token"]}

    def story(self) -> list[Sent]:
        """Return a good request to each route that needs a store."""
        refresh = {"grant_type": "refresh_token", "refresh_token": self.tokens["refresh_token"]}
        password = {"current_password": ERIN["password"], "new_password": "bassoon + eleven"}
        key = {"name": "another", "scopes": ["items"], "expires_in_days": 1}
        by_form = {"headers": self.browser, "data": self.csrf(self.browser)}
        unlinking = by_form | {"data": self.csrf(self.browser) | {"provider": "oidc"}}
        george = ERIN | {"username": "george"}
        login = {"headers": self.form, "data": ERIN | self.csrf(self.form)}
        return [
            ("POST", "/register", {"json": george}),
            ("POST", "/token", {"data": ERIN}),
            ("POST", "/token", {"data": refresh}),
            ("POST", "/revoke", {"data": {"token": self.tokens["refresh_token"]}}),
            *(
                ("GET", url, {"headers": self.bearer})
                for url in (
                    *("/users/me", "/users/me/items", "/protected-resource", "/api-keys"),
                    *("/users/me/permissions", "/users/johndoe/items", "/admin/users"),
                )
            ),
            ("PATCH", "/admin/users/johndoe", {"headers": self.bearer, "json": {"role": "admin"}}),
            ("PATCH", "/admin/users/erin", {"headers": self.bearer, "json": {"disabled": True}}),
            ("POST", "/users/me/password", {"headers": self.bearer, "json": password}),
            ("POST", "/api-keys", {"headers": self.bearer, "json": key}),
            ("DELETE", f"/api-keys/{self.key_id}", {"headers": self.bearer}),
            ("GET", "/api/protected", {"headers": self.key}),
            ("GET", "/api/items", {"headers": self.key}),
            ("GET", "/login", {}),
            ("POST", "/login", login),
            *(
                ("GET", url, {"headers": self.browser})
                for url in ("/account", "/session", "/sessions", "/identities")
            ),
            ("GET", "/account/identities", {"headers": self.browser}),
            ("POST", "/account/sessions", by_form),
            ("POST", "/sessions/end-others", {"headers": self.browser}),
            ("DELETE", f"/sessions/{self.session_id}", {"headers": self.browser}),
            ("GET", "/login/oidc", {}),
            self.at_the_provider,
            ("POST", "/identities/oidc", {"headers": self.browser}),
            self.to_be_linked,
            ("DELETE", "/identities/oidc", {"headers": self.browser}),
            ("POST", "/account/identities", unlinking),
            ("POST", "/logout", by_form),
            *self.tenant,
        ]


def cookie_of(answer: Any) -> str:
    """Return the cookie that an answer sets, as a browser sends it."""
    return str(answer.headers["set-cookie"].partition(";")[0])


def is_to(route: tuple[str, str], sent: Sent) -> bool:
    """Tell whether a request goes to a route, by method and path."""
    path = re.sub(r"{\w+}", "[^/]+", route[1])
    return sent[0] == route[0] and bool(re.fullmatch(path, sent[1].partition("?")[0]))


def send(client: TestClient, sent: Sent) -> Any:
    client.cookies.clear()
    method, url, rest = sent
    return client.request(method, url, **rest)


# --- whatever is sent (B8) --------------------------------------------------------------------

HOSTILE_TEXTS = [
    *("a\0b", "\0", "\ud800", "x\udfff", "' OR 1=1 --", "%", "_", "\\", ":username", "%s", ""),
    *("x" * 1_000_000, "9" * 5000, "\u202e\ufeff"),
]
HOSTILE_VALUES: list[Any] = [
    *HOSTILE_TEXTS,
    *(2**63, -(2**63) - 1, 10**400, 1e308, -1, True, None, [], {}, ["\0"], ["\ud800"] * 3),
    {"a\0": "\0"},
]


def bent(sent: Sent) -> Iterator[tuple[str, Sent]]:
    """Yield requests with a hostile value in each place, and say what it is."""
    method, url, rest = sent
    for text in HOSTILE_TEXTS:
        raw = quote(text.encode("utf-8", "surrogatepass"))
        if len(raw) < 60_000:
            head, _, _ = url.rpartition("/")
            yield f"{url}: {text!a:.20} as its end", (method, f"{head}/{raw}", rest)
            query = f"{url}{'&' if '?' in url else '?'}next={raw}&state={raw}&code={raw}&iss={raw}"
            query += f"&after={raw}&limit={raw}&q={raw}&{raw}={raw}"
            yield f"{url}: {text!a:.20} in its query", (method, query, rest)
    for name in rest.get("json", {}):
        for value in HOSTILE_VALUES:
            body = json.dumps(rest["json"] | {name: value}).encode()
            headers = rest.get("headers", {}) | {"Content-Type": "application/json"}
            what = f"{url}: {value!a:.20} as {name}"
            yield what, (method, url, {"headers": headers, "content": body})
    for name in rest.get("data", {}):
        for text in HOSTILE_TEXTS:
            fields = rest["data"] | {name: text.encode("utf-8", "surrogatepass")}
            kind = {"Content-Type": "application/x-www-form-urlencoded"}
            headers = rest.get("headers", {}) | kind
            what = f"{url}: {text!a:.20} as {name}"
            yield what, (method, url, {"headers": headers, "content": urlencode(fields).encode()})
    for name in rest.get("headers", {}):
        for value in ("", "\x01", "\x7f", "\u00e9", "'--", "x" * 50_000, "Bearer \u00ff"):
            headers = rest["headers"] | {name: value.encode("latin-1")}
            yield f"{url}: {value!a:.20} as {name}", (method, url, rest | {"headers": headers})


def test_the_story_comes_to_each_route(app: FastAPI, database_url: str, provider: Provider) -> None:
    """A route that somebody adds has to be in it, or be one that needs no store."""
    database = AnyLoop(database_url)
    with client_of(app) as client:
        story = Erin(client, database, provider).story()
    database.close()
    untold = [
        route
        for route in served(app)
        if not UNTOLD.fullmatch(route[1]) and not any(is_to(route, sent) for sent in story)
    ]
    assert not untold, untold


def test_whatever_is_sent_is_no_error_of_ours(
    app: FastAPI, database_url: str, provider: Provider
) -> None:
    database = AnyLoop(database_url)
    with client_of(app) as client:
        erin = Erin(client, database, provider)
        story = erin.story()
        kept = rows_of(database)
        broken = []
        for sent in story:
            for what, hostile in [*bent(sent)][:: 4 if IS_EVERYDAY else 1]:
                status = send(client, hostile).status_code
                if status >= 500:
                    broken.append(f"{hostile[0]} {what}: {status}")
                if hostile[0] != "GET" and status < 400:
                    put_back(database, kept)
        assert not broken, broken
        put_back(database, kept)
        assert send(client, story[4]).status_code == 200
    database.close()


# --- whichever statement fails (B4) -----------------------------------------------------------


class Faulty:
    """A `Database` one of whose statements fails, before it is done or after that."""

    def __init__(self, database: Any) -> None:
        self._database = database
        self.dialect, self.close = database.dialect, database.close
        self.open = getattr(database, "open", None)
        self.left, self.late, self.count, self.failed = -1, False, 0, ""

    def prepare(self, number: int = -1, late: bool = False) -> None:
        """Let the statement of that number fail, counted from now on; none by default."""
        self.left, self.late, self.count, self.failed = number, late, 0, ""

    async def run(self, sql: str, **values: Value) -> list[Row]:
        """Run a statement, or fail."""
        is_it = self.count == self.left
        self.count += 1
        if is_it and not self.late:
            self._fail(sql)
        rows: list[Row] = await self._database.run(sql, **values)
        if is_it:
            self._fail(sql)
        return rows

    def transaction(self, *begin: str) -> AbstractAsyncContextManager[None]:
        """Begin a transaction, or fail."""
        return self._transaction(*begin)

    @asynccontextmanager
    async def _transaction(self, *begin: str) -> AsyncIterator[None]:
        is_it = self.count == self.left
        self.count += 1
        if is_it and not self.late:
            self._fail(" ".join(begin))
        async with self._database.transaction(*begin):
            yield
        if is_it:
            self._fail("COMMIT, of which the answer got lost")

    def _fail(self, sql: str) -> None:
        self.failed = sql
        raise StoreDown


def rows_of(database: AnyLoop) -> dict[str, list[Row]]:
    """Return all that a database keeps, in one order."""
    return {table: sorted(database.now(f"SELECT * FROM {table}"), key=str) for table in TABLES}


def put_back(database: AnyLoop, kept: dict[str, list[Row]]) -> None:
    """Bring a database back to what it kept."""
    for table in kept:
        database.now(f"DELETE FROM {table}")
    for table, rows in reversed(kept.items()):
        for row in rows:
            values = ", ".join(f":{name}" for name in row)
            columns = ", ".join(row)
            database.now(f"INSERT INTO {table} ({columns}) VALUES ({values})", **row)


def test_whichever_statement_fails_nobody_gets_in(
    each_app: FastAPI, database_url: str, on_database: pytest.MonkeyPatch, provider: Provider
) -> None:
    """A database that is down is no yes: neither live, nor not revoked, nor done (CWE-636)."""
    faulty: list[Faulty] = []
    database = AnyLoop(database_url)

    def let_fail(module: Any, name: str) -> None:
        makes = getattr(module, name)

        def make(*args: Any) -> Faulty:
            faulty.append(Faulty(makes(*args)))
            return faulty[-1]

        on_database.setattr(module, name, make)

    let_fail(sqlite, "SqliteDatabase")
    let_fail(postgres, "PostgresDatabase")
    tried = 0
    with client_of(each_app) as client:
        erin = Erin(client, database, provider)
        for issuer in (PROVIDER, "https://two.example"):
            database.now(
                "INSERT INTO identities"
                " (issuer, subject, number, username, account_id, label, linked_at)"
                " SELECT :issuer, '1', 1, username, account_id, '', 0 FROM users"
                " WHERE username = 'erin'",
                issuer=issuer,
            )
        kept = rows_of(database)
        for sent in erin.story():
            put_back(database, kept)
            faulty[0].prepare()
            good = send(client, sent).status_code
            if good == 404 and not erin.tenant:  # a route that lesson 12 has not
                continue
            is_last = sent[1] == "/admin/users/erin" or sent[1].endswith("/members/erin")
            assert good == 409 if is_last else good < 400, (sent, good)
            assert faulty[0].count, f"{sent}: it asks no store."
            for number, late in itertools.product(range(faulty[0].count), LATE):
                put_back(database, kept)
                faulty[0].prepare(number, late)
                answer = send(client, sent)
                if not faulty[0].failed:  # a refusal undoes its transaction: nothing to commit
                    continue
                tried += 1
                said = f"{sent[0]} {sent[1]}, `{faulty[0].failed}` fails: {answer.status_code}"
                assert answer.status_code in (401, 503), said
                assert answer.status_code == 401 or answer.headers["retry-after"], said
                assert "set-cookie" not in answer.headers, said
                if not late and faulty[0].count == number + 1 and number == 0:
                    assert rows_of(database) == kept, f"{said}, and something is written."
                faulty[0].prepare()
    assert tried > (250 if erin.tenant else 75) * len(LATE), tried
    database.close()


# --- nothing secret is said (B9) --------------------------------------------------------------


class Heard(logging.Handler):
    """Keeps every line that anybody logs, on all levels."""

    def __init__(self) -> None:
        super().__init__(0)
        self.lines: list[str] = []
        self.setFormatter(logging.Formatter())

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@pytest.fixture
def heard() -> Iterator[Heard]:
    handler, root = Heard(), logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield handler
    root.removeHandler(handler)
    root.setLevel(before)


def test_a_database_that_is_not_there_is_503_and_its_password_a_secret(
    development: pytest.MonkeyPatch, heard: Heard, capfd: pytest.CaptureFixture[str]
) -> None:
    from solutions.database import app

    password = secrets.token_hex(8)
    url = f"postgresql://workbook:{password}@127.0.0.1:{free_port()}/shop"
    development.setenv("DATABASE_URL", url)
    with client_of(app) as client:
        answer = client.get("/users/me", headers={"Authorization": "Bearer x.y.z"})
        assert answer.status_code == 401, "A token of nobody's needs no store."
        answers = [
            client.post("/token", data=ERIN),
            client.post("/register", json=ERIN),
            client.post("/revoke", data={"token": "x" * 43}),
        ]
    for answer in answers:
        assert answer.status_code == 503 and answer.headers["retry-after"] == "5"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.json()["error"] == "temporarily_unavailable"
        assert "127.0.0.1" not in answer.text and "psycopg" not in answer.text
    said = "\n".join(heard.lines) + "".join(capfd.readouterr())
    assert heard.lines, "Not even the pool has warned."
    assert password not in said + repr(get_settings()) + str(get_settings().model_dump())


def test_the_password_of_a_wrong_login_at_the_server_is_a_secret(
    new_postgres: Callable[[], str], heard: Heard
) -> None:
    from solutions.stores.sql.opening import open_database

    url = new_postgres()
    right = url.partition("workbook:")[2].partition("@")[0]
    wrong = url.replace(right, "wrong-4711")

    async def test(url: str) -> str:
        async with open_database(url) as database:
            with pytest.raises(StoreDown) as error:
                await database.run("SELECT 1")
            return f"{database!r} {vars(database)!r} {error.value!r} {error.value.__cause__!r}"

    said = asyncio.run(test(wrong))
    said += asyncio.run(test(url.rpartition("/")[0] + "/no_such_database"))
    said += "\n".join(heard.lines)
    for secret in (right, "wrong-4711", "its own: kept"):
        assert secret not in said
