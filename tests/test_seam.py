"""The seam is real: the whole system works on stores of other hands, from two event loops."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from solutions.stores.api_keys import KeyStore, get_key_store
from solutions.stores.refresh_tokens import RefreshStore, get_refresh_store
from solutions.stores.sessions import SessionStore, get_session_store
from solutions.stores.users import UserStore, demo_people, get_users
from tests.slow_stores import SlowKeys, SlowRefreshTokens, SlowSessions, SlowUsers

PASSWORD = "trombone and bassoon"
LOOPS, CLIENTS = 2, 4


class Stores:
    """The four slow stores, in the place of those in memory."""

    def __init__(self, app: FastAPI) -> None:
        self.users, self.tokens, self.keys = SlowUsers(), SlowRefreshTokens(), SlowKeys()
        self.sessions = SlowSessions()

        async def users() -> UserStore:
            return self.users

        async def tokens() -> RefreshStore:
            return self.tokens

        async def keys() -> KeyStore:
            return self.keys

        async def sessions() -> SessionStore:
            return self.sessions

        app.dependency_overrides |= {
            get_users: users,
            get_refresh_store: tokens,
            get_key_store: keys,
            get_session_store: sessions,
        }


@pytest.fixture
def app(development: pytest.MonkeyPatch) -> Iterator[FastAPI]:
    from solutions.main import app

    yield app
    app.dependency_overrides.clear()


async def send(client: httpx.AsyncClient, status: int, method: str, url: str, **rest: Any) -> Any:
    answer = await client.request(method, url, **rest)
    assert answer.status_code == status, f"{method} {url}: {answer.status_code} {answer.text}"
    return answer.json() if answer.content else None


async def live_a_life(client: httpx.AsyncClient, name: str) -> None:
    """Register, log in, refresh, make a key and revoke it, change the password, be thrown out.

    In between, log in with two browsers. The second ends the session of the first.
    """
    who = {"username": name, "password": PASSWORD}
    await send(client, 201, "POST", "/register", json=who)
    await send(client, 409, "POST", "/register", json=who)
    first = await send(client, 200, "POST", "/token", data=who)
    again = {"grant_type": "refresh_token", "refresh_token": first["refresh_token"]}
    tokens = await send(client, 200, "POST", "/token", data=again)
    mine = {"Authorization": f"Bearer {tokens['access_token']}"}
    me = await send(client, 200, "GET", "/users/me", headers=mine)
    assert me["username"] == name
    wanted = {"name": "backup", "scopes": ["items"], "expires_in_days": 1}
    key = await send(client, 201, "POST", "/api-keys", headers=mine, json=wanted)
    shown = {"X-API-Key": key["key"]}
    items = await send(client, 200, "GET", "/api/items", headers=shown)
    assert items == [{"item_id": "Foo", "owner": name}]
    await send(client, 204, "DELETE", f"/api-keys/{key['id']}", headers=mine)
    await send(client, 403, "GET", "/api/protected", headers=shown)
    await send(client, 403, "GET", "/admin/users", headers=mine)
    await send(client, 400, "POST", "/token", data=again)  # spent: the family is dead
    phone, laptop = [await log_in_with_a_browser(client, who) for _ in range(2)]
    change = {"current_password": PASSWORD, "new_password": PASSWORD[::-1]}
    await send(client, 204, "POST", "/users/me/password", headers=mine, json=change)
    await send(client, 401, "GET", "/users/me", headers=mine)
    for browser in (phone, laptop):
        await send(client, 401, "GET", "/session", headers=browser)


async def log_in_with_a_browser(client: httpx.AsyncClient, who: dict[str, str]) -> dict[str, str]:
    """Log in, end all other sessions, list them, and return the headers of the browser."""
    page = await client.get("/login")
    token = page.text.partition('csrf_token" value="')[2].partition('"')[0]
    browser = {"Sec-Fetch-Site": "same-origin", "Cookie": cookie_of(page)}
    answer = await client.post("/login", headers=browser, data={**who, "csrf_token": token})
    assert answer.status_code == 303, answer.text
    browser["Cookie"] = cookie_of(answer)
    said = await send(client, 200, "GET", "/session", headers=browser)
    assert said["username"] == who["username"]
    browser["X-CSRF-Token"] = said["csrf_token"]
    await send(client, 204, "POST", "/sessions/end-others", headers=browser)
    rows = await send(client, 200, "GET", "/sessions", headers=browser)
    assert [row["current"] for row in rows] == [True]
    return browser


def cookie_of(answer: httpx.Response) -> str:
    """Return the cookie that an answer sets, as a browser sends it."""
    return str(answer.headers["set-cookie"].partition(";")[0])


def on_loops(
    app: FastAPI, make: Callable[[httpx.AsyncClient, int], Coroutine[Any, Any, Any]]
) -> None:
    """Run `make(client, number)` for every client, on as many loops in as many threads."""
    errors: list[BaseException] = []

    async def crowd(loop: int) -> None:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://seam.test") as client:
            await asyncio.gather(*(make(client, loop * CLIENTS + each) for each in range(CLIENTS)))

    def run(loop: int) -> None:
        try:
            asyncio.run(crowd(loop))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(loop,), daemon=True) for loop in range(LOOPS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive(), "It hangs."
    if errors:
        raise errors[0]


def test_the_whole_system_works_on_stores_that_wait(app: FastAPI) -> None:
    stores = Stores(app)
    on_loops(app, lambda client, number: live_a_life(client, f"erin{number}"))
    assert len(stores.users.rows) == LOOPS * CLIENTS
    assert not stores.keys.rows
    steps = [each.steps for each in (stores.users, stores.tokens, stores.keys, stores.sessions)]
    assert min(steps) > LOOPS * CLIENTS, f"A store was passed by: {steps}"


def test_one_token_has_one_winner_over_all_loops(app: FastAPI) -> None:
    Stores(app)
    won: list[int] = []

    async def begin() -> Any:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://seam.test") as client:
            who = {"username": "erin", "password": PASSWORD}
            await send(client, 201, "POST", "/register", json=who)
            return await send(client, 200, "POST", "/token", data=who)

    token = asyncio.run(begin())["refresh_token"]

    async def spend(client: httpx.AsyncClient, number: int) -> None:
        form = {"grant_type": "refresh_token", "refresh_token": token}
        answer = await client.post("/token", data=form)
        won.append(answer.status_code)

    on_loops(app, spend)
    assert sorted(won) == [200] + [400] * (LOOPS * CLIENTS - 1)


def test_one_superadmin_is_left_over_all_loops(app: FastAPI) -> None:
    from solutions.key_rotation import OwnTokens

    stores = Stores(app)
    chief = next(person for person in demo_people() if person.role == "superadmin")
    names = [f"chief{number}" for number in range(LOOPS * CLIENTS)]
    for name in names:
        asyncio.run(stores.users.add(chief.model_copy(update={"username": name})))

    async def resign(client: httpx.AsyncClient, number: int) -> None:
        claims = {"sub": names[number], "stamp": chief.security_stamp, "scope": "me items"}
        headers = {"Authorization": f"Bearer {OwnTokens().create(claims, None)}"}
        url = f"/admin/users/{names[number]}"
        await client.patch(url, headers=headers, json={"role": "user"})

    on_loops(app, resign)
    left = [each for each in asyncio.run(stores.users.everyone()) if each.role == "superadmin"]
    assert len(left) == 1
