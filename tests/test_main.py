"""The whole system as one app: what it offers, that it is guarded, and one story through it."""

import asyncio
import importlib
import re
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from lessons.harness.routes import Operation, documented, served

PUBLIC: set[Operation] = {("POST", "/register"), ("POST", "/token"), ("POST", "/revoke")}
GUARDED: set[Operation] = {
    ("GET", "/users/me"),
    ("GET", "/users/me/items"),
    ("GET", "/protected-resource"),
    ("POST", "/users/me/password"),
    ("GET", "/users/me/permissions"),
    ("GET", "/users/{username}/items"),
    ("GET", "/admin/users"),
    ("PATCH", "/admin/users/{username}"),
    ("POST", "/api-keys"),
    ("GET", "/api-keys"),
    ("DELETE", "/api-keys/{key_id}"),
    ("GET", "/api/protected"),
    ("GET", "/api/items"),
    ("POST", "/tenants"),
    ("GET", "/tenants"),
    ("GET", "/tenants/{tenant}"),
    ("GET", "/tenants/{tenant}/members"),
    ("PATCH", "/tenants/{tenant}/members/{username}"),
    ("DELETE", "/tenants/{tenant}/members/{username}"),
    ("GET", "/tenants/{tenant}/items"),
    ("POST", "/tenants/{tenant}/items"),
    ("PATCH", "/tenants/{tenant}/items"),
    ("GET", "/tenants/{tenant}/items/{item}"),
    ("PATCH", "/tenants/{tenant}/items/{item}"),
    ("DELETE", "/tenants/{tenant}/items/{item}"),
    ("GET", "/tenants/{tenant}/invitations"),
    ("POST", "/tenants/{tenant}/invitations"),
    ("DELETE", "/tenants/{tenant}/invitations/{invitation}"),
    ("POST", "/tenants/{tenant}/invitations/accept"),
    ("GET", "/tenants/{tenant}/keys"),
    ("POST", "/tenants/{tenant}/keys"),
    ("DELETE", "/tenants/{tenant}/keys/{key}"),
}
PAGES: set[Operation] = {("GET", "/login"), ("POST", "/login"), ("GET", "/account")}
BY_COOKIE: set[Operation] = {
    ("GET", "/session"),
    ("GET", "/sessions"),
    ("POST", "/logout"),
    ("DELETE", "/sessions/{session_id}"),
    ("POST", "/sessions/end-others"),
    ("POST", "/account/sessions"),
    ("GET", "/identities"),
    ("POST", "/identities/{provider}"),
    ("DELETE", "/identities/{provider}"),
    ("GET", "/account/identities"),
    ("POST", "/account/identities"),
}
OPEN: set[Operation] = {
    ("GET", "/.well-known/jwks.json"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
}
ELSEWHERE: set[Operation] = {("GET", "/login/{provider}"), ("GET", "/callback/{provider}")}
LOGOUT = re.compile(
    r'<form method="post" action="/logout">\s*<input type="hidden"[^>]*>'
    r"\s*<button>Log out</button>\s*</form>"
)
ODD_HEADERS = [{}, {"Host": "x/docs?y="}, {"Host": "x/token?y="}, {"X-Original-URL": "/docs"}]


@pytest.fixture
def app(development: pytest.MonkeyPatch) -> FastAPI:
    from solutions.main import app

    return app


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(app) as client:
        yield client


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_all_steps_are_in_one_document(app: FastAPI) -> None:
    assert documented(app) == PUBLIC | GUARDED | PAGES | BY_COOKIE | ELSEWHERE | OPEN


@pytest.mark.asvs("6.3.4")
def test_nothing_is_served_that_the_document_does_not_name(app: FastAPI) -> None:
    # As lists: of two routes at one address one is never reached.
    assert sorted(served(app)) == sorted(documented(app))


def test_the_route_for_show_is_not_here(client: TestClient) -> None:
    assert client.post("/inspect", json={"token": "not.a.token"}).status_code == 404


def test_every_operation_has_its_own_id(app: FastAPI) -> None:
    paths = app.openapi()["paths"].values()
    ids = [operation["operationId"] for path in paths for operation in path.values()]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("headers", ODD_HEADERS, ids=str)
@pytest.mark.asvs("6.3.4", "8.2.1")
def test_whatever_is_not_public_is_401_without_credentials(
    app: FastAPI, client: TestClient, headers: dict[str, str]
) -> None:
    for method, path in sorted(documented(app) - PUBLIC - PAGES - ELSEWHERE - OPEN):
        answer = client.request(method, path, headers=headers)
        forged = (method, path) in BY_COOKIE and method != "GET"  # nobody says where it comes from
        assert answer.status_code == (403 if forged else 401), f"{method} {path}"
        assert forged or answer.headers.get("WWW-Authenticate")


def test_a_page_leads_to_the_login(client: TestClient) -> None:
    answer = client.get("/account", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    assert client.get("/login").status_code == 200
    assert client.post("/login").status_code == 403


@pytest.mark.asvs("7.4.4")
def test_every_page_inside_has_the_logout(app: FastAPI, client: TestClient) -> None:
    page = client.get("/login")
    token = page.text.partition('csrf_token" value="')[2].partition('"')[0]
    form = {"username": "johndoe", "password": "secret", "csrf_token": token}
    headers = {"Sec-Fetch-Site": "same-origin", "Cookie": _cookie_of(page)}
    answer = client.post("/login", data=form, headers=headers, follow_redirects=False)
    headers["Cookie"] = _cookie_of(answer)
    inside = set()
    for method, path in sorted(documented(app) - {("GET", "/login")}):
        if method == "GET" and "{" not in path:
            answer = client.get(path, headers=headers)
            if answer.headers["content-type"].startswith("text/html"):
                inside.add(path)
                assert LOGOUT.search(answer.text), path
    assert inside == {"/account", "/account/identities"}


def _cookie_of(answer: Any) -> str:
    cookie: str = answer.headers["set-cookie"]
    return cookie.partition(";")[0]


@pytest.mark.asvs("6.3.6", "6.4.2")
def test_nobody_is_asked_for_more_than_the_password(app: FastAPI) -> None:
    """No hint, no first pet, and no other way in than those with a lesson of their own."""
    document = app.openapi()
    for operation, expected in {
        ("POST", "/register"): {"username", "password", "email"},
        ("POST", "/token"): {"username", "password", "scope", "grant_type", "refresh_token"},
        ("POST", "/revoke"): {"token", "token_type_hint"},
        ("GET", "/login"): {"next"},
        ("POST", "/login"): {"username", "password", "next", "csrf_token"},
        ("GET", "/login/{provider}"): {"provider", "next"},
        ("GET", "/callback/{provider}"): {"provider", "code", "state", "iss"},
        ("POST", "/users/me/password"): {"current_password", "new_password"},
    }.items():
        assert _asked(document, *operation) == expected, operation


def _asked(document: dict[str, Any], method: str, path: str) -> set[str]:
    """Return the names of all that an operation takes."""
    operation = document["paths"][path][method.lower()]
    names = {each["name"] for each in operation.get("parameters", [])}
    for content in operation.get("requestBody", {}).get("content", {}).values():
        schema = content["schema"]
        named = document["components"]["schemas"].get(schema.get("$ref", "").rpartition("/")[2], {})
        names |= {*schema.get("properties", {}), *named.get("properties", {})}
    return names


@pytest.mark.parametrize("headers", ODD_HEADERS, ids=str)
def test_what_is_public_is_not_401(client: TestClient, headers: dict[str, str]) -> None:
    for method, path in PUBLIC:
        assert client.request(method, path, headers=headers).status_code in (400, 422), path


def test_the_document_says_how_to_come_in(app: FastAPI) -> None:
    document = app.openapi()
    for method, path in documented(app):
        security = document["paths"][path][method.lower()].get("security")
        assert bool(security) == ((method, path) not in PUBLIC | OPEN), path
    schemes = document["components"]["securitySchemes"].values()
    assert sorted(schemes, key=lambda scheme: str(scheme["type"])) == [
        {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        {"type": "apiKey", "in": "cookie", "name": "__Host-session"},
        {
            "type": "oauth2",
            "flows": {
                "password": {
                    "tokenUrl": "token",
                    "scopes": {"me": "See who you are", "items": "See your items"},
                }
            },
        },
    ]


@pytest.mark.parametrize("step", ["oauth2", "refresh", "rbac", "api_keys", "main"])
def test_the_authorize_button_of_every_step_logs_in(
    development: pytest.MonkeyPatch, step: str
) -> None:
    document = importlib.import_module(f"solutions.{step}").app.openapi()
    scheme = document["components"]["securitySchemes"]["OAuth2PasswordBearer"]
    assert "/" + scheme["flows"]["password"]["tokenUrl"] in document["paths"]


def test_a_story_through_the_whole_system(client: TestClient) -> None:
    def post(url: str, status: int, headers: dict[str, str] | None = None, **body: Any) -> Any:
        answer = client.post(url, headers=headers, **body)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None

    def statuses(headers: dict[str, str], *urls: str) -> list[int]:
        return [client.get(url, headers=headers).status_code for url in urls]

    erin = {"username": "erin", "password": "trombone + seven"}
    post("/register", 201, json=erin)
    first = post("/token", 200, data=erin)
    refresh = {"grant_type": "refresh_token", "refresh_token": first["refresh_token"]}
    second = post("/token", 200, data=refresh)
    own = ("/users/me", "/users/me/items", "/users/me/permissions", "/users/erin/items")
    for tokens in (first, second):
        assert statuses(bearer(tokens["access_token"]), *own) == [200, 200, 200, 200]
        assert statuses(bearer(tokens["access_token"]), "/admin/users") == [403]

    caller = bearer(second["access_token"])
    wanted = {"name": "report", "scopes": ["items"], "expires_in_days": 30}
    key = {"X-API-Key": post("/api-keys", 201, caller, json=wanted)["key"]}
    assert statuses(key, "/api/protected", "/api/items", "/api-keys") == [200, 200, 401]

    change = {"current_password": erin["password"], "new_password": "bassoon and eight"}
    post("/users/me/password", 204, caller, json=change)
    for tokens in (first, second):
        assert statuses(bearer(tokens["access_token"]), *own) == [401, 401, 401, 401]
    assert statuses(key, "/api/protected", "/api/items") == [403, 403]
    spent = refresh | {"refresh_token": second["refresh_token"]}
    assert post("/token", 400, data=spent)["error"] == "invalid_grant"
    assert post("/token", 400, data=erin)["error"] == "invalid_grant"

    third = post("/token", 200, data=erin | {"password": "bassoon and eight"})
    assert statuses(bearer(third["access_token"]), *own) == [200, 200, 200, 200]


def test_a_name_that_is_free_again_brings_nothing_along(client: TestClient) -> None:
    from solutions.stores.users import open_user_store

    def register_and_log_in() -> dict[str, str]:
        erin = {"username": "erin", "password": "trombone + seven"}
        assert client.post("/register", json=erin).status_code == 201
        return bearer(client.post("/token", data=erin).json()["access_token"])

    first = register_and_log_in()
    wanted = {"name": "payroll", "scopes": ["items"], "expires_in_days": 30}
    assert client.post("/api-keys", json=wanted, headers=first).status_code == 201
    assert len(client.get("/api-keys", headers=first).json()) == 1
    asyncio.run(open_user_store().remove("erin"))
    second = register_and_log_in()
    assert client.get("/users/me", headers=first).status_code == 401
    assert client.get("/api-keys", headers=second).json() == []


def test_two_credentials_are_no_credential(client: TestClient) -> None:
    """A good one beside a bad one: whoever looks at one of them may take the wrong one."""
    erin = {"username": "erin", "password": "trombone + seven"}
    assert client.post("/register", json=erin).status_code == 201
    token = client.post("/token", data=erin).json()["access_token"]
    wanted = {"name": "payroll", "scopes": ["items"], "expires_in_days": 30}
    key = client.post("/api-keys", json=wanted, headers=bearer(token)).json()["key"]
    for header, good, bad, url, status in (
        ("Authorization", f"Bearer {token}", "Bearer not.a.token", "/users/me", 401),
        ("X-API-Key", key, "faw_guessed", "/api/protected", 403),
    ):
        assert client.get(url, headers=[(header, good)]).status_code == 200
        for two in ((good, bad), (bad, good), (good, good), (good, "")):
            answer = client.get(url, headers=[(header, each) for each in two])
            assert answer.status_code == status, two


def test_no_slash_sends_anybody_elsewhere(client: TestClient, app: FastAPI) -> None:
    """A redirect to an address made of the Host header takes the password along."""
    for method, path in sorted(documented(app)):
        url = path.replace("{username}", "johndoe").replace("{key_id}", "1") + "/"
        answer = client.request(
            method, url, headers={"Host": "mallory.example"}, follow_redirects=False
        )
        assert answer.status_code == 404, (url, answer.status_code)
        assert "location" not in answer.headers


def test_scopes_are_split_at_the_space_only(client: TestClient) -> None:
    """RFC 6749 section 3.3. A tab or a hard space is a part of a word, and no scope has one."""
    erin = {"username": "erin", "password": "trombone + seven"}
    assert client.post("/register", json=erin).status_code == 201
    good = client.post("/token", data=erin | {"scope": "me items"}).json()
    assert good["scope"] == "me items"
    for blank in ("\t", "\n", "\u00a0", "\u2003", "\x1c", "\x85"):
        answer = client.post("/token", data=erin | {"scope": f"me{blank}items"})
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_scope"), blank


def test_a_form_is_utf_8(client: TestClient) -> None:
    """Else each byte that is none becomes one and the same sign, and two passwords one."""
    form = {"content-type": "application/x-www-form-urlencoded"}
    password = "trombone + seven " + "\ufffd"
    who = {"username": "erin", "password": password}
    assert client.post("/register", json=who).status_code == 201
    assert client.post("/token", data=who).status_code == 200
    for tail in (b"%ff", b"%80", b"%c3%28", b"%ed%a0%80"):
        body = b"username=erin&password=trombone+%2B+seven+" + tail
        assert client.post("/token", content=body, headers=form).status_code == 400, tail
