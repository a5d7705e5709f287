"""Lesson 12 in the open: PostgreSQL, Redis, four workers, and what they do to each other."""

import asyncio
import re
from collections import Counter
from collections.abc import Coroutine, Iterator, Sequence
from typing import Any

import httpx
import pytest

from tests.cluster import PASSWORD, WORKERS, Cluster, cluster, from_somewhere, one_client_each

MANY = 64


@pytest.fixture(scope="module")
def shop() -> Iterator[Cluster]:
    """Four workers, for all tests of this file."""
    with cluster() as running:
        yield running


async def at_once(calls: Sequence[Coroutine[Any, Any, httpx.Response]]) -> Counter[int]:
    """Send all of them, and count the statuses."""
    return Counter(each.status_code for each in await asyncio.gather(*calls))


async def log_in(client: httpx.AsyncClient, name: str) -> dict[str, str]:
    answer = await client.post("/token", data={"username": name, "password": PASSWORD})
    assert answer.status_code == 200, answer.text
    tokens: dict[str, str] = answer.json()
    return tokens


def refresh(client: httpx.AsyncClient, token: str) -> Coroutine[Any, Any, httpx.Response]:
    return client.post("/token", data={"grant_type": "refresh_token", "refresh_token": token})


def bearer(tokens: dict[str, str]) -> dict[str, str]:
    return {"Authorization": f"Bearer {tokens['access_token']}"}


def test_one_of_many_refreshes_wins(shop: Cluster) -> None:
    async def check() -> None:
        async with shop.client() as client:
            for _ in range(3):
                token = (await log_in(client, name))["refresh_token"]
                seen = await at_once([refresh(client, token) for _ in range(MANY)])
                assert seen == {200: 1, 400: MANY - 1}
                again = await refresh(client, token)
                assert again.json()["error"] == "invalid_grant"

    name = shop.person()
    asyncio.run(check())


def test_one_of_many_gets_the_name(shop: Cluster) -> None:
    async def check() -> None:
        async with shop.client() as client:
            body = {"username": "Mallory-and-Erin", "password": PASSWORD}
            seen = await at_once([client.post("/register", json=body) for _ in range(32)])
            assert seen == {201: 1, 409: 31}
            await log_in(client, body["username"])

    asyncio.run(check())


def test_attempts_are_counted_over_all_workers(shop: Cluster) -> None:
    """Exactly: five at a name from one address, twenty from one address, whoever it is."""

    async def check() -> None:
        async with shop.client() as client:
            wrong = {"username": name, "password": "wrong"}
            seen = await at_once([client.post("/token", data=wrong) for _ in range(24)])
            assert seen == {400: 5, 429: 19}
            client.headers.update(from_somewhere())
            guesses = [{"username": f"{name}-{n}", "password": "wrong"} for n in range(30)]
            seen = await at_once([client.post("/token", data=guess) for guess in guesses])
            assert seen == {400: 20, 429: 10}

    name = shop.person()
    asyncio.run(check())


def test_what_ends_in_one_worker_has_ended_in_all(shop: Cluster) -> None:
    """Each worker once ends something; every worker is asked as soon as that was answered."""

    async def check() -> None:
        workers = await one_client_each(shop)
        for ender in workers.values():
            for end in (log_out, revoke_key, disable, end_session, end_others):
                ender.headers.update(from_somewhere())
                await end(ender, [*workers.values()], people.pop(), admin)
        for client in workers.values():
            await client.aclose()

    people = [shop.person() for _ in range(5 * WORKERS)]
    admin = shop.person("admin")
    asyncio.run(check())


Clients = list[httpx.AsyncClient]


async def log_out(ender: httpx.AsyncClient, workers: Clients, name: str, admin: str) -> None:
    tokens = await log_in(ender, name)
    answer = await ender.post("/revoke", data={"token": tokens["refresh_token"]})
    assert answer.status_code == 200
    for each in workers:
        assert (await refresh(each, tokens["refresh_token"])).status_code == 400


async def revoke_key(ender: httpx.AsyncClient, workers: Clients, name: str, admin: str) -> None:
    mine = bearer(await log_in(ender, name))
    wanted = {"name": "ci", "scopes": ["items"], "expires_in_days": 1}
    made = (await ender.post("/api-keys", json=wanted, headers=mine)).json()
    for each in workers:
        assert len((await each.get("/api-keys", headers=mine)).json()) == 1
    answer = await ender.delete(f"/api-keys/{made['id']}", headers=mine)
    assert answer.status_code == 204
    for each in workers:
        assert (await each.get("/api-keys", headers=mine)).json() == []


async def disable(ender: httpx.AsyncClient, workers: Clients, name: str, admin: str) -> None:
    theirs, tokens = bearer(await log_in(ender, admin)), await log_in(ender, name)
    path = f"/admin/users/{name}"
    answer = await ender.patch(path, json={"disabled": True}, headers=theirs)
    assert answer.status_code == 200, answer.text
    for each in workers:
        assert (await each.get("/users/me", headers=bearer(tokens))).status_code == 400
    assert (await refresh(workers[-1], tokens["refresh_token"])).status_code == 400


async def begin_session(client: httpx.AsyncClient, name: str) -> dict[str, str]:
    """Log in as a browser does, and return the headers of this session."""
    page = await client.get("/login")
    cookie, csrf = cookie_of(page), csrf_of(page)
    form = {"username": name, "password": PASSWORD, "csrf_token": csrf}
    ours = {"Cookie": cookie, "Sec-Fetch-Site": "same-origin"}
    answer = await client.post("/login", data=form, headers=ours)
    assert answer.status_code == 303, answer.text
    ours["Cookie"] = cookie_of(answer)
    client.cookies.clear()
    told = await client.get("/session", headers=ours)
    return ours | {"X-CSRF-Token": told.json()["csrf_token"]}


def cookie_of(answer: httpx.Response) -> str:
    return answer.headers["set-cookie"].partition(";")[0]


def csrf_of(page: httpx.Response) -> str:
    found = re.search(r'name="csrf_token" value="([^"]+)"', page.text)
    assert found
    return found[1]


async def end_session(ender: httpx.AsyncClient, workers: Clients, name: str, admin: str) -> None:
    mine = await begin_session(ender, name)
    assert await lives(workers, mine) == [True] * len(workers)
    assert (await ender.post("/logout", headers=mine)).status_code == 303
    ender.cookies.clear()
    assert await lives(workers, mine) == [False] * len(workers)


async def end_others(ender: httpx.AsyncClient, workers: Clients, name: str, admin: str) -> None:
    stolen, mine = await begin_session(workers[0], name), await begin_session(ender, name)
    assert await lives(workers, stolen) == [True] * len(workers)
    assert (await ender.post("/sessions/end-others", headers=mine)).status_code == 204
    assert await lives(workers, stolen) == [False] * len(workers)
    assert await lives(workers, mine) == [True] * len(workers)


async def lives(workers: Clients, session: dict[str, str]) -> list[bool]:
    answers = [await each.get("/session", headers=session) for each in workers]
    return [each.status_code == 200 for each in answers]


def test_a_superadmin_is_left(shop: Cluster) -> None:
    """Two of them take the role from each other, in two workers, again and again."""

    async def check() -> None:
        workers = await one_client_each(shop, 2)
        one, two = workers.values()
        tokens = bearer(await log_in(one, first)), bearer(await log_in(two, second))
        down = {"role": "user"}
        outcomes = Counter[tuple[int, ...]]()
        for _ in range(30):
            shop.execute("UPDATE users SET role = 'superadmin' WHERE username = ANY(%s)", pair)
            answers = await asyncio.gather(
                one.patch(f"/admin/users/{second}", json=down, headers=tokens[0]),
                two.patch(f"/admin/users/{first}", json=down, headers=tokens[1]),
            )
            outcomes[tuple(sorted(each.status_code for each in answers))] += 1
        assert set(outcomes) == {(200, 403)}, outcomes
        for client in workers.values():
            await client.aclose()

    pair = [first, second] = [shop.person("superadmin"), shop.person("superadmin")]
    asyncio.run(check())
