"""Lesson 06: roles, owners and scopes. Four tests of what you build, then mallory.

For maintainers
Goal: every request is asked what this person may do, by the store as it is now; and nobody gets
more than was given: not by a header, not by a token, not by a promotion, not by being quick.
Teach: roles that match whole and come from the store, a table of who may do what, owners and the
404 for strangers, ranks, the last superadmin as check and write in one step, scopes that narrow.
Do not teach: tenants (lesson 12), keys (07), an audit log (10), role hierarchies, policy engines.
"""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
from fastapi import Depends, FastAPI, Security

from lessons.harness.client import Client
from lessons.harness.people import (
    bearer,
    log_in,
    refuse_hostile_passwords,
    refuse_hostile_tokens,
    speak_as,
    token_for,
)
from lessons.harness.race import Crowd
from lessons.harness.routes import served
from lessons.harness.verdicts import twin

attack = pytest.mark.attack
todo = pytest.mark.todo

FIELDS = {"username", "email", "full_name", "disabled", "role"}
REFUSED_WHEN_DISABLED = (400, 401, 403)


def expect(answer: Any, status: int | tuple[int, ...], what: str) -> Any:
    """Assert the status of an answer. `what` begins the sentence."""
    wanted = status if isinstance(status, tuple) else (status,)
    said = f"{what}: {answer.status_code}, not {' or '.join(map(str, wanted))}."
    assert answer.status_code in wanted, said
    return answer


def patch(client: Client, username: str, headers: Any, /, **change: Any) -> Any:
    """Ask to change an account."""
    return client.request("PATCH", f"/admin/users/{username}", headers=headers, json=change)


def state(users: Any, username: str) -> dict[str, Any]:
    """Return all that is stored of somebody, the hash too."""
    person = users.get(username)
    return {**person.model_dump(), "hashed_password": person.hashed_password}


def hire(users: Any, username: str, like: str, **changes: Any) -> None:
    """Add an account made after another one."""
    about = {"username": username, "email": f"{username}@example.com", "full_name": username}
    users.add(users.get(like).model_copy(update={**about, **changes}))


def beside(client: Client, **guards: Any) -> Client:
    """Return a client for an app of one's own, with one route for each guard."""
    app = FastAPI(openapi_url=None)
    for path, guard in guards.items():

        async def door(caller: Any = guard) -> str:
            return str(caller.username)

        app.get(f"/{path}")(door)
    return client.beside(app)


# --- build ----------------------------------------------------------------------------------


@todo(1, "check_role")
def test_an_admin_lists_the_accounts(client: Client, users: Any) -> None:
    """GET /admin/users shows admins who there is: five fields of each account, and no other."""
    for username in ("alice", "carol"):
        what = f"GET /admin/users as {username}"
        accounts = expect(client.get("/admin/users", headers=speak_as(users, username)), 200, what)
        by_name = {each["username"]: each for each in accounts.json()}
        assert set(by_name) == {"johndoe", "alice", "carol", "bob"}, f"It lists {list(by_name)}."
        for account in by_name.values():
            assert set(account) == FIELDS, f"An account shows {', '.join(account)}."
        assert by_name["carol"]["role"] == "superadmin", f"It shows {by_name['carol']}."
        assert by_name["bob"]["disabled"] is True, f"It shows {by_name['bob']}."


@todo(4, "change_account")
def test_a_superadmin_changes_an_account(client: Client, users: Any) -> None:
    """PATCH sets a role, disables, enables; the answer and the store show the account as it is."""
    carol = speak_as(users, "carol")
    for username, change in (
        ("johndoe", {"role": "admin"}),
        ("JohnDoe", {"disabled": True}),
        ("johndoe", {"role": "user", "disabled": False}),
        ("bob", {"disabled": False}),
    ):
        account = expect(patch(client, username, carol, **change), 200, f"{username}: {change}")
        assert set(account.json()) == FIELDS, f"The answer shows {', '.join(account.json())}."
        assert account.json().items() >= change.items(), f"It answered {account.text}."
        stored = state(users, username)
        assert stored.items() >= change.items(), f"After {change} the store has {stored}."
        assert stored["email"] == f"{username.lower()}@example.com", "The rest has to stay."
    expect(patch(client, "nobody", carol, disabled=True), 404, "There is no such user")
    for change in ({}, {"role": "king"}, {"nickname": "jd"}):
        expect(patch(client, "johndoe", carol, **change), 422, f"The body {change}")


@todo(3, "read_items_of")
def test_people_read_their_items(client: Client, users: Any) -> None:
    """Everybody reads their own items, in any case of the name; admins read anybody's."""
    for reader, owner in (
        ("johndoe", "johndoe"),
        ("johndoe", "JohnDoe"),
        ("alice", "alice"),
        ("alice", "johndoe"),
        ("alice", "carol"),
        ("carol", "BOB"),
    ):
        answer = client.get(f"/users/{owner}/items", headers=speak_as(users, reader))
        expect(answer, 200, f"{reader} reads the items of {owner}")
        items = [{"item_id": "Foo", "owner": owner.lower()}]
        assert answer.json() == items, f"{reader} reads the items of {owner}: {answer.text}."
    answer = client.get("/users/nobody/items", headers=speak_as(users, "alice"))
    expect(answer, 404, "There is no such user")
    answer = client.get("/users/me/items", headers=speak_as(users, "johndoe"))
    expect(answer, 200, "Lesson 04's route for johndoe's items")
    answer = client.get("/users/me/permissions", headers=speak_as(users, "johndoe", "me"))
    expect(answer, 200, "johndoe reads his permissions")
    assert answer.json() == {"role": "user", "scopes": ["me", "items"]}, f"It says {answer.text}."


@todo(1, "check_role")
def test_a_role_guards_a_route_of_your_own(candidate: Any, client: Client, users: Any) -> None:
    """Depends(require_role([...])) lets those roles in, and hands the caller to your route."""
    role = candidate.Role
    doors = beside(
        client,
        some=Depends(candidate.require_role([role.USER, role.ADMIN])),
        top=Depends(candidate.require_role([role.SUPERADMIN])),
    )
    for door, username, status in (
        ("some", "johndoe", 200),
        ("some", "alice", 200),
        ("top", "carol", 200),
        ("top", "johndoe", 403),
    ):
        answer = doors.get(f"/{door}", headers=speak_as(users, username))
        expect(answer, status, f"{username} at the door of {door} roles")
        assert status != 200 or answer.json() == username, f"The route got {answer.text}."
        if status == 403:
            says = {"detail": "Insufficient permissions"}
            assert answer.json() == says, f"The refusal says {answer.text}."
    expect(doors.get("/some"), 401, "Nobody at the door of some roles")


# --- attack ---------------------------------------------------------------------------------

CALLERS = ("nobody", "disabled", "stranger", "johndoe", "alice", "carol")
GONE = REFUSED_WHEN_DISABLED
TABLE: dict[tuple[str, str], tuple[int | tuple[int, ...], ...]] = {
    # method and path: what each of the callers gets, in their order
    ("GET", "/users/me/permissions"): (401, GONE, 200, 200, 200, 200),
    ("GET", "/users/{username}/items"): (401, GONE, 404, 200, 200, 200),
    ("GET", "/admin/users"): (401, GONE, 403, 403, 200, 200),
    ("PATCH", "/admin/users/{username}"): (401, GONE, 403, 403, 200, 200),
}


@attack
@todo(1, "check_role")
def test_everybody_gets_what_the_table_says(candidate: Any, client: Client, users: Any) -> None:
    """One route, one method, one role that somebody forgot: that is where mallory comes in.

    Every role at every operation of this lesson (OWASP API5:2023, CWE-862).
    """
    hire(users, "stranger", like="johndoe")
    hire(users, "disabled", like="carol", disabled=True)
    headers = {name: speak_as(users, name) for name in CALLERS[1:]}
    cells = [
        (operation, caller, status)
        for operation, row in TABLE.items()
        for caller, status in zip(CALLERS, row, strict=True)
    ]

    def check(operation: tuple[str, str], caller: str, status: int | tuple[int, ...]) -> None:
        method, path = operation
        body = {"json": {"disabled": False}} if method == "PATCH" else {}
        url = path.replace("{username}", "johndoe")
        answer = client.request(method, url, headers=headers.get(caller), **body)
        expect(answer, status, f"{method} {url} as {caller}")

    with twin():
        for cell in cells:
            if cell[2] == 200:
                check(*cell)
    for cell in cells:
        if cell[2] != 200:
            check(*cell)
    earlier = importlib.import_module("solutions.refresh").app
    for method, path in sorted(set(served(candidate.app)) - {*served(earlier), *TABLE}):
        raise AssertionError(f"{method} {path} is not in the test's table: who may call it?")


@attack
@todo(1, "check_role")
def test_roles_match_whole(candidate: Any, client: Client, users: Any) -> None:
    """`"admin" in role` lets in a superadmin, and `role in "admin"` lets in "adm" and "" (CWE-697).

    A role is in the list, or it is not. A superadmin who should come in is in the list too.
    """
    door = beside(client, admins=Depends(candidate.require_role([candidate.Role.ADMIN])))
    with twin():
        expect(door.get("/admins", headers=speak_as(users, "alice")), 200, "alice, an admin")
        hire(users, "erin", like="alice")
        erin = speak_as(users, "erin")
        expect(client.get("/admin/users", headers=erin), 200, "erin, an admin")
        carol = speak_as(users, "carol")
        expect(client.get("/admin/users", headers=carol), 200, "carol, a superadmin")
    answer = door.get("/admins", headers=carol)
    expect(answer, 403, "The list has ADMIN only, and a superadmin comes")
    for role in ("administrator", "adm", "", "Admin", "admin ", "not-admin", None, "user,admin"):
        users.change("erin", role=role)
        answer = client.get("/users/johndoe/items", headers=erin)
        expect(answer, 404, f"The items of johndoe, for the role {role!r}")
        expect(door.get("/admins", headers=erin), 403, f"The role {role!r}, where ADMIN is asked")
    expect(client.get("/admin/users", headers=erin), 403, f"GET /admin/users as {role!r}")


@attack
@todo(1, "check_role")
def test_what_is_not_known_is_refused(candidate: Any, client: Client, users: Any) -> None:
    """An empty list checks nothing, and a role that nobody thought of falls through the checks.

    The list is an error when the app starts, the role a refusal at every guard (CWE-636).
    """
    role = candidate.Role
    with twin():
        everyone = Depends(candidate.require_role(list(role)))
        door = beside(client, everyone=everyone)
        expect(door.get("/everyone", headers=speak_as(users, "johndoe")), 200, "johndoe, a user")
        hire(users, "erin", like="alice")
        erin = speak_as(users, "erin")
        answer = client.get("/users/johndoe/items", headers=erin)
        expect(answer, 200, "The items of johndoe, for an admin")
        expect(patch(client, "johndoe", erin, disabled=False), 200, "PATCH as an admin")
    for unknown in ("root", "None"):
        users.change("erin", role=unknown)
        expect(door.get("/everyone", headers=erin), 403, f"The role {unknown!r}, unknown")
        expect(client.get("/admin/users", headers=erin), 403, f"GET /admin/users as {unknown!r}")
        expect(patch(client, "johndoe", erin, disabled=True), 403, f"PATCH as {unknown!r}")
        answer = client.get("/users/johndoe/items", headers=erin)
        expect(answer, 404, f"The items of johndoe, for {unknown!r}")
    assert not users.get("johndoe").disabled, "An unknown role disabled johndoe."
    for wrong in ([], ["king"]):
        try:
            candidate.require_role(wrong)
        except Exception:
            continue
        raise AssertionError(f"require_role({wrong}) was accepted. It should raise a ValueError.")


@attack
@todo(1, "check_role")
def test_the_role_is_the_one_in_the_store(candidate: Any, client: Client, users: Any) -> None:
    """Mallory says that she is a superadmin: in a header, the address, a cookie, her token.

    Nor does a role outlive its end: after a demotion the next request counts (ASVS 8.3.1, 8.3.2).
    """
    alice = speak_as(users, "alice")
    with twin():
        expect(client.get("/admin/users", headers=alice), 200, "alice, an admin")
        expect(patch(client, "bob", alice, disabled=True), 200, "alice disables bob")
        carol = speak_as(users, "carol")
        expect(patch(client, "bob", carol, disabled=True), 200, "carol disables bob")
    role = "superadmin"
    claims = {"role": role, "roles": [role], "is_admin": True, "scope": f"me items admin {role}"}
    john = speak_as(users, "johndoe")
    names = {"X-Role": role, "X-User-Role": role, "Role": role, "X-User": "carol", "From": "carol"}
    names |= {"X-Is-Admin": "true", "X-Forwarded-User": "carol", "X-Forwarded-For": "127.0.0.1"}
    sent: dict[str, dict[str, Any]] = {
        "a header": {"headers": {**john, **names}},
        "the address": {"headers": john, "params": {"role": role, "user": "carol"}},
        "a cookie": {"headers": {**john, "Cookie": f"role={role}; user=carol"}},
        "the body": {"headers": john, "json": {"role": role}},
        "the token": {"headers": bearer(token_for(users, "johndoe", **claims))},
    }
    for where, send in sent.items():
        answer = client.request("GET", "/admin/users", **send)
        expect(answer, 403, f"johndoe, with somebody else's role or name in {where}")
        answer = client.request("GET", "/users/carol/items", **send)
        expect(answer, 404, f"Carol's items, for johndoe with another role or name in {where}")
        change = {"json": {"disabled": False}, **send}
        answer = client.request("PATCH", "/admin/users/johndoe", **change)
        expect(answer, 403, f"PATCH as johndoe, with another role or name in {where}")
    for above in ({**alice, **names}, bearer(token_for(users, "alice", **claims))):
        answer = patch(client, "johndoe", above, role=role)
        expect(answer, 403, f"alice, an admin, says that she is {role}, and grants it")
    for method, path, declared in _declared(candidate.app):
        for value in (role, "admin", "user", "carol", "true"):
            answer = _call(client, method, path, john, declared(value))
            what = f"{method} {path} of carol as johndoe, with {declared(value)}"
            expect(answer, (403, 404, 422), what)
    users.change("alice", role="user")
    expect(client.get("/admin/users", headers=alice), 403, "Demoted since the login")
    users.change("carol", role="admin")
    answer = patch(client, "johndoe", carol, role=role)
    expect(answer, 403, "carol, an admin since a moment ago, makes a superadmin")
    users.change("johndoe", role="admin")
    expect(client.get("/admin/users", headers=john), 200, "Promoted since the login")


def _call(client: Client, method: str, path: str, headers: Any, send: dict[str, Any]) -> Any:
    body = {"json": {"disabled": False}} if method == "PATCH" else {}
    send = {**body, **send, "headers": {**headers, **send.get("headers", {})}}
    return client.request(method, path.replace("{username}", "carol"), **send)


def _declared(app: FastAPI) -> Iterator[tuple[str, str, Any]]:
    """Yield what the lesson's operations take from a caller besides path and body.

    A default argument that was meant for a closure is such a parameter: FastAPI fills it in.
    """
    shapes = {
        "query": lambda name, value: {"params": {name: value}},
        "header": lambda name, value: {"headers": {name: value}},
        "cookie": lambda name, value: {"headers": {"Cookie": f"{name}={value}"}},
    }
    for method, path in set(TABLE) - {("GET", "/users/me/permissions")}:
        for each in app.openapi()["paths"][path][method.lower()].get("parameters", ()):
            if shape := shapes.get(each["in"]):
                yield method, path, partial(shape, each["name"])


@attack
@todo(3, "read_items_of")
def test_a_stranger_learns_nothing_from_a_name(client: Client, users: Any) -> None:
    """Change the name in the address and read somebody else's items (OWASP API1:2023, CWE-639).

    A 403 for real names and a 404 for others is a list of accounts (CWE-204).
    """
    john = speak_as(users, "johndoe")

    def read(name: str) -> tuple[int, bytes, list[tuple[str, str]]]:
        answer = client.get(f"/users/{name}/items", headers=john)
        return answer.status_code, answer.content, sorted(answer.headers.items())

    with twin():
        assert read("johndoe")[0] == 200, "His own items were refused to johndoe."
    unknown = read("nobody")
    assert unknown[0] == 404, f"The items of nobody: {unknown[0]}, not 404."
    hire(users, "john", like="johndoe")
    hire(users, "johndoe2", like="johndoe", email=users.get("johndoe").email)
    for name in ("alice", "Alice", "carol", "bob", "john", "johndoe2", "no%20such%20name!"):
        answer = read(name)
        assert answer[0] == 404, f"The items of {name}, for johndoe: {answer[0]}, not 404."
        assert answer == unknown, f"{name}: {answer[1:]}. A user who does not exist: {unknown[1:]}"


SUPER = {"role": "superadmin"}


@attack
@todo(4, "change_account")
def test_nobody_grants_more_than_they_have(client: Client, users: Any) -> None:
    """An admin makes herself superadmin, or locks the superadmin out (CWE-269).

    Nor does a change bring along what no administrator may set (OWASP API3:2023, CWE-915).
    """
    hire(users, "rooty", like="johndoe", role="root")  # a role that nobody knows any more
    hire(users, "dave", like="carol", disabled=True)
    john, alice = speak_as(users, "johndoe"), speak_as(users, "alice")
    with twin():
        expect(patch(client, "johndoe", alice, role="admin"), 200, "alice makes johndoe an admin")
        expect(patch(client, "johndoe", alice, role="user"), 200, "alice makes him a user again")
        expect(patch(client, "johndoe", alice, disabled=False), 200, "alice enables johndoe")
    before = {each.username: state(users, each.username) for each in users.everyone()}
    for caller, headers, name, change in (
        ("johndoe", john, "johndoe", {"role": "admin"}),
        ("johndoe", john, "johndoe", SUPER),
        ("johndoe", john, "alice", {"disabled": True}),
        ("alice", alice, "alice", SUPER),
        ("alice", alice, "johndoe", SUPER),
        ("alice", alice, "johndoe", SUPER | {"disabled": True}),
        ("alice", alice, "carol", {"disabled": True}),
        ("alice", alice, "Carol", {"disabled": False}),
        ("alice", alice, "carol", {"role": "user"}),
        ("alice", alice, "carol", {"role": "admin", "disabled": True}),
        ("alice", alice, "rooty", {"role": "user"}),
        ("alice", alice, "dave", {"disabled": False}),
        ("alice", alice, "bob", SUPER),
    ):
        answer = patch(client, name, headers, **change)
        expect(answer, 403, f"{caller} changes {name} to {change}")
        assert state(users, name) == before[name.lower()], f"{name} was changed all the same."
    answer = patch(client, "nobody", john, disabled=True)
    expect(answer, 403, "johndoe tries whether there is a nobody")
    forbidden = {
        "scopes": ["me", "items", "admin"],
        "hashed_password": users.get("alice").hashed_password,
        "security_stamp": "mallory",
        "username": "carol",
        "email": "mallory@example.com",
        "full_name": "Mallory",
    }
    for field, value in forbidden.items():
        answer = patch(client, "johndoe", alice, disabled=False, **{field: value})
        expect(answer, 422, f"alice sets {field}")
        assert state(users, "johndoe") == before["johndoe"], f"alice has set {field}."


@attack
@todo(4, "change_account")
def test_the_last_superadmin_stays(client: Client, users: Any) -> None:
    """Mallory talks carol into "tidying up" her own account, and nobody can undo anything any more.

    409 for the last superadmin who can log in; one who is disabled cannot.
    """
    hire(users, "dave", like="carol")
    carol, dave = speak_as(users, "carol"), speak_as(users, "dave")
    with twin():
        answer = patch(client, "carol", carol, role="admin")
        expect(answer, 200, "carol demotes herself while dave is a superadmin too")
        expect(patch(client, "carol", dave, **SUPER), 200, "dave makes her superadmin again")
        answer = patch(client, "dave", carol, disabled=True)
        expect(answer, 200, "carol disables dave")
        expect(patch(client, "carol", carol, **SUPER, disabled=False), 200, "carol stays carol")
    ends = (
        {"role": "admin"},
        {"role": "user", "disabled": False},
        {"disabled": True},
        SUPER | {"disabled": True},
    )

    def refuse(who: str, headers: Any, case: str, ends: Any) -> None:
        for change in ends:
            before = state(users, who)
            answer = patch(client, who.capitalize(), headers, **change)
            expect(answer, 409, f"{case}. {who} changes {who} to {change}")
            assert state(users, who) == before, f"{case}. {who} was changed all the same."

    refuse("carol", carol, "dave is a superadmin, but disabled", ends)
    answer = patch(client, "dave", carol, disabled=True)
    expect(answer, 200, "dave is disabled, so he is not the last one, and stays disabled")
    patch(client, "carol", carol, role=None, disabled=False)
    assert users.get("carol").role == "superadmin", "carol has lost her role by `role: null`."
    users.change("dave", disabled=False)
    dave = speak_as(users, "dave")
    with twin():
        expect(patch(client, "carol", dave, role="admin"), 200, "dave demotes carol")
    refuse("dave", dave, "carol is an admin now", ends[:1])
    users.remove("carol")
    refuse("dave", dave, "carol is gone", ends[2:3])


@attack
@todo(4, "change_account")
def test_two_superadmins_do_not_remove_each_other(
    candidate: Any, client: Client, users: Any
) -> None:
    """Two requests look at once, see two superadmins each, and remove each other (CWE-367).

    What was checked must still hold when it is written.
    """
    from solutions.users import get_users

    hire(users, "dave", like="carol")
    headers = {name: speak_as(users, name) for name in ("carol", "dave")}
    with twin():
        expect(patch(client, "dave", headers["carol"], role="user"), 200, "carol demotes dave")
    users.change("dave", role="superadmin")
    crowd = Crowd(2)

    class Crowded(type(users)):  # type: ignore[misc]
        """Two threads look at the same state, and write at the same time."""

        def everyone(self) -> Any:
            people = super().everyone()
            crowd.gather("looked")
            return people

        def change(self, *args: Any, **changes: Any) -> Any:
            crowd.gather("will write")
            return super().change(*args, **changes)

        def transaction(self) -> Any:
            return crowd.lock(super().transaction())

    both = [
        ("PATCH", "/admin/users/dave", {"headers": headers["carol"], "json": {"role": "user"}}),
        ("PATCH", "/admin/users/carol", {"headers": headers["dave"], "json": {"disabled": True}}),
    ]
    for requests in (both, both[::-1]):
        crowd = Crowd(2)
        store = Crowded(users.everyone())
        with _instead_of(get_users, store, candidate.app):
            answers = client.in_threads(crowd, requests)
        left = [store.get(name) for name in headers]
        left = [each.username for each in left if each.role == "superadmin" and not each.disabled]
        assert left, "carol demoted dave while dave disabled carol. No superadmin is left."
        seen = sorted(answer.status_code for answer in answers)
        assert seen.count(200) == 1, f"Of two at once, one should get a 200. They got {seen}."


@contextmanager
def _instead_of(dependency: Any, value: Any, app: FastAPI) -> Iterator[None]:
    async def get_value() -> Any:
        return value

    app.dependency_overrides[dependency] = get_value
    try:
        yield
    finally:
        app.dependency_overrides.clear()


def lacks(answer: Any, scopes: str, what: str) -> None:
    """Assert the refusal of a token that lacks a scope (RFC 6750 section 3.1)."""
    expect(answer, 403, what)
    challenge = answer.headers.get("www-authenticate", "")
    assert challenge.startswith("Bearer "), f"{what}: WWW-Authenticate is {challenge!r}."
    for part in ('error="insufficient_scope"', f'scope="{scopes}"'):
        assert part in challenge, f"{what}: WWW-Authenticate lacks {part}. It is {challenge!r}."


@attack
@todo(2, "require_scopes")
def test_a_token_opens_only_what_it_was_made_for(
    candidate: Any, client: Client, users: Any
) -> None:
    """A narrow token, given to some program, opens the rest too. "items:readonly" is not "items".

    403 with the header that names what is missing (RFC 6750 section 3.1, CWE-697).
    """
    recorded = candidate.require_scopes
    needed = getattr(recorded, "__wrapped__", recorded)  # the learner's own object
    door = beside(client, both=Security(needed, scopes=["me", "items"]))
    urls = {"me": "/users/me/permissions", "items": "/users/johndoe/items"}
    with twin():
        for scope, url in urls.items():
            what = f"{url} with the scope {scope}"
            expect(client.get(url, headers=speak_as(users, "johndoe", scope)), 200, what)
        john = speak_as(users, "johndoe", "other items me")
        expect(client.get(urls["items"], headers=john), 200, "other items me")
        expect(door.get("/both", headers=john), 200, "Both scopes, where both are asked")
    url = urls["items"]
    near = ("items:readonly", "xitemsx me", "item", "ITEMS", "me,items", "me admin", "", None, 1)
    for claim in near:
        token = bearer(token_for(users, "johndoe", scope=claim))
        lacks(client.get(url, headers=token), "items", f"{url} with the scope {claim!r}")
    odd: list[Any] = [["items"], [" items "], {" items ": True}]
    for claims in ({}, {"scopes": ["items"]}, *({"scope": each} for each in odd)):
        token = bearer(token_for(users, "johndoe", **claims))
        lacks(client.get(url, headers=token), "items", f"{url} with the claims {claims}")
    for scope in ("items", "me:readonly"):
        john = speak_as(users, "johndoe", scope)
        lacks(client.get(urls["me"], headers=john), "me", f"{urls['me']} with the scope {scope!r}")
    for name in ("alice", "carol"):
        narrow = speak_as(users, name, "me")
        lacks(client.get(urls["items"], headers=narrow), "items", f"{name}'s token without items")
    narrow = {**speak_as(users, "johndoe", "me"), "X-Scope": "items", "Cookie": "scope=items"}
    answer = client.get(urls["items"], headers=narrow, params={"scope": "items"})
    lacks(answer, "items", "A token for me, and the scope items in header, address and cookie")
    for scope in urls:
        john = speak_as(users, "johndoe", scope)
        what = f"Only {scope}, where me and items are asked"
        lacks(door.get("/both", headers=john), "me items", what)


@attack
@todo(2, "require_scopes")
def test_scopes_never_widen(client: Client, users: Any) -> None:
    """Mallory asks the login for more than she has, or keeps a token from when she had it.

    What counts is in the token and among the user's scopes too, as they are now (CWE-269).
    """
    url = "/users/johndoe/items"
    john = speak_as(users, "johndoe")
    with twin():
        expect(client.get(url, headers=john), 200, "johndoe, who has the scope items")
    for scopes in (["me"], [], ["items:readonly", "me"]):
        users.change("johndoe", scopes=scopes)
        what = f"The token says items, and the user has {scopes}"
        lacks(client.get(url, headers=john), "items", what)
    for name in ("alice", "carol"):
        token = speak_as(users, name)
        users.change(name, scopes=["me"])
        what = f"The token says items, and {name} has only me"
        lacks(client.get(url, headers=token), "items", what)
    users.change("johndoe", scopes=["me"])
    for asked in ("me items admin", "items"):
        answer = log_in(client, "johndoe", "secret", scope=asked)
        token = answer.json().get("access_token")
        if token:
            what = f"johndoe has only me, and logs in for {asked!r}"
            expect(client.get(url, headers=bearer(token)), 403, what)
    users.change("johndoe", scopes=["me", "items"])
    with twin():
        expect(client.get(url, headers=john), 200, "johndoe, who has the scope items again")


@attack
@todo(1, "check_role")
def test_hostile_tokens_are_refused(client: Client, users: Any) -> None:
    """Forty tokens that mallory made of an admin's. None lists the accounts.

    The defences of lessons 02 and 04 must be in use here too (RFC 8725 section 3.1).
    """
    refuse_hostile_tokens(client, "/admin/users", token_for(users, "alice"))
    refuse_hostile_passwords(client)
    alice = speak_as(users, "alice")
    for url in (urls := ("/admin/users", "/users/alice/items")):
        with twin():
            expect(client.get(url, headers=alice), 200, f"{url} as alice")
    users.change("alice", security_stamp="of her new password")
    for url in urls:
        expect(client.get(url, headers=alice), 401, f"{url}, with a token of her old password")
