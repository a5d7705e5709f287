"""Guesses the description of an app: from its OpenAPI document, and by trying.

What is tried is one registration, some logins with it, and what its token opens. What only the
owner can know is left for the owner, with a comment.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import httpx2

from lessons.harness.client import body_of
from lessons.harness.your_app.description import Action, Description, Login, Refresh, Use
from lessons.harness.your_app.findings import NotTried
from lessons.harness.your_app.reading import (
    ME,
    REFRESH,
    Guess,
    is_refresh,
    logins_of,
    read_rest,
    registers_of,
    schema_of,
    value_for,
)
from lessons.harness.your_app.routes import looks_private, looks_public, operations, plain_gets
from lessons.harness.your_app.site import Hooks, Person, Site, Ticket, Visit, cookies_of, good, said
from lessons.harness.your_app.target import Target

TOKENS = ("access_token", "accessToken", "token", "access", "jwt", "id_token", "auth_token", "key")
JWT = re.compile(r"[\w-]{8,}\.[\w-]{8,}\.[\w-]{20,}")
HEADERS = (
    "Authorization: Bearer {token}",
    "Authorization: Token {token}",
    "Authorization: JWT {token}",
    "Authorization: {token}",
    "X-Token: {token}",
    "X-Access-Token: {token}",
)
COMMON = ("/token", "/login", "/auth/login", "/auth/token", "/api/login", "/api/token", "/signin")


def guess(target: Target, document: dict[str, Any] | None, hooks: Hooks | None = None) -> Guess:
    """Find out what can be found out, with the owner's hooks where there are some."""
    found = Guess()
    if document is None:
        found.notes.append("There is no OpenAPI document, so the routes are yours to fill in.")
        _knock(target, found)
        return found
    routes = list(operations(document))
    logins = logins_of(routes, document)
    if not logins:
        found.notes.append("No route of the OpenAPI document takes a password: fill in [login].")
        return found
    registers = list(registers_of(routes, [each.route for each in logins]))
    _try(target, document, logins, registers, found, hooks or Hooks())
    read_rest(routes, found)
    return found


def _knock(target: Target, found: Guess) -> None:
    """See which of the usual places for a login is there at all."""
    visit = _visit(target, None, Login(route="POST /", form={"password": "{password}"}))
    there = [path for path in COMMON if visit.raw("POST", path).status_code not in (404, 405)]
    if there:
        found.notes.append(f"Something answers to POST {' and POST '.join(there)}.")


def _visit(target: Target, document: dict[str, Any] | None, login: Login, **more: Any) -> Visit:
    me = more.pop("me", None) or Action(route="GET /")
    about = Description.model_construct(
        **{
            **{name: each.default for name, each in Description.model_fields.items()},
            "login": login,
            "me": me,
            "env": {},
            "admin": [],
            "thing": [],
            "accounts": [],
            **more,
        }
    )
    return Visit(Site(target, about, document=document))


def _try(
    target: Target,
    document: dict[str, Any],
    logins: list[Login],
    registers: list[Action],
    found: Guess,
    hooks: Hooks,
) -> None:
    """Register somebody, log in, and look what the token opens."""
    found.login = logins[0]
    refusal = ""
    for register in registers:
        visit = _visit(target, document, logins[0], register_=register)
        person = visit.new_person()
        answer = visit.register(person)
        if answer.status_code >= 400:
            person, answer = _with_other_words(visit, person, answer)
        if answer.status_code >= 400:
            refusal = refusal or f"{register.route} made no account: {said(answer)}"
            found.refused = found.refused or register
            continue
        found.register, found.person = register, person.username
        if hooks.activate:
            # Most know people by name; where the login takes the address, that is their name.
            by_email = all("{username}" not in repr(each) for each in logins)
            _call(hooks, "activate", visit, person.email if by_email else person.username)
        break
    else:
        if hooks.add:
            visit = _visit(target, document, logins[0])
            person = visit.new_person()
            _call(hooks, "add", visit, person.username, person.email, person.password)
            found.person = person.username
    if not found.person:
        found.notes.append(
            (f"{refusal}. Correct [register], or give" if refusal else "Nobody can register. Give")
            + " two people under [[accounts]]."
        )
        found.me = _shut(target, document, logins[0])
        return
    for login in logins:
        if _log_in(target, document, login, person, found):
            return
    if found.use:  # a token, and nothing that it opens
        found.notes.append(
            f"{found.login.route} gives a token, and no GET of the document opens with it: "
            "fill in [me], and see whether [use] is right."
        )
        return
    found.me = _shut(target, document, logins[0])
    visit = _visit(target, document, logins[0])
    answer = visit.try_login(person)
    found.notes.append(
        f"{person.username} was registered, and {logins[0].route} does not let this account in: "
        f"{said(answer)}. If it has to be activated first, write a hook (see [hooks])."
    )


def _call(hooks: Hooks, name: str, visit: Visit, *args: str) -> None:
    visit.site.hooks = hooks
    with suppress(NotTried):  # that the login fails then is told anyway
        visit.hook(name, *args)


def _shut(target: Target, document: dict[str, Any], login: Login) -> Action | None:
    """Return what only a token opens, as far as that can be told without one."""
    visit = _visit(target, document, login)
    for path in sorted(plain_gets(document), key=lambda path: (not ME.search(path), len(path))):
        if not looks_public(path) and visit.get(path).status_code in (401, 403):
            return Action(route=f"GET {path}")
    return None


def _with_other_words(
    visit: Visit, person: Person, answer: httpx2.Response
) -> tuple[Person, httpx2.Response]:
    """Try a shorter name and another password, where the app is choosy."""
    short = Person(person.username[:3] + person.username[-5:], "Tr0mbone7!Plum", person.email)
    second = visit.register(short)
    return (short, second) if second.status_code < 400 else (person, answer)


def _log_in(
    target: Target, document: dict[str, Any], login: Login, person: Person, found: Guess
) -> bool:
    """Try a login. Return whether there is a token that opens something."""
    visit = _visit(target, document, login)
    before: set[str] = set()
    page = f"GET {login.path}"
    with suppress(NotTried):
        form = visit.raw("GET", login.path)
        if good(form) and "<form" in form.text.lower():
            login = login.model_copy(update={"page": page})
            before = {each.value for each in cookies_of(form)}
    answer = visit.ask(login, places=person.places)
    if answer.status_code >= 400:
        return False
    for where, token in _tokens(answer):
        if token in before:
            continue
        chosen = login.model_copy(update={"token": where})
        for use in _uses(where, document):
            ticket = Ticket(person, token, None, {}, answer)
            if me := _who_am_i(target, document, chosen, use, ticket, found):
                found.login, found.use, found.me = chosen, use, me
                found.refresh = _refresh(target, document, chosen, answer, ticket)
                return True
    if found.use is None and (first := next(_tokens(answer), None)) and first[1] not in before:
        chosen = login.model_copy(update={"token": first[0]})
        found.login, found.use = chosen, next(_uses(first[0], document))
    return False


def _tokens(answer: httpx2.Response) -> Iterator[tuple[str, str]]:
    """Yield what may be the token in the answer to a login, the likeliest first."""
    texts = list(_texts(body_of(answer)))
    for name in TOKENS:
        yield from ((at, text) for at, text in texts if _last(at) == name)
    yield from (
        (at, text)
        for at, text in texts
        if JWT.fullmatch(text) and "refresh" not in at.lower() and _last(at) not in TOKENS
    )
    cookies = [each for each in cookies_of(answer) if not each.is_deletion]
    for each in sorted(cookies, key=lambda one: bool(re.search("refresh|csrf", one.name, re.I))):
        yield f"cookie:{each.name}", each.value


def _last(at: str) -> str:
    return at.rpartition(".")[2]


def _texts(value: Any, at: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for name in value:
            yield from _texts(value[name], f"{at}.{name}" if at else str(name))
    elif isinstance(value, str) and value and at:
        yield at, value


def _uses(where: str, document: dict[str, Any]) -> Iterator[Use]:
    if where.startswith("cookie:"):
        yield Use(cookie=where.removeprefix("cookie:"))
        return
    schemes = document["components"]["securitySchemes"].values()
    names = [each for each in schemes if each.get("type") == "apiKey" and each.get("name")]
    yield Use(header=HEADERS[0])
    for each in names:
        if each.get("in") == "header":
            yield Use(header=f"{each['name']}: {{token}}")
            yield Use(header=f"{each['name']}: Bearer {{token}}")
        elif each.get("in") == "cookie":
            yield Use(cookie=each["name"])
    yield from (Use(header=each) for each in HEADERS[1:])


def _who_am_i(
    target: Target,
    document: dict[str, Any],
    login: Login,
    use: Use,
    ticket: Ticket,
    found: Guess,
) -> Action | None:
    """Return the request that only a token opens, best one that knows the name; note the open."""
    visit = _visit(target, document, login, use=use)
    opened: list[tuple[bool, int, Action]] = []
    found.public, found.doubtful = [], []
    paths = sorted(plain_gets(document), key=lambda path: (not ME.search(path), len(path)))
    for path in paths:
        action = Action(route=f"GET {path}")
        outside = visit.ask(action)
        if good(outside):
            if not looks_public(path):
                place = found.doubtful if looks_private(path) else found.public
                place.append(action.route)
            continue
        inside = visit.ask(action, ticket)
        if good(inside):
            names = (ticket.person.username, ticket.person.email)
            opened.append((not any(name in inside.text for name in names), len(opened), action))
    if opened:
        return min(opened, key=lambda each: each[:2])[2]
    if found.doubtful and use.header == HEADERS[0]:  # an app in which nothing is guarded at all
        return Action(route=found.doubtful[0])
    if use.cookie is None and use.header != HEADERS[0]:
        return None
    return _who_writes(visit, document, login, ticket)


def _who_writes(
    visit: Visit, document: dict[str, Any], login: Login, ticket: Ticket
) -> Action | None:
    """Return a request that changes something and that only a token opens, for want of a GET."""
    for method, path, about in operations(document):
        kind, fields, needed = schema_of(about)
        is_about_people = re.search("pass|log|sign|regist|user|admin|token|delete", path, re.I)
        if method != "POST" or "{" in path or is_about_people or kind == "query":
            continue
        body = {name: value_for(name, fields[name]) for name in needed if name in fields}
        action = Action.model_validate({"route": f"POST {path}", kind: body})
        if visit.ask(action).status_code in (401, 403) and good(visit.ask(action, ticket)):
            return action
    return None


def _refresh(
    target: Target, document: dict[str, Any], login: Login, answer: httpx2.Response, ticket: Ticket
) -> Refresh | None:
    """Return the request that spends a refresh token, as far as it can be told by trying."""
    sources = [at for at, _ in _texts(body_of(answer)) if "refresh" in at.lower()]
    names = [each.name for each in cookies_of(answer)]
    sources += [f"cookie:{name}" for name in names if "refresh" in name.lower()]
    routes = [
        (path, about)
        for method, path, about in operations(document)
        if method == "POST" and REFRESH.search(path)
    ]
    token = login.token if login.token.startswith("cookie:") else _last(login.token)
    for path, about in routes:
        kind, fields, needed = schema_of(about)
        named = [name for name in fields if is_refresh(name)]
        for source in sources or ["refresh_token"]:
            parts: list[dict[str, Any]] = []
            if named:
                more = {name: value_for(name, fields[name]) for name in needed if name not in named}
                parts.append({kind: {**more, named[0]: "{refresh}"}})
            if source.startswith("cookie:"):
                parts.append({"cookies": {source.removeprefix("cookie:"): "{refresh}"}})
            parts.append({"headers": {"Authorization": "Bearer {refresh}"}})
            for part in parts:
                for place in dict.fromkeys((token, login.token)):
                    action = {"route": f"POST {path}", "from": source, "token": place, **part}
                    refresh = Refresh.model_validate(action)
                    visit = _visit(target, document, login, refresh=refresh)
                    fresh = visit.ticket(ticket.person, visit.try_login(ticket.person))
                    # A login that loses the refresh token gives it to whoever asks for it.
                    spent = (fresh.refresh or fresh.token) if fresh else ""
                    if fresh and visit.renewed(fresh, visit.renew(fresh, spent)):
                        return refresh
    if sources and "grant_type" in (login.form or {}):
        form = {"grant_type": "refresh_token", "refresh_token": "{refresh}"}
        refresh = Refresh.model_validate(
            {"route": login.route, "form": form, "from": sources[0], "token": login.token}
        )
        visit = _visit(target, document, login, refresh=refresh)
        fresh = visit.ticket(ticket.person, visit.try_login(ticket.person))
        if fresh and fresh.refresh and visit.renewed(fresh, visit.renew(fresh, fresh.refresh)):
            return refresh
    return None
