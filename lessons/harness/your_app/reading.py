"""Reads in an OpenAPI document what may be the login, the registration, and so on."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from lessons.harness.your_app.description import Action, Login, Refresh, Use
from lessons.harness.your_app.routes import LOGOUT, looks_public

LOGIN = re.compile(r"token|log-?_?in|sign-?_?in|auth|session|jwt", re.IGNORECASE)
NO_LOGIN = re.compile(
    r"refresh|register|sign-?_?up|logout|revoke|verify|forgot|reset|password|check|test|delete",
    re.IGNORECASE,
)
REGISTER = re.compile(r"register|registration|sign-?_?up|users?/?$|accounts?/?$|create", re.I)
ME = re.compile(r"\bme\b|who_?-?am_?-?i|current|profile|account|protected|session|user", re.I)
REFRESH = re.compile(r"refresh|renew", re.IGNORECASE)
FORGOT = re.compile(r"forgot|recover|reset-?_?request|request-?_?reset|password-?_?reset", re.I)
CHANGE = re.compile(r"password", re.IGNORECASE)
ADMIN = re.compile(r"\badmins?\b|superuser|\bstaff\b", re.IGNORECASE)
PASSWORD = re.compile(r"pass|pwd", re.IGNORECASE)
NAME = re.compile(r"^(user_?name|user|login|e?-?mail|name|identifier|account|user_?id|phone)", re.I)
EMAIL = re.compile(r"e-?mail", re.IGNORECASE)


@dataclass
class Guess:
    """What was found, and what was not."""

    login: Login | None = None
    use: Use | None = None
    me: Action | None = None
    register: Action | None = None
    refused: Action | None = None  # a registration that made no account
    refresh: Refresh | None = None
    actions: dict[str, Action] = field(default_factory=dict)  # logout, password, forgot, ...
    admin: list[str] = field(default_factory=list)
    unsafe_admin: list[str] = field(default_factory=list)
    things: list[tuple[str, list[str]]] = field(default_factory=list)
    public: list[str] = field(default_factory=list)  # answered without a token
    doubtful: list[str] = field(default_factory=list)  # so did these, and look private
    notes: list[str] = field(default_factory=list)  # for the owner, in sentences
    person: str = ""  # who was registered

    @property
    def was_tried(self) -> bool:
        """Whether somebody has logged in, and the token has opened something."""
        return bool(self.person and self.use and self.me)


def schema_of(about: dict[str, Any]) -> tuple[str, dict[str, Any], list[str]]:
    """Return the kind of a request's body, its fields, and which of them are needed."""
    content = ((about.get("requestBody") or {}).get("content")) or {}
    for kind, name in (
        ("application/x-www-form-urlencoded", "form"),
        ("multipart/form-data", "form"),
        ("application/json", "json"),
    ):
        if kind in content:
            schema = _merged(content[kind].get("schema") or {})
            return name, schema.get("properties") or {}, schema.get("required") or []
    query = [each for each in about.get("parameters") or [] if each.get("in") == "query"]
    fields = {each["name"]: each.get("schema") or {} for each in query if "name" in each}
    return "query", fields, [each["name"] for each in query if each.get("required")]


def _merged(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema with those that it is made of, or its first alternative."""
    parts = [_merged(each) for each in schema.get("allOf") or []]
    parts += [_merged(each) for each in (schema.get("anyOf") or schema.get("oneOf") or [])[:1]]
    whole: dict[str, Any] = {"properties": {}, "required": []}
    for part in [*parts, schema]:
        whole["properties"] |= part.get("properties") or {}
        whole["required"] = [*whole["required"], *(part.get("required") or [])]
    return whole


def value_for(name: str, schema: dict[str, Any]) -> Any:
    """Return something for a field that a request needs."""
    if "default" in schema and schema["default"] is not None:
        return schema["default"]
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    for each in schema.get("anyOf") or schema.get("oneOf") or []:
        if each.get("type") != "null":
            return value_for(name, each)
    if literal := re.fullmatch(r"\^(?:\(\?:)?(\w+)\)?\$", str(schema.get("pattern", ""))):
        return literal[1]
    by_format = {
        "date": "1990-01-01",
        "date-time": "1990-01-01T00:00:00Z",
        "uri": "https://a.example",
    }
    if schema.get("format") in by_format:
        return by_format[schema["format"]]
    kinds = {"integer": 20, "number": 20, "boolean": True, "array": [], "object": {}}
    if schema.get("type") in kinds:
        return kinds[schema["type"]]
    return "+15005550006" if "phone" in name.lower() else "Mallory"


def filled_in(fields: dict[str, Any], needed: list[str], new: bool = False) -> dict[str, Any]:
    """Return a template for a body: what is needed, and where a name and a password go."""
    template: dict[str, Any] = {}
    new_ones = [name for name in fields if PASSWORD.search(name) and re.search("new", name, re.I)]
    for name, schema in fields.items():
        if PASSWORD.search(name) and schema.get("type", "string") != "boolean":
            is_old = re.search("old|current|existing", name, re.I) or (
                new_ones and name not in new_ones and not re.search("confirm|repeat", name, re.I)
            )
            template[name] = "{new_password}" if new and not is_old else "{password}"
        elif new and re.fullmatch("old|current|existing|new|confirm|repeat", name, re.I):
            before = re.fullmatch("old|current|existing", name, re.I)
            template[name] = "{password}" if before else "{new_password}"
        elif EMAIL.search(name) and schema.get("type", "string") != "boolean":
            if not new:
                template[name] = "{email}"
        elif re.fullmatch(r"user_?name|login|user|nick(name)?|handle", name, re.I):
            template[name] = "{username}"
        elif name in needed:
            template[name] = value_for(name, schema)
    return template


def logins_of(
    routes: list[tuple[str, str, dict[str, Any]]], document: dict[str, Any]
) -> list[Login]:
    """Return what may be the login, the likeliest first."""
    scored = []
    urls = _token_urls(document)
    for method, path, about in routes:
        kind, fields, needed = schema_of(about)
        passwords = [name for name in fields if PASSWORD.search(name)]
        if method != "POST" or not passwords or len(passwords) > 1:
            continue
        score = 0
        score += 8 * any(path.rstrip("/").endswith(each) for each in urls)
        score += 4 * bool(LOGIN.search(path))
        score -= 6 * bool(NO_LOGIN.search(path))
        score += len(fields) <= 3
        names = [name for name in fields if NAME.search(name) and name not in passwords]
        if score <= 0 or not names:
            continue
        for place in _places_of(names[0]):
            template = {names[0]: place, passwords[0]: "{password}"}
            # `grant_type` where the form insists on it, or lets it be left out only to be kind.
            if "grant_type" in fields:
                template = {"grant_type": "password", **template}
            more = {name: value_for(name, fields[name]) for name in needed if name not in template}
            action = {"route": f"POST {path}", kind: {**template, **more}}
            scored.append((score, Login.model_validate(action)))
    return [each for _, each in sorted(scored, key=lambda pair: -pair[0])]


def _places_of(name: str) -> list[str]:
    return ["{email}"] if EMAIL.search(name) else ["{username}", "{email}"]


def _token_urls(document: dict[str, Any]) -> list[str]:
    """Return where the Authorize button logs in."""
    urls = []
    for scheme in document["components"]["securitySchemes"].values():
        for flow in (scheme.get("flows") or {}).values():
            if url := str(flow.get("tokenUrl") or "").strip("/."):
                urls.append(url)
    return urls


def registers_of(
    routes: list[tuple[str, str, dict[str, Any]]], logins: list[str]
) -> Iterator[Action]:
    found = []
    for method, path, about in routes:
        kind, fields, needed = schema_of(about)
        passwords = [name for name in fields if PASSWORD.search(name)]
        is_login = f"POST {path}" in logins and LOGIN.search(path) and not REGISTER.search(path)
        if method != "POST" or not passwords or is_login or not REGISTER.search(path):
            continue
        if re.search(r"forgot|reset|change|password|admin", path, re.I) or "{" in path:
            continue
        sure = bool(re.search(r"register|sign-?_?up", path, re.I)) - bool(about.get("security"))
        action = {"route": f"POST {path}", kind: filled_in(fields, needed)}
        found.append((sure, Action.model_validate(action)))
    for _, each in sorted(found, key=lambda pair: -pair[0]):
        yield each


def read_rest(routes: list[tuple[str, str, dict[str, Any]]], found: Guess) -> None:
    """Read in the document what need not be tried."""
    taken = {each.route for each in (found.login, found.register, found.me) if each}
    is_cookie = found.use is not None and found.use.cookie is not None
    for method, path, about in routes:
        route = f"{method} {path}"
        kind, fields, needed = schema_of(about)
        if route in taken or (found.refresh and route == found.refresh.route):
            continue
        body = {kind: filled_in(fields, needed)} if fields else {}
        about_refresh = {
            name: "{refresh}" if is_refresh(name) else value_for(name, fields[name])
            for name in fields
            if name in needed or is_refresh(name)
        }
        if REFRESH.search(path) and method == "POST" and not found.was_tried:
            presented = {"headers": {"Authorization": "Bearer {refresh}"}}
            spends = {kind: about_refresh} if "{refresh}" in repr(about_refresh) else presented
            refresh = Refresh.model_validate({"route": route, **spends})
            found.refresh = found.refresh or refresh
        elif LOGOUT.search(path) and method in ("POST", "DELETE", "GET") and "{" not in path:
            body = {kind: about_refresh} if about_refresh and not is_cookie else {}
            found.actions.setdefault("logout", Action.model_validate({"route": route, **body}))
        elif FORGOT.search(path) and method == "POST" and _knows_an_address(path, fields):
            found.actions.setdefault("forgot", Action.model_validate({"route": route, **body}))
        elif CHANGE.search(path) and not re.search("forgot|reset|recover", path, re.I):
            changed = filled_in(fields, needed, new=True)
            if method != "GET" and "{new_password}" in repr(changed):
                action = Action.model_validate({"route": route, kind: changed})
                found.actions.setdefault("password", action)
        elif re.search(r"/(me|self|profile|account)/?$", path, re.I) and method == "DELETE":
            found.actions.setdefault("delete", Action.model_validate({"route": route, **body}))
        elif re.search(r"/(me|self|profile|account)/?$", path, re.I) and method in ("PATCH", "PUT"):
            wanted: dict[str, Any] = {
                name: "Mallory"
                for name in fields
                if re.search("(full|first|last|display)_?name|bio", name, re.I)
            }
            filled = filled_in(fields, needed)
            wanted |= {name: filled[name] for name in filled if name in needed}
            found.actions.setdefault("patch", Action.model_validate({"route": route, kind: wanted}))
        if ADMIN.search(path) and "{" not in path and method == "GET":
            found.admin.append(route)
        elif ADMIN.search(path):
            found.unsafe_admin.append(route)
    paths = {path for _, path, _ in routes}
    for method, path, _ in routes:
        below = re.compile(re.escape(path.rstrip("/")) + r"/\{\w+\}/?")
        one = [each for each in paths if below.fullmatch(each)]
        known = {f"{method} {path}" in taken, bool(ADMIN.search(path)), looks_public(path)}
        if method == "POST" and one and not any(known) and not re.search(r"users?/?$", path, re.I):
            touches = [
                inner + " " + re.sub(r"\{\w+\}", "{id}", each)
                for inner, each, _ in routes
                if each in one and inner in ("GET", "PUT", "PATCH", "DELETE")
            ]
            found.things.append((f"POST {path}", touches))


def _knows_an_address(path: str, fields: dict[str, Any]) -> bool:
    return "{email}" in path or any(EMAIL.search(name) or NAME.search(name) for name in fields)


def is_refresh(name: str) -> bool:
    """Tell whether a field is for a refresh token."""
    return "refresh" in name.lower() or name == "token"
