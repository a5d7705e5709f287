"""What lesson 10 is given: settings, counters, doors, the log of events."""

import asyncio
import json
import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import time_machine
from fastapi import FastAPI
from fastapi.testclient import TestClient

from lessons.harness.audit_lines import audit_lines
from lessons.harness.catalogue import ROOT
from lessons.harness.routes import served
from solutions.support.addresses import hops_of
from solutions.support.audit import EVENTS, Event, fields_of, open_audit_log
from solutions.support.counters import Limit, MemoryCounters, counter_key
from solutions.support.seams import attempt, note
from solutions.support.settings import UnsafeSettings, get_settings
from solutions.support.start_up import logger as uvicorn_logger
from tests.judge import ENVIRONMENT
from tests.processes import serve

LIMIT = Limit("login", 3, 60)
README = (ROOT / "lessons" / "10_hardening" / "README.md").read_text("utf-8")
OF_TENANTS = (ROOT / "lessons" / "13_tenants" / "README.md").read_text("utf-8")
UNSAFE = {"POST", "PUT", "PATCH", "DELETE"}


@pytest.fixture
def app(development: pytest.MonkeyPatch) -> FastAPI:
    from solutions.hardening import app

    return app


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def test_every_route_that_changes_something_has_its_event(app: FastAPI) -> None:
    from solutions import tenants

    routes = [*served(app), *served(tenants.app)]
    changing = {f"{method} {path}" for method, path in routes if method in UNSAFE}
    assert changing <= set(EVENTS)
    assert set(EVENTS) - changing == {"GET /callback/{provider}"}


def test_the_table_of_the_text_has_every_event_once() -> None:
    table = README.partition("\n--- | --- | ---\n")[2].partition("\n\n")[0]
    rows = [row.split(" | ") for row in table.splitlines()]
    told = [name for names, _, _ in rows for name in re.findall(r"`([\w-]+)`", names)]
    of_tenants = OF_TENANTS.partition("**The audit log**")[2].partition("\n- ")[0]
    told += re.findall(r"`([\w-]+)`", of_tenants)
    assert sorted(told) == sorted({*EVENTS.values(), "refresh", "reuse", "link"})
    assert all(when.strip() for _, when, _ in rows)
    outcomes = {names: outcome.split("/") for names, _, outcome in rows}
    assert outcomes.pop("`reuse`") == ["refused"]
    for names, said in outcomes.items():
        checks_a_password = names in ("`login`", "`password`")
        assert said == ["ok", "refused", *["limited"] * checks_a_password], names


def test_a_route_of_one_s_own_has_an_event_too(development: pytest.MonkeyPatch) -> None:
    from fastapi import APIRouter

    from solutions.hardening import harden
    from solutions.support.apps import create_app

    router = APIRouter()

    @router.post("/orders/{number}")
    async def order(number: int) -> int:
        return number

    shop = harden(create_app("Shop", router))
    with audit_lines() as lines, TestClient(shop) as client:
        assert client.post("/orders/7").status_code == 200
        assert client.put("/orders/7").status_code == 405
        assert client.post("/nowhere").status_code == 404
    (event,) = lines.events
    assert (event["what"], event["whom"], event["outcome"]) == ("POST /orders/{number}", "7", "ok")


def test_the_seams_do_nothing_by_themselves() -> None:
    async def check() -> None:
        note(whom="erin")
        async with attempt("erin") as tried:
            tried.succeeded = True

    asyncio.run(check())


def hits(counters: MemoryCounters, key: str, times: int = 1) -> list[int]:
    async def all_of_them() -> list[int]:
        return [await counters.hit(LIMIT, key) for _ in range(times)]

    return asyncio.run(all_of_them())


def test_a_counter_in_memory_counts_in_windows() -> None:
    counters, start = MemoryCounters(), datetime(2031, 5, 6, tzinfo=UTC)
    with time_machine.travel(start, tick=False):
        assert hits(counters, "a", 5) == [0, 0, 0, 60, 60]
        assert hits(counters, "b") == [0]
    with time_machine.travel(start + timedelta(seconds=59.5), tick=False):
        assert hits(counters, "a") == [1]
    with time_machine.travel(start + timedelta(seconds=60), tick=False):
        assert hits(counters, "a", 4) == [0, 0, 0, 60]
        asyncio.run(counters.clear(LIMIT, "a"))
        assert hits(counters, "a") == [0]


def test_other_parts_have_another_key() -> None:
    parts: list[tuple[str | None, ...]] = [(), ("",), (None,), ("null",), ("None",), ("alice",)]
    parts += [("alice", "1.1.1.1"), ("1.1.1.1", "alice"), ("alice1.1.1.1",), ("alice", None)]
    parts += [('alice", "1.1.1.1',), ("alice", "1.1.1.1", ""), ("alice, 1.1.1.1",), ("\ud800",)]
    parts += [("x" * 64_000,), ("x" * 64_001,), ("alice\x00",), ("ali", "ce"), ("", "alice")]
    keys = [counter_key(kind, *each) for kind in ("login", "name") for each in parts]
    assert len(set(keys)) == len(keys)
    assert {len(key) for key in keys} == {64}
    assert not [key for key in keys if "alice" in key]


def test_a_key_is_the_same_in_each_process() -> None:
    known = "5513462732a692da417fde6ae75206c7"
    assert counter_key("login", "alice", "203.0.113.7").startswith(known)


def test_hops_are_those_of_all_lines_in_order() -> None:
    assert hops_of([]) == []
    assert hops_of([""]) == [""]
    assert hops_of(["a , b", "", "c,,\td "]) == ["a", "b", "", "c", "", "d"]


def test_the_fields_of_an_event_are_texts_in_order() -> None:
    moment = datetime(2031, 5, 6, 7, 8, 9, 10, UTC)
    fields = fields_of(Event("login", "", "alice", "ok", "203.0.113.7", "4711", moment))
    assert [*fields] == ["what", "who", "whom", "outcome", "address", "request_id", "at"]
    assert [*fields.values()][:3] == ["login", "", "alice"]
    assert fields["at"] == "2031-05-06T07:08:09.000010+00:00"


def test_a_million_names_do_not_fill_the_memory() -> None:
    counters, start = MemoryCounters(most=100), datetime(2031, 5, 6, tzinfo=UTC)
    with time_machine.travel(start, tick=False):
        for number in range(1000):
            assert hits(counters, str(number)) == [0]
            assert len(counters) <= 100
        assert hits(counters, "999", 3) == [0, 0, 60]  # those that came last are still known
    with time_machine.travel(start + timedelta(hours=1), tick=False):
        for number in range(60):
            hits(counters, f"later {number}")
        assert len(counters) == 60


def test_two_limits_share_no_counter() -> None:
    counters = MemoryCounters()
    other = Limit("name", 3, 60)
    assert hits(counters, "a", 4)[-1]
    assert asyncio.run(counters.hit(other, "a")) == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TRUSTED_PROXIES", "proxy.example"),
        ("TRUSTED_PROXIES", "0.0.0.0/0"),
        ("TRUSTED_PROXIES", "10.0.0.1/8"),
        ("TRUSTED_PROXIES", "*"),
        ("ALLOWED_HOSTS", "*"),
        ("ALLOWED_HOSTS", "https://shop.example"),
        ("ALLOWED_HOSTS", "shop.example:443"),
        ("CORS_ORIGINS", "*"),
        ("CORS_ORIGINS", "null"),
        ("CORS_ORIGINS", "https://shop.example/"),
        ("CORS_ORIGINS", "https://*.shop.example"),
        ("CORS_ORIGINS", "shop.example"),
        ("LIMITS_URL", "memory://"),
        ("LIMITS_URL", "http://secret-4711@redis.example"),
        ("ATTEMPTS_PER_LOGIN", "0"),
        ("ATTEMPTS_MINUTES", "0"),
    ],
)
def test_a_bad_setting_is_one_sentence(
    fresh_settings: pytest.MonkeyPatch, name: str, value: str
) -> None:
    fresh_settings.setenv(name, value)
    with pytest.raises(UnsafeSettings, match=name) as refused:
        get_settings()
    assert "4711" not in str(refused.value)


def test_nobody_lets_uvicorn_believe_everybody(fresh_settings: pytest.MonkeyPatch) -> None:
    secret = "s" * 20 + "3ret-of-nobody-else"
    for name, value in {
        "ENVIRONMENT": "production",
        "JWT_SECRET": secret,
        "JWT_ISSUER": "https://shop.example",
        "JWT_AUDIENCE": "shop",
        "FORWARDED_ALLOW_IPS": "*",
    }.items():
        fresh_settings.setenv(name, value)
    with pytest.raises(UnsafeSettings, match="FORWARDED_ALLOW_IPS"):
        get_settings()


def test_lists_are_typed_as_people_do(fresh_settings: pytest.MonkeyPatch) -> None:
    fresh_settings.setenv("TRUSTED_PROXIES", "10.0.0.7,  10.1.0.0/16\tfd00::/8")
    assert get_settings().trusted_proxies == "10.0.0.7 10.1.0.0/16 fd00::/8"


def test_without_a_redis_its_library_is_not_imported() -> None:
    """It takes 0.18 s, and is in an extra."""
    code = "import sys, solutions.hardening; print({'limits', 'redis'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True
    )
    assert done.stdout == "set()\n", done.stderr


def test_too_many_attempts_are_a_page_for_people(client: TestClient) -> None:
    page = client.get("/login")
    token = re.findall(r'csrf_token" value="([^"]+)"', page.text)[0]
    cookie = re.findall(r"__Host-session=([^;]+)", page.headers["set-cookie"])[0]
    sent = {
        "headers": {
            "Accept": "text/html,*/*;q=0.8",
            "Cookie": f"__Host-session={cookie}",
            "Sec-Fetch-Site": "same-origin",
        },
        "data": {"csrf_token": token, "username": "erin", "password": "wrong"},
    }
    for _ in range(get_settings().attempts_per_login):
        assert client.post("/login", **sent).status_code == 401
    answer = client.post("/login", **sent)
    assert answer.status_code == 429
    assert answer.headers["content-type"].startswith("text/html")
    assert "Too many attempts" in answer.text
    assert answer.headers["retry-after"].isdecimal()


def test_an_error_is_in_the_log_once_and_without_its_message(tmp_path: Path) -> None:
    log, secret = tmp_path / "log", "trombone-4711"
    (tmp_path / "broken.py").write_text(
        "from fastapi import APIRouter\n"
        "from solutions.hardening import harden\n"
        "from solutions.support.apps import create_app\n"
        "router = APIRouter()\n"
        "@router.get('/broken')\n"
        "async def broken(word: str) -> None:\n"
        "    raise ValueError(word)\n"
        "app = harden(create_app('Broken', router))\n"
    )
    env = {"PYTHONPATH": f"{tmp_path}:{ROOT}", "ENVIRONMENT": "development"}
    options = ["--no-access-log"]
    with serve("broken:app", log, tmp_path, options=options, **env) as client:
        answer = client.get("/broken", params={"word": secret})
        assert answer.status_code == 500
        assert secret not in answer.text
    text = log.read_text()
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
    assert text.count(answer.headers["x-request-id"]) == 1
    assert "in broken" in text
    assert secret not in text
    assert "Exception in ASGI application" not in text


def test_the_audit_log_goes_where_somebody_sent_it() -> None:
    logger = logging.getLogger("audit")
    with audit_lines():
        before = list(logger.handlers)
        open_audit_log()
        assert logger.handlers == before
    assert logger.level == logging.INFO
    assert uvicorn_logger.name == "uvicorn.error"


def test_a_whole_flow_reads_well(client: TestClient) -> None:
    """Register, logins, a theft, a demotion: line by line."""
    erin = {"username": "erin", "password": "trombone + seven"}
    carol = {"username": "carol", "password": "secretcarol"}
    with audit_lines() as lines:
        client.post("/register", json=erin)
        tokens = client.post("/token", data=erin).json()
        first = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
        client.post("/token", data=first)
        client.post("/token", data=first)
        access = client.post("/token", data=carol).json()["access_token"]
        bearer = {"Authorization": f"Bearer {access}"}
        client.patch("/admin/users/alice", json={"role": "user"}, headers=bearer)
        client.post("/token", data=erin | {"password": "wrong"})
    said = [(e["what"], e["who"], e["whom"], e["outcome"]) for e in map(dict, lines.events)]
    assert said == [
        ("register", "", "erin", "ok"),
        ("login", "", "erin", "ok"),
        ("refresh", "", "erin", "ok"),
        ("reuse", "", "erin", "refused"),
        ("login", "", "carol", "ok"),
        ("account", "carol", "alice", "ok"),
        ("login", "", "erin", "refused"),
    ]
    assert all(json.dumps(event).isascii() for event in lines.events)
