"""Lesson 06: roles, owners and scopes. Four tests of what you build, then mallory.

For maintainers
Goal: every request is asked what this person may do, by the store as it is now; and nobody gets
more than was given: not by a header, not by a token, not by a promotion, not by being quick.
Teach: roles that match whole and come from the store, a table of who may do what, owners and the
404 for strangers, ranks, the last superadmin as check and write in one step, scopes that narrow.
Do not teach: tenants (lesson 13), keys (07), an audit log (10), role hierarchies, policy engines.
"""

import asyncio
import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
from fastapi import Depends, FastAPI, Security

from lessons.harness.answers import differs, says, surplus_headers
from lessons.harness.client import Client
from lessons.harness.failing import Before, Failing, Slow, StoreDown, in_place
from lessons.harness.kept import keeps_none, with_people
from lessons.harness.memory import remembered
from lessons.harness.people import (
    bearer,
    log_in,
    refuse_hostile_passwords,
    refuse_hostile_tokens,
    speak_as,
    token_for,
)
from lessons.harness.race import Crowd
from lessons.harness.reads import reading
from lessons.harness.routes import served
from lessons.harness.side_doors import Contract, side_doors, with_door
from lessons.harness.trap import listening
from lessons.harness.verdicts import twin

asvs = pytest.mark.asvs
attack = pytest.mark.attack
todo = pytest.mark.todo

SUPER = {"role": "superadmin"}
FIELDS = {"username", "email", "full_name", "disabled", "role"}
GONE = (400, 401, 403)  # the account is disabled


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


@contextmanager
def served_by(store: Any, app: FastAPI) -> Iterator[None]:
    """Put a store in the place of the app's users."""
    from solutions.stores.users import get_users

    with in_place(app, get_users, store):
        yield


# --- build ----------------------------------------------------------------------------------


@todo(1, "check_role")
@asvs("8.2.3")
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
def test_people_read_their_items(candidate: Any, client: Client, users: Any) -> None:
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
        says(answer, items, f"{reader} reads the items of {owner}")
    answer = client.get("/users/nobody/items", headers=speak_as(users, "alice"))
    expect(answer, 404, "There is no such user")
    if ("GET", "/users/me/items") in served(candidate.app):
        answer = client.get("/users/me/items", headers=speak_as(users, "johndoe"))
        expect(answer, 200, "Lesson 04's route for johndoe's items")
    answer = client.get("/users/me/permissions", headers=speak_as(users, "johndoe", "me"))
    expect(answer, 200, "johndoe reads his permissions")
    says(answer, {"role": "user", "scopes": ["me", "items"]}, "johndoe reads his permissions")


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
        if status == 200:
            says(answer, username, "The person whom the route gets")
        if status == 403:
            says(answer, {"detail": "Insufficient permissions"}, "The refusal")
    expect(doors.get("/some"), 401, "Nobody at the door of some roles")


# --- attack ---------------------------------------------------------------------------------

TABLE: dict[tuple[str, str], dict[str, int | tuple[int, ...]]] = {
    # method and path: what each role gets
    ("GET", "/users/me/permissions"): {"root": 200, "user": 200, "admin": 200, "superadmin": 200},
    ("GET", "/users/{username}/items"): {"root": 404, "user": 404, "admin": 200, "superadmin": 200},
    ("GET", "/admin/users"): {"root": 403, "user": 403, "admin": 200, "superadmin": 200},
    ("PATCH", "/admin/users/{username}"): {
        "root": 403,
        "user": 403,
        "admin": 200,
        "superadmin": 200,
    },
}
ELSEWHERE = ("/admin", "/admin/", "/admin/users/", "/admin/stats", "/debug", "/internal/status")
METHODS = ("HEAD", "POST")  # served() names what has a route; a middleware needs none


@attack
@todo(1, "check_role")
@asvs("8.2.1")
def test_everybody_gets_what_the_table_says(candidate: Any, client: Client, users: Any) -> None:
    """One route, one method, one role that somebody forgot: that is where mallory comes in.

    Every role, enabled and disabled, at every operation of this lesson (OWASP API5:2023, CWE-862).
    """
    callers = {}
    for role in ("root", "user", "admin", "superadmin"):
        for disabled in (False, True):
            name = f"a-{role}-who-is-{'disabled' if disabled else 'enabled'}"
            hire(users, name, like="johndoe", role=role, disabled=disabled)
            callers[name] = (role, disabled, speak_as(users, name))

    def ask(operation: tuple[str, str], name: str, status: int | tuple[int, ...]) -> Any:
        method, path = operation
        body = {"json": {"disabled": False}} if method == "PATCH" else {}
        url = path.replace("{username}", "johndoe")
        headers = callers[name][2] if name in callers else None
        answer = client.request(method, url, headers=headers, **body)
        return expect(answer, status, f"{method} {url} as {name}")

    cells = [
        (operation, name, GONE if disabled else row[role])
        for operation, row in TABLE.items()
        for name, (role, disabled, _) in callers.items()
    ]
    with twin():
        answers = [(cell, ask(*cell)) for cell in cells if cell[2] == 200]
    cells += [(operation, "nobody", 401) for operation in TABLE]
    answers += [(cell, ask(*cell)) for cell in cells if cell[2] != 200]
    for ((method, path), name, _), answer in answers:
        said = surplus_headers(answer, allowed=("x-request-id",))
        assert not said, f"{method} {path} as {name}: {said[0]}"
    earlier = importlib.import_module("solutions.refresh").app
    for method, path in sorted(set(served(candidate.app)) - {*served(earlier), *TABLE}):
        raise AssertionError(f"{method} {path} is a new route: the lesson asks for no other.")
    everybody = [state(users, each.username) for each in users.everyone()]
    john = speak_as(users, "johndoe")
    for path in [*{path for _, path in TABLE}, *ELSEWHERE]:
        for method in METHODS if path not in ELSEWHERE else ("GET",):
            if (method, path) not in TABLE:
                url = path.replace("{username}", "bob")
                answer = client.request(method, url, headers=john)
                expect(answer, (401, 403, 404, 405), f"{method} {url}, which is not in the table")
    assert everybody == [state(users, each.username) for each in users.everyone()], "It wrote."


@attack
@todo(1, "check_role")
@asvs("8.2.1")
def test_only_roles_on_the_list_come_in(candidate: Any, client: Client, users: Any) -> None:
    """`"admin" in role` lets in a superadmin, and an unknown role falls through the checks.

    A role is in the list, or it is not, and an empty list is an error (CWE-697, CWE-636).
    """
    role = candidate.Role
    door = beside(
        client,
        admins=Depends(candidate.require_role([role.ADMIN])),
        everyone=Depends(candidate.require_role(list(role))),
    )
    hire(users, "erin", like="alice")
    erin = speak_as(users, "erin")
    with twin():
        expect(door.get("/admins", headers=speak_as(users, "alice")), 200, "alice, an admin")
        expect(door.get("/admins", headers=erin), 200, "erin, an admin")
        expect(door.get("/everyone", headers=speak_as(users, "johndoe")), 200, "johndoe, a user")
        answer = client.get("/users/johndoe/items", headers=erin)
        expect(answer, 200, "The items of johndoe, for an admin")
        expect(patch(client, "johndoe", erin, disabled=False), 200, "PATCH as an admin")
    for username in ("carol", "johndoe"):
        answer = door.get("/admins", headers=speak_as(users, username))
        expect(answer, 403, f"The list has ADMIN only, and {username} comes")
    texts = ("adm", "Admin", "admin ", "not-admin", "user,admin", "root", "")
    for unknown in (*texts, None) if keeps_none(users.store) else texts:
        users.change("erin", role=unknown)
        expect(
            door.get("/admins", headers=erin), 403, f"The role {unknown!r}, where ADMIN is asked"
        )
        answer = client.get("/users/johndoe/items", headers=erin)
        expect(answer, 404, f"The items of johndoe, for {unknown!r}")
        if unknown in ("root", "", None):
            expect(door.get("/everyone", headers=erin), 403, f"The role {unknown!r}, unknown")
            answer = client.get("/admin/users", headers=erin)
            expect(answer, 403, f"GET /admin/users as {unknown!r}")
            expect(patch(client, "johndoe", erin, disabled=True), 403, f"PATCH as {unknown!r}")
    assert not users.get("johndoe").disabled, "An unknown role disabled johndoe."
    for name in ("admin", "root"):
        hire(users, name, like="johndoe")
        answer = client.get("/admin/users", headers=speak_as(users, name))
        expect(answer, 403, f"GET /admin/users as a user whose name is {name}")
    for wrong in ([], ["king"], ["admin", "king"]):
        try:
            candidate.require_role(wrong)
        except Exception:
            continue
        raise AssertionError(f"require_role({wrong}) was accepted. It should raise a ValueError.")


REQUESTS: list[tuple[str, str, str, dict[str, Any], int]] = [
    # who asks for what, and the answer; none of them changes anything
    ("nobody", "GET", "/admin/users", {}, 401),
    ("nobody", "GET", "/users/carol/items", {}, 401),
    ("nobody", "PATCH", "/admin/users/bob", {"json": {"disabled": True}}, 401),
    ("johndoe", "GET", "/admin/users", {}, 403),
    ("johndoe", "GET", "/users/carol/items", {}, 404),
    ("johndoe", "GET", "/users/johndoe/items", {}, 200),
    ("johndoe", "GET", "/users/me/permissions", {}, 200),
    ("johndoe", "PATCH", "/admin/users/johndoe", {"json": {"role": "admin"}}, 403),
    ("alice", "GET", "/admin/users", {}, 200),
    ("alice", "GET", "/users/johndoe/items", {}, 200),
    ("alice", "PATCH", "/admin/users/bob", {"json": {"disabled": True}}, 200),
    ("alice", "PATCH", "/admin/users/johndoe", {"json": {"role": "superadmin"}}, 403),
    ("alice", "PATCH", "/admin/users/carol", {"json": {"disabled": True}}, 403),
    ("carol", "PATCH", "/admin/users/carol", {"json": {"role": "user"}}, 409),
    ("carol", "GET", "/users/nobody/items", {}, 404),
]


@attack
@todo(1, "check_role")
@asvs("8.3.1", "8.3.2")
def test_the_role_is_the_one_in_the_store(candidate: Any, client: Client, users: Any) -> None:
    """Mallory says that she is a superadmin: in her token, a header, the address, a cookie.

    Nor does a role outlive its end: after a demotion the next request counts (ASVS 8.3.1, 8.3.2).
    """
    alice, carol = speak_as(users, "alice"), speak_as(users, "carol")
    people = users.everyone()
    with reading() as reads:
        alone = client.run(answers_to(client, users, one_by_one=True))
    for request, answer in zip(REQUESTS, alone, strict=True):
        said = f"{' '.join(request[:3])}: {answer[0]}, not {request[-1]}."
        with twin() if request[-1] == 200 else nullcontext():
            assert answer[0] == request[-1], said
    for name, door in doors(reads, carol["Authorization"][7:]):
        for number, answer in enumerate(client.run(answers_to(client, users, door, True))):
            said = f"{' '.join(REQUESTS[number][:3])}, with {name}: {answer}, not {alone[number]}."
            assert answer == alone[number], said
        assert users.everyone() == people, f"With {name} something was written."
    with served_by(Slow(users.store), candidate.app):
        together = client.run(answers_to(client, users))
    for number, answer in enumerate(together):
        said = f"{' '.join(REQUESTS[number][:3])}, among others: {answer}, not {alone[number]}."
        assert answer == alone[number], said
    users.change("alice", role="user")
    expect(client.get("/admin/users", headers=alice), 403, "Demoted since the login")
    answer = client.get("/users/johndoe/items", headers=alice)
    expect(answer, 404, "The items of johndoe, for alice, who was an admin")
    answer = client.get("/users/me/permissions", headers=alice).json()
    assert answer["role"] == "user", f"After the demotion her permissions say {answer}."
    users.change("carol", role="admin")
    answer = patch(client, "johndoe", carol, **SUPER)
    expect(answer, 403, "carol, an admin since a moment ago, makes a superadmin")
    users.change("johndoe", role="admin")
    answer = client.get("/admin/users", headers=speak_as(users, "johndoe"))
    expect(answer, 200, "Promoted since the login")


def doors(reads: Any, token: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what else might say who is calling, each by a name: what is read, and the usual."""
    role = "superadmin"
    claims = {"role": role, "roles": [role], "is_admin": True, "scope": f"me items admin {role}"}
    headers = {"X-Role": role, "Cookie": f"role={role}"}
    said = {"claims": claims, "headers": headers, "body": {"json": {"role": role}}}
    yield "another role in token, header, cookie and body", said
    values = (role, "carol", "admin", "true", token)
    yield from side_doors(reads, Contract(headers={"authorization"}), values)


async def answers_to(
    client: Client, users: Any, door: dict[str, Any] | None = None, one_by_one: bool = False
) -> list[tuple[int, Any]]:
    """Send all REQUESTS, each with the door added, and return status and content of the answers."""
    from solutions.tokens import create_access_token

    door = dict(door or {})
    claims = {"scope": "me items", **door.pop("claims", {})}
    body = door.pop("body", {})
    tokens = {
        each.username: create_access_token(
            {"sub": each.username, "stamp": each.security_stamp, **claims}
        )
        for each in await users.store.everyone()
    }

    async def ask(name: str, method: str, url: str, send: dict[str, Any]) -> tuple[int, Any]:
        sent: dict[str, Any] = {**body, **send}
        if name in tokens:
            sent["headers"] = bearer(tokens[name])
        sent = with_door(sent, door)
        answer = await client.ask(method, url, **sent)
        return answer.status_code, answer.json()

    asked = [ask(*request[:4]) for request in REQUESTS]
    return [await each for each in asked] if one_by_one else list(await asyncio.gather(*asked))


@attack
@todo(3, "read_items_of")
@asvs("8.2.2")
def test_a_stranger_learns_nothing_from_a_name(client: Client, users: Any) -> None:
    """Change the name in the address and read somebody else's items (OWASP API1:2023, CWE-639).

    A 403 for real names and a 404 for others is a list of accounts (CWE-204).
    """
    hire(users, "mallory", like="johndoe", role="root")  # a role that nobody knows any more
    same = {"email": users.get("johndoe").email, "full_name": users.get("johndoe").full_name}
    hire(users, "johndoe2", like="johndoe", **same)  # all but the name is the same
    other = {"role": "superadmin", "scopes": ["x"], "email": None, "full_name": None}
    hire(users, "john", like="bob", **other)  # and here nothing is
    others = ("alice", "Alice", "carol", "bob", "john", "johndoe2", "alice@example.com")
    odd = ("no%20such%20name!", "%20", "0", "1", "*", "John%20Doe")
    # The last ones mean johndoe where a name is taken for a pattern, or for the start of one.
    alike = ("john.doe", "johndoe_", "-johndoe", "johnd.e", "johnd_e", "johndo")
    for name in alike:
        hire(users, name, like="johndoe")
    for username, names in (
        ("johndoe", (*others, *alike, *odd)),
        ("mallory", ("johndoe", "carol", "bob")),
        *((name, ("johndoe",)) for name in alike),
    ):
        headers = speak_as(users, username)

        def read(name: str, headers: Any = headers) -> Any:
            return client.get(f"/users/{name}/items", headers=headers)

        with twin():
            # Owning is not a role. The text has said so only lately, so refusing is right too.
            own = (200, 403, 404) if username == "mallory" else (200,)
            assert read(username).status_code in own, f"Their own items were refused to {username}."
        unknown = read("nobody")
        expect(unknown, 404, "The items of nobody")
        for name in names:
            answer = read(name)
            what = f"The items of {name}, for {username}"
            expect(answer, 404, what)
            assert not (how := differs(unknown, answer)), f"{what}, beside those of nobody: {how}"
    john = speak_as(users, "johndoe")
    conditions = ({"If-None-Match": "*"}, {"If-Match": "*"}, {"Range": "bytes=0-1"}, *[{}] * 12)
    for condition in conditions:  # asked under a condition, and again and again
        seen = [
            client.get(f"/users/{name}/items", headers={**john, **condition})
            for name in ("nobody", "alice")
        ]
        assert not (how := differs(*seen)), f"Of alice and of nobody, {condition or 'again'}: {how}"
    alice = speak_as(users, "alice")
    for name in ("nobody", "0", "*", "johndoe@example.com"):
        answer = client.get(f"/users/{name}/items", headers=alice)
        expect(answer, 404, f"The items of {name}, for alice, an admin")


CHANGES = ({"role": "user"}, SUPER, {"disabled": True}, {"disabled": False})
WRITTEN: tuple[dict[str, Any], ...] = (  # one after the other
    {"role": "admin"},
    {"disabled": True},
    {"disabled": False},
    {"disabled": True},
    {"role": "user", "disabled": False},
)


@attack
@todo(4, "change_account")
@asvs("6.4.6", "7.4.5", "8.2.3")
def test_nobody_grants_more_than_they_have(client: Client, users: Any) -> None:
    """An admin makes herself superadmin, or locks the superadmin out (CWE-269).

    Nor does a change bring along what no administrator may set (OWASP API3:2023, CWE-915).
    """
    ranks = {"user": 0, "admin": 1, "superadmin": 2, "root": 3}  # nobody knows root any more
    hire(users, "dave", like="carol")  # so that carol is not the last one
    for role in ranks:
        hire(users, f"a-{role}", like="johndoe", role=role)
        hire(users, f"no-{role}", like="johndoe", role=role, disabled=True)
    john, alice, carol = (speak_as(users, name) for name in ("johndoe", "alice", "carol"))
    with twin():
        for caller, headers, role in (("alice", alice, "admin"), ("carol", carol, "superadmin")):
            for name in ("no-user", "a-admin"):
                before = state(users, name)
                for change in ({"role": role}, {"disabled": not before["disabled"]}):
                    answer = patch(client, name, headers, **change)
                    expect(answer, 200, f"{caller} changes {name} to {change}")
                users.change(name, **before_of(before))
    before = {each.username: state(users, each.username) for each in users.everyone()}
    targets = ("a-user", "no-user", "a-admin", "no-admin", "a-superadmin", "no-superadmin")
    refused = [
        (caller, headers, name, change)
        for caller, headers, rank, names in (
            ("alice", alice, 1, ("alice", *targets, "a-root", "no-root")),
            ("carol", carol, 2, ("a-root", "no-root")),
        )
        for name in names
        for change in CHANGES
        if max(ranks[before[name]["role"]], ranks[change.get("role", "user")]) > rank
    ]
    refused += [("johndoe", john, name, CHANGES[0]) for name in ("johndoe", "nobody")]
    refused += [("alice", alice, "Carol", CHANGES[2])]
    refused += [("alice", alice, "a-user", SUPER | {"disabled": True})]  # not half of it either
    for caller, headers, name, change in refused:
        answer = patch(client, name, headers, **change)
        expect(answer, 403, f"{caller} changes {name} to {change}")
    for name in ("nobody", "0", "1", "alice@example.com", "*"):
        expect(patch(client, name, carol, disabled=True), 404, f"carol disables {name}")
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
    for name in before:
        assert state(users, name) == before[name], f"{name} was changed all the same."
    stolen = speak_as(users, "a-user")
    for change in WRITTEN:
        expect(patch(client, "a-user", alice, **change), 200, f"alice changes a-user to {change}")
        after = state(users, "a-user")
        surplus = {field for field in after if after[field] != before["a-user"][field]}
        surplus -= {"role", "disabled", "security_stamp"}
        assert not surplus, f"The change {change} wrote {', '.join(sorted(surplus))} too."
        if change.get("disabled") is False:
            answer = client.get("/users/me/permissions", headers=stolen)
            expect(answer, 401, "Disabled and enabled again, with a token from before")
            stolen = speak_as(users, "a-user")


def before_of(stored: dict[str, Any]) -> dict[str, Any]:
    """Return what to set so that an account is again as it was."""
    return {name: stored[name] for name in stored if name != "username"}


@attack
@todo(4, "change_account")
def test_the_last_superadmin_stays(client: Client, users: Any) -> None:
    """Mallory talks carol into "tidying up" her own account, and nobody can undo anything any more.

    409 for the last superadmin who can log in; one who is disabled cannot.
    """
    hire(users, "dave", like="carol")
    hire(users, "mallory", like="carol", role="root")  # nobody knows this role any more
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
@asvs("8.3.2")
def test_what_was_checked_holds_at_the_write(candidate: Any, client: Client, users: Any) -> None:
    """Two superadmins look, see two, and remove each other. Alice, demoted meanwhile, goes on.

    What was checked, the caller's rank too, must still hold when it is written (CWE-367).
    """
    hire(users, "dave", like="carol")
    headers = {name: speak_as(users, name) for name in ("carol", "dave")}
    with twin():
        expect(patch(client, "dave", headers["carol"], role="user"), 200, "carol demotes dave")
    users.change("dave", role="superadmin")
    people = users.everyone()
    both = [
        ("PATCH", "/admin/users/dave", {"headers": headers["carol"], "json": {"role": "user"}}),
        ("PATCH", "/admin/users/carol", {"headers": headers["dave"], "json": {"disabled": True}}),
    ]
    for send in (on_one_loop, in_threads):
        for requests in (both, both[::-1]) if send is in_threads else (both,):
            store = users.another(with_people(users.store, people))
            seen = send(candidate.app, client, store.store, requests)
            left = [store.get(name) for name in headers]
            left = [each for each in left if each.role == "superadmin" and not each.disabled]
            assert left, "carol demoted dave while dave disabled carol. No superadmin is left."
            assert seen.count(200) == 1, f"Of two at once, one should get a 200. They got {seen}."
    for case in MEANWHILE:
        overtake(candidate.app, client, users, people, case, entry=1)
    overtake(candidate.app, client, users, people, MEANWHILE[1], entry=2)


def on_one_loop(app: FastAPI, client: Client, store: Any, requests: list[Any]) -> list[int]:
    """Send requests at once to one worker, whose store lets others in at every call."""

    async def send() -> list[Any]:
        asked = (client.ask(method, url, **send) for method, url, send in requests)
        return await asyncio.gather(*asked)

    with served_by(Slow(store), app):
        return [answer.status_code for answer in client.run(send())]


def in_threads(app: FastAPI, client: Client, store: Any, requests: list[Any]) -> list[int]:
    """Send requests at once to two workers: both look at the same state, then both write."""
    crowd = Crowd(len(requests))

    class Crowded(type(store)):  # type: ignore[misc]
        async def get(self, username: str) -> Any:
            with crowd.in_line():
                return await super().get(username)

        async def everyone(self) -> Any:
            with crowd.in_line():
                people = await super().everyone()
            crowd.gather("looked")
            return people

        async def change(self, *args: Any, **changes: Any) -> Any:
            crowd.gather("will write")
            with crowd.in_line():
                return await super().change(*args, **changes)

        def transaction(self) -> Any:
            return crowd.lock(super().transaction())

    store.__class__ = Crowded
    with served_by(store, app):
        return [answer.status_code for answer in client.in_threads(crowd, requests)]


BACK_AGAIN = "disabled, and enabled again"  # with a new stamp, and the same hash
Meanwhile = tuple[str, str, dict[str, Any], str, dict[str, Any] | None, int]
MEANWHILE: list[Meanwhile] = [
    # who changes whom, and how; what happens meanwhile to whom; the answer
    ("alice", "johndoe", {"role": "admin"}, "bob", {"disabled": True}, 200),
    ("alice", "johndoe", {"role": "admin"}, "alice", {"role": "user"}, 403),
    ("alice", "johndoe", {"disabled": True}, "alice", {"role": "user"}, 403),
    ("alice", "johndoe", {"disabled": True}, "alice", {"role": "root"}, 403),
    ("alice", "johndoe", {"role": "admin"}, "alice", {"disabled": True}, 403),
    ("alice", "johndoe", {"role": "admin"}, "alice", {"hashed_password": "new"}, 403),
    ("alice", "johndoe", {"disabled": True}, "alice", None, 403),
    ("carol", "johndoe", SUPER, "carol", {"role": "admin"}, 403),
    ("carol", "alice", {"disabled": True}, "carol", {"role": "user"}, 403),
    ("carol", "alice", {"role": "user"}, "carol", {"disabled": True}, 403),
    ("carol", "alice", SUPER, "carol", {"hashed_password": "new"}, 403),
    ("alice", "bob", {"disabled": False}, "alice", {"disabled": BACK_AGAIN}, 403),
    ("carol", "johndoe", {"disabled": True}, "carol", None, 403),
    ("alice", "johndoe", {"disabled": True}, "johndoe", SUPER, 403),
    ("alice", "bob", {"disabled": False}, "bob", SUPER, 403),
    ("carol", "carol", {"role": "user"}, "dave", {"disabled": True}, 409),
    ("carol", "johndoe", {"disabled": True}, "johndoe", None, 404),
]


class Overtaken(Before):
    """A store in which something happens while a request waits for its transaction."""

    def __init__(self, store: Any, whom: str, what: dict[str, Any] | None, entry: int) -> None:
        super().__init__(store)
        self._whom, self._what, self._left, self.is_overtaken = whom, what, entry, False

    async def _before(self, name: str, args: Any, kwargs: Any) -> None:
        self._left -= name == "transaction"
        if self._left == 0 and not self.is_overtaken:
            self.is_overtaken = True
            if self._what == {"disabled": BACK_AGAIN}:
                for disabled in (True, False):
                    await self._store.change(self._whom, disabled=disabled)
            elif self._what:
                await self._store.change(self._whom, **self._what)
            else:
                await self._store.remove(self._whom)


def overtake(
    app: FastAPI, client: Client, users: Any, people: list[Any], case: Meanwhile, entry: int
) -> None:
    """Let something happen ahead of the first transaction, or of a later one, and see the end."""
    caller, name, change, whom, what, status = case
    store = users.another(with_people(users.store, people))
    overtaken = Overtaken(store.store, whom, what, entry)
    headers = speak_as(users, caller)
    with served_by(overtaken, app):
        answer = patch(client, name, headers, **change)
    said = f"{caller} changes {name} to {change}"
    assert overtaken.is_overtaken or entry > 1, f"{said}: there was no transaction."
    if not overtaken.is_overtaken:
        return
    said += f", and meanwhile {whom} {what or 'is gone'}"
    expect(answer, status, said)
    if status != 200:
        person = store.get(name)
        written = person and person.model_copy(update=change) == person
        assert not written, f"{said}: refused, and written all the same."


@attack
@todo(4, "change_account")
def test_a_change_happens_whole_or_not_at_all(candidate: Any, client: Client, users: Any) -> None:
    """The database fails for a moment, and somebody is told of a change that did not happen.

    No success without the deed, no half of it, and no check that is left out (CWE-636, CWE-754).
    """

    def send(store: Any, method: str, url: str, **sent: Any) -> int:
        with served_by(store, candidate.app):
            return client.status_of(method, url, **sent)

    john = bearer(token_for(users, "johndoe", role="superadmin", scope="me items"))
    alice, carol = speak_as(users, "alice"), speak_as(users, "carol")
    both = {"role": "admin", "disabled": True}
    requests: list[tuple[str, str, dict[str, Any]]] = [
        ("PATCH", "/admin/users/johndoe", {"headers": alice, "json": both}),
        ("PATCH", "/admin/users/carol", {"headers": carol, "json": {"role": "user"}}),
        ("PATCH", "/admin/users/carol", {"headers": alice, "json": {"disabled": True}}),
        ("GET", "/admin/users", {"headers": alice}),
        ("GET", "/admin/users", {"headers": john}),
        ("GET", "/users/johndoe/items", {"headers": alice}),
        ("GET", "/users/carol/items", {"headers": john}),
    ]
    people = users.everyone()

    class Rewriting(type(users.store)):  # type: ignore[misc]
        async def change(self, username: str, **changes: Any) -> Any:
            return await super().change(username, **{**changes, "full_name": "as stored"})

    working = OneStepFails(with_people(users.store, people))  # none does
    method, url, sent = requests[0]
    with twin():
        assert send(working, method, url, **sent) == 200, "alice changes johndoe, not a 200."
    assert "change" in working.done, "It was answered before it was written."
    with served_by(with_people(users.store, people, Rewriting), candidate.app):
        shown = patch(client, "johndoe", alice, **both).json()
    assert shown["full_name"] == "as stored", f"It shows {shown}, and that is not stored."
    for method, url, sent in requests:
        for late in (False, True) if url.endswith("/johndoe") else (False,):
            for number in range(12):
                store = users.another(with_people(users.store, people))
                failing = OneStepFails(store.store, number, late)
                status = send(failing, method, url, **sent)
                if not failing.failed:
                    break
                said = f"{method} {url}, and the store fails in `{failing.failed}`"
                assert not 200 <= status < 300, f"{said}: {status}."
                assert store.everyone() == people, f"{said}: a part of it was written."


class OneStepFails(Before):
    """A store one of whose steps fails, before it is done or after it."""

    def __init__(self, store: Any, number: int = -1, late: bool = False) -> None:
        super().__init__(store)
        self._left, self._late = number, late
        self.failed, self.done = "", [""]

    async def _before(self, name: str, args: Any, kwargs: Any) -> None:
        if not self._late:
            self._count(name)

    async def _after(self, name: str) -> None:
        if self._late and name != "transaction":  # at its end all is written
            self._count(name)
        self.done.append(name)

    def _count(self, name: str) -> None:
        self._left -= 1
        if self._left == -1:
            self.failed = name
            raise StoreDown(name)


def lacks(answer: Any, scopes: str, what: str) -> None:
    """Assert the refusal of a token that lacks a scope (RFC 6750 section 3.1)."""
    expect(answer, 403, what)
    challenge = answer.headers.get("www-authenticate", "")
    assert challenge.startswith("Bearer "), f"{what}: WWW-Authenticate is {challenge!r}."
    for part in ('error="insufficient_scope"', f'scope="{scopes}"'):
        assert part in challenge, f"{what}: WWW-Authenticate lacks {part}. It is {challenge!r}."


def asking_both(candidate: Any, client: Client) -> Client:
    """Return a client for an app whose route `/both` needs two scopes."""
    recorded = candidate.require_scopes
    needed = getattr(recorded, "__wrapped__", recorded)  # the learner's own object
    return beside(client, both=Security(needed, scopes=["me", "items"]))


@attack
@todo(2, "require_scopes")
@asvs("10.3.2")
def test_a_token_opens_only_what_it_was_made_for(
    candidate: Any, client: Client, users: Any
) -> None:
    """A narrow token, given to some program, opens the rest too. "items:readonly" is not "items".

    403 with the header that names what is missing (RFC 6750 section 3.1, CWE-697).
    """
    door = asking_both(candidate, client)
    urls = {"me": "/users/me/permissions", "items": "/users/johndoe/items"}
    with twin():
        for scope, url in urls.items():
            what = f"{url} with the scope {scope}"
            expect(client.get(url, headers=speak_as(users, "johndoe", scope)), 200, what)
        john = speak_as(users, "johndoe", "other items me")
        expect(client.get(urls["items"], headers=john), 200, "other items me")
        expect(door.get("/both", headers=john), 200, "Both scopes, where both are asked")
    url = urls["items"]

    def ask(claim: Any) -> Any:
        return client.get(url, headers=bearer(token_for(users, "johndoe", scope=claim)))

    near = ["items:readonly", "xitemsx", "item", "ITEMS", "me admin", "items:*"]
    near += ["me\titems", "me\nitems", "items\n", "me\u00a0items", "superadmin", "other:items"]
    together = " ".join(near)
    one_by_one = near if ask(together).status_code != 403 else []  # to find out which
    alone = ["me,items", "items:*", "superadmin", "*", "", " ", None, 1]
    for claim in (*one_by_one, together, *alone):
        lacks(ask(claim), "items", f"{url} with the scope {claim!r}")
    odd: list[Any] = [["items", " items "], {"items": True, " items ": True}]
    named = [dict.fromkeys(("scopes", "scp", "permissions"), each) for each in [*odd, "items"]]
    for claims in ({}, *named, *({"scope": each} for each in odd)):
        token = bearer(token_for(users, "johndoe", **claims))
        lacks(client.get(url, headers=token), "items", f"{url} with the claims {claims}")
    readonly = ["items:readonly", "items:write", "readonly:items", "*"]
    hire(users, "mallory", like="johndoe")
    for scopes, claims in (
        (readonly, {"scope": " ".join(readonly)}),
        ([], {"scope": ""}),
        ([], {"scope": None}),
        ([], {}),
        ([""], {}),
        ([""], {"scope": " "}),
    ):
        users.change("mallory", scopes=scopes)
        token = bearer(token_for(users, "mallory", **claims))
        what = f"The user has {scopes}, and the token {claims}"
        lacks(client.get("/users/mallory/items", headers=token), "items", what)
    for scope in ("items", "me:readonly"):
        john = speak_as(users, "johndoe", scope)
        lacks(client.get(urls["me"], headers=john), "me", f"{urls['me']} with the scope {scope!r}")
    for name in ("alice", "carol"):
        narrow = speak_as(users, name, "me")
        lacks(client.get(urls["items"], headers=narrow), "items", f"{name}'s token without items")
    narrow = {"headers": speak_as(users, "johndoe", "me")}
    with reading() as reads:
        client.get(urls["items"], **narrow)
    for name, door in side_doors(reads, Contract(headers={"authorization"}), ("items", "*")):
        answer = client.get(urls["items"], **with_door(narrow, door))
        lacks(answer, "items", f"A token for me, with {name}")
    for scope in urls:
        john = speak_as(users, "johndoe", scope)
        what = f"Only {scope}, where me and items are asked"
        lacks(door.get("/both", headers=john), "me items", what)


@attack
@todo(2, "require_scopes")
@asvs("8.3.2", "10.3.2", "10.4.11")
def test_scopes_never_widen(candidate: Any, client: Client, users: Any) -> None:
    """Mallory asks the login for more than she has, or keeps a token from when she had it.

    What counts is in the token and among the user's scopes too, as they are now (CWE-269).
    """
    url = "/users/johndoe/items"
    john, door = speak_as(users, "johndoe"), asking_both(candidate, client)
    with twin():
        expect(client.get(url, headers=john), 200, "johndoe, who has the scope items")
        expect(door.get("/both", headers=john), 200, "Both scopes, where both are asked")
    for scopes in (["me"], [], ["items:readonly", "me"], ["items"]):
        users.change("johndoe", scopes=scopes)
        what = f"The token says me and items, and the user has {scopes}"
        lacks(door.get("/both", headers=john), "me items", what)
        if "items" not in scopes:
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
def test_hostile_tokens_are_refused(candidate: Any, client: Client, users: Any) -> None:
    """Forty tokens that mallory made of an admin's. None lists the accounts.

    The defences of lessons 02 and 04 must be in use here too, and no good token may be read in a
    log or be kept for later (RFC 8725 section 3.1, CWE-532).
    """
    refuse_hostile_tokens(client, "/admin/users", token_for(users, "alice"))
    refuse_hostile_passwords(client)
    alice = speak_as(users, "alice")
    urls = ("/admin/users", "/users/alice/items")  # the first one's twin is above
    with twin():
        expect(client.get(urls[1], headers=alice), 200, f"{urls[1]} as alice")
    with listening() as trap:
        for headers in (alice, speak_as(users, "johndoe", "me")):
            client.get("/users/johndoe/items", headers=headers)
            client.get("/admin/users", headers=headers)
            patch(client, "bob", headers, disabled=True)
        for method, url, sent, step, skip in (
            ("GET", "/users/bob/items", {}, "get", 1),  # the first one looks up the caller
            ("GET", "/admin/users", {}, "everyone", 0),
            ("PATCH", "/admin/users/bob", {"json": {"disabled": True}}, "change", 0),
        ):
            with served_by(Failing(users.store, step, skip=skip), candidate.app):
                client.status_of(method, url, headers=alice, **sent)  # a server logs what is raised
    secrets = {"access token": headers["Authorization"], "token of alice": alice["Authorization"]}
    for who in ("alice", "bob"):
        person = users.get(who)
        secrets |= {f"hash of {who}": person.hashed_password}
        secrets |= {f"stamp of {who}": person.security_stamp}
    trap.refuse(secrets)
    users.change("alice", security_stamp="of her new password")
    for url in urls:
        expect(client.get(url, headers=alice), 401, f"{url}, with a token of her old password")
    narrow = [token_for(users, "johndoe", scope="me") for _ in range(5)]
    module = sys.modules["solutions.rbac"]
    kept = remembered(module, lambda token: client.get(urls[1], headers=bearer(token)), narrow)
    assert not kept, f"A token is used and kept: {kept}."
