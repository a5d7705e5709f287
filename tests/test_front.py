"""Lesson 10 in the open: behind nginx, over TLS, with its counters in Redis, in a real browser."""

import asyncio
import json
import secrets
import signal
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme
from playwright.sync_api import expect

from solutions.support.counters import Limit, RedisCounters
from tests.browser import open_page
from tests.processes import free_port, serve
from tests.servers import nginx, redis

APP = "solutions.hardening:app"
ERIN = {"username": "erin", "password": "trombone + seven"}
WRONG = ERIN | {"password": "wrong"}
MALLORY, FORGED = "127.0.0.2", "203.0.113.99"  # all of 127.0.0.0/8 is this machine
BEHIND = ["--no-proxy-headers", "--no-server-header"]
PRODUCTION = {
    "ENVIRONMENT": "production",
    "JWT_ISSUER": "https://shop.example",
    "JWT_AUDIENCE": "shop",
    "PUBLIC_URL": "https://localhost",
    "ALLOWED_HOSTS": "localhost",
    "TRUSTED_PROXIES": "127.0.0.1",
    "BCRYPT_ROUNDS": "10",
}
LIMIT = Limit("login", 3, 60)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Whoever signs certificates here, and whom nobody else trusts."""
    return trustme.CA()


@pytest.fixture(scope="module")
def chain(authority: trustme.CA) -> bytes:
    """The key and certificate of `localhost`."""
    return authority.issue_cert("localhost").private_key_and_cert_chain_pem.bytes()


def production() -> dict[str, str]:
    return PRODUCTION | {"JWT_SECRET": secrets.token_urlsafe(32)}


def client_at(url: str, authority: trustme.CA, source: str = MALLORY) -> httpx.Client:
    """Return a client that trusts the authority, and has an address of its own."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    transport = httpx.HTTPTransport(verify=context, local_address=source)
    return httpx.Client(base_url=url, transport=transport, timeout=60)


def events_in(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]


@contextmanager
def behind_nginx(
    folder: Path, authority: trustme.CA, chain: bytes, prefix: str = "", **env: str
) -> Iterator[tuple[httpx.Client, Path]]:
    log, port, front = folder / "log", free_port(), folder / "nginx"
    front.mkdir()
    options = [*BEHIND, "--root-path", prefix]
    with (
        serve(APP, log, port=port, options=options, **env),
        nginx(front, port, chain, prefix) as public,
        client_at(f"https://localhost:{public}", authority) as client,
    ):
        yield client, log


def test_behind_nginx_address_and_scheme_are_right(
    tmp_path: Path, authority: trustme.CA, chain: bytes
) -> None:
    with behind_nginx(tmp_path, authority, chain, **production()) as (client, log):
        page = client.get("/login")
        assert page.status_code == 200
        assert page.headers["strict-transport-security"] == "max-age=31536000"
        assert "uvicorn" not in page.headers["server"]  # nginx's own
        client.post("/token", data=WRONG)
        for header in ("X-Forwarded-For", "Forwarded", "X-Real-IP"):
            client.post("/token", data=WRONG, headers={header: FORGED})
        statuses = [client.post("/token", data=WRONG).status_code for _ in range(3)]
        assert statuses == [400, 429, 429]
        forged = client.get("/login", headers={"X-Forwarded-Proto": "http"})
        assert forged.status_code == 200  # nginx says what it has heard
        assert client.get("/docs").status_code == 404
    events = events_in(log)
    assert {event["address"] for event in events} == {MALLORY}
    assert len(events) == 7


def test_who_goes_around_nginx_is_refused(tmp_path: Path) -> None:
    """In production the app itself speaks to proxies of ours only, as far as it can tell."""
    with serve(APP, tmp_path / "log", options=BEHIND, **production()) as client:
        url = str(client.base_url)
        transport = httpx.HTTPTransport(local_address=MALLORY)
        with httpx.Client(base_url=url, transport=transport, timeout=60) as mallory:
            for headers in ({}, {"X-Forwarded-Proto": "https", "X-Forwarded-For": FORGED}):
                answer = mallory.post(
                    "/token", data=WRONG, headers={"Host": "localhost", **headers}
                )
                assert answer.status_code == 403
                assert "server" not in answer.headers


def test_behind_nginx_a_prefix_is_right(
    tmp_path: Path, authority: trustme.CA, chain: bytes
) -> None:
    env = {"ENVIRONMENT": "development", "TRUSTED_PROXIES": "127.0.0.1", "BCRYPT_ROUNDS": "4"}
    with behind_nginx(tmp_path, authority, chain, "/auth", **env) as (client, _):
        page = client.get("/auth/docs")
        assert "/auth/openapi.json" in page.text
        assert "script-src" in page.headers["content-security-policy"]
        assert client.get("/auth/openapi.json").status_code == 200
        assert client.get("/auth/users/me").status_code == 401
        assert client.post("/auth/register", json=ERIN).status_code == 201
        assert client.post("/auth/token", data=ERIN).status_code == 200


def test_a_login_over_tls(tmp_path: Path, authority: trustme.CA, chain: bytes) -> None:
    """uvicorn with a certificate of its own: https works, and http is no HTTP at all."""
    (tmp_path / "chain.pem").write_bytes(chain)
    pem, port = str(tmp_path / "chain.pem"), free_port()
    options = [*BEHIND, "--ssl-certfile", pem, "--ssl-keyfile", pem]
    with (
        serve(APP, tmp_path / "log", port=port, options=options, **production()) as plain,
        client_at(f"https://localhost:{port}", authority) as client,
    ):
        assert client.post("/register", json=ERIN).status_code == 201
        answer = client.post("/token", data=ERIN)
        assert answer.status_code == 200
        assert "strict-transport-security" in answer.headers
        with pytest.raises(httpx.RemoteProtocolError):
            plain.post("/token", data=ERIN)
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            httpx.get(f"https://localhost:{port}/login", trust_env=False)
    assert {event["address"] for event in events_in(tmp_path / "log")} == {MALLORY}


def test_redis_counts_for_two_apps(tmp_path: Path) -> None:
    """One limit, however many processes there are; a restart of one forgets nothing."""
    (tmp_path / "redis").mkdir()
    with redis(tmp_path / "redis") as store:
        env = {"ENVIRONMENT": "development", "LIMITS_URL": store.url, "BCRYPT_ROUNDS": "4"}
        with serve(APP, tmp_path / "one", **env) as one:
            with serve(APP, tmp_path / "two", **env) as two:
                seen = [each.post("/token", data=WRONG).status_code for each in (one, two) * 3]
            assert seen == [400] * 5 + [429]
            answer = one.post("/token", data=WRONG)
            assert answer.status_code == 429
            assert 0 < int(answer.headers["retry-after"]) <= 15 * 60


def test_without_redis_nobody_guesses(tmp_path: Path) -> None:
    """503 in bounded time while it hangs and while it is gone; it comes back by itself."""
    port = free_port()
    (tmp_path / "redis").mkdir()
    with redis(tmp_path / "redis", port) as store:
        env = {"ENVIRONMENT": "development", "LIMITS_URL": store.url, "BCRYPT_ROUNDS": "4"}
        with serve(APP, tmp_path / "log", **env) as client:
            assert client.post("/token", data=WRONG).status_code == 400
            store.process.send_signal(signal.SIGSTOP)
            _is_unavailable(client)
            store.process.send_signal(signal.SIGCONT)
            _comes_back(client)
            store.process.kill()
            store.process.wait()
            _is_unavailable(client)
            (tmp_path / "again").mkdir()
            with redis(tmp_path / "again", port):
                _comes_back(client)
    text = (tmp_path / "log").read_text()
    assert "Traceback" not in text


def _is_unavailable(client: httpx.Client) -> None:
    began = time.monotonic()
    answer = client.post("/token", data=WRONG)
    assert answer.status_code == 503
    assert answer.json()["error"] == "temporarily_unavailable"
    assert answer.headers["retry-after"] == "5"
    assert time.monotonic() - began < 30  # three seconds, and what a busy machine adds
    assert client.get("/users/me").status_code == 401  # the rest goes on


def _comes_back(client: httpx.Client) -> None:
    deadline = time.monotonic() + 60
    while client.post("/token", data=WRONG).status_code == 503:
        assert time.monotonic() < deadline, "Redis is back, and the app does not notice."
        time.sleep(0.2)


def test_a_counter_in_redis_counts_as_one_in_memory(tmp_path: Path) -> None:
    async def check(url: str) -> None:
        counters, other = RedisCounters(url), RedisCounters(url)
        assert [await counters.hit(LIMIT, "a") for _ in range(3)] == [0, 0, 0]
        wait = await other.hit(LIMIT, "a")
        assert 58 <= wait <= 60
        assert await other.hit(LIMIT, "b") == 0
        assert await other.hit(Limit("name", 3, 60), "a") == 0
        await other.clear(LIMIT, "a")
        assert await counters.hit(LIMIT, "a") == 0
        at_once = await asyncio.gather(*(counters.hit(LIMIT, "crowd") for _ in range(50)))
        assert at_once.count(0) == 3
        for odd in ("", "a" * 300, "a b", "a\u00e9\n", "*", "a/b"):
            assert [await counters.hit(LIMIT, odd) for _ in range(3)] == [0, 0, 0]
            assert await counters.hit(LIMIT, odd)
        await counters.close()
        await other.close()

    with redis(tmp_path) as store:
        asyncio.run(check(store.url))


def test_the_page_works_under_its_policy(tmp_path: Path) -> None:
    """Chromium applies the style, sends the form, and has nothing to complain about."""
    with (
        serve(APP, tmp_path / "log", BCRYPT_ROUNDS="4") as client,
        open_page() as page,
    ):
        said: list[str] = []
        page.on("console", lambda message: said.append(message.text))
        url = f"http://localhost:{client.base_url.port}"
        answer = page.goto(f"{url}/login")
        assert answer is not None
        policy = answer.headers["content-security-policy"]
        assert "unsafe-inline" not in policy
        assert page.evaluate("getComputedStyle(document.body).maxWidth") != "none"
        page.evaluate("document.body.insertAdjacentHTML('beforeend', '<p style=\"top: 1px\">x')")
        assert any("style" in each for each in said), "A style of somebody else counts."
        said.clear()
        page.get_by_label("Username").fill("johndoe")
        page.get_by_label("Password").fill("secret")
        page.get_by_role("button", name="Log in").click()
        expect(page.get_by_role("heading", name="Your account")).to_be_visible(timeout=60_000)
        assert page.evaluate("getComputedStyle(document.body).maxWidth") != "none"
        page.get_by_role("button", name="Log out").click()
        expect(page.get_by_role("heading", name="Log in")).to_be_visible(timeout=60_000)
        assert not [each for each in said if "Content Security Policy" in each], said
        page.goto(f"{url}/docs")
        expect(page.get_by_role("button", name="Authorize")).to_be_visible(timeout=60_000)
        assert not [each for each in said if "Content Security Policy" in each], said
