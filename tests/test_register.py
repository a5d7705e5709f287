"""`POST /register`, which lesson 01 gives: who may register as what, and what comes back."""

import asyncio
import json
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from fastapi.testclient import TestClient

from lessons.harness.meter import Meter
from solutions.stores.users import UserInDB, open_user_store
from solutions.support.passwords import common_passwords

PASSWORD = "trombone + seven"


@pytest.fixture
def client(development: pytest.MonkeyPatch) -> Iterator[TestClient]:
    from solutions.hashing import app

    with TestClient(app) as client:
        yield client


def stored_person(name: str) -> UserInDB | None:
    return asyncio.run(open_user_store().get(name))


def register(client: TestClient, **fields: object) -> object:
    return client.post("/register", json={"username": "erin", "password": PASSWORD, **fields})


def test_nothing_secret_comes_back(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    answer = register(client, username="Erin", email="erin@example.com")
    assert answer.status_code == 201
    assert answer.json() == {"username": "erin", "email": "erin@example.com"}
    stored = stored_person("erin")
    assert stored.hashed_password.startswith("$2b$04$")
    for secret in (PASSWORD, stored.hashed_password, stored.security_stamp):
        assert secret not in caplog.text
    assert stored.role == "user"
    assert not stored.disabled


@pytest.mark.parametrize("name", ["erin", "ERIN", "johndoe", "JohnDoe"])
def test_a_taken_name_is_a_409(client: TestClient, name: str) -> None:
    assert register(client).status_code == 201
    stored = stored_person(name)
    assert register(client, username=name, password="another trombone").status_code == 409
    assert stored_person(name) == stored


def test_two_at_once_have_one_winner(client: TestClient) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: register(client).status_code, range(8)))
    assert sorted(answers) == [201] + [409] * 7


@pytest.mark.parametrize(
    "name",
    ["ab", "a" * 1000, "erin ", "\uff45rin", "erin\x00", "erin\r\n", "", "\u0430dmin"],
    ids=ascii,
)
def test_an_impossible_name_is_a_422(client: TestClient, name: str) -> None:
    assert register(client, username=name).status_code == 422


@pytest.mark.parametrize(
    ("password", "status"),
    [
        ("", 422),
        ("just 14 chars.", 422),
        ("as many as 15 c", 201),
        ("a" * 72, 201),
        ("a" * 73, 422),
        ("\u00e9" * 36, 201),
        ("\u00e9" * 72, 422),
        ("a nul \0 is inside", 422),
        ("1q2w3e4r5t6y7u8i", 422),
        ("1q2w3e4r5t6Y7U8I", 422),
        ("  the spaces stay  ", 201),
        ("a" * 1025, 422),
        ("a" * 1_000_000, 413),
    ],
    ids=lambda value: f"{len(value)} characters" if isinstance(value, str) else None,
)
@pytest.mark.asvs("6.2.1", "6.2.5", "6.2.9")
def test_passwords(client: TestClient, password: str, status: int) -> None:
    assert register(client, password=password).status_code == status


def test_a_password_is_kept_as_it_came(client: TestClient) -> None:
    from solutions.hashing import verify_password

    for number, password in enumerate(
        ["  the spaces stay  ", "a large caf\u00e9 au lait", "a large cafe\u0301 au lait"]
    ):
        name = f"erin{number}"
        assert register(client, username=name, password=password).status_code == 201
        hashed = stored_person(name).hashed_password
        assert verify_password(password, hashed)
        assert not verify_password(password.strip() + "?", hashed)


def test_a_lone_surrogate_is_a_422(client: TestClient) -> None:
    for body in (
        b'{"username": "erin", "password": "trombone + seven\\ud800"}',
        b'{"username": "\\ud800", "password": "trombone + seven"}',
        b'{"username": "erin", "password": "trombone + seven", "\\ud800": 1}',
        b'{"username": "erin", "password": "trombone + seven", "email": "\\ud800@example.com"}',
        b'{"username": "erin", "password": NaN}',
        b'{"username": NaN, "password": "trombone + seven"}',
    ):
        answer = client.post(
            "/register", content=body, headers={"content-type": "application/json"}
        )
        assert answer.status_code == 422, body


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 60_000, b"1" * 10_000], ids=repr
)
def test_no_body_is_a_5xx(client: TestClient, body: bytes) -> None:
    answer = client.post("/register", content=body, headers={"content-type": "application/json"})
    assert answer.status_code in (400, 422)


@pytest.mark.parametrize(
    "extra", ["role", "is_admin", "id", "disabled", "scopes", "security_stamp", "hashed_password"]
)
def test_extra_fields_are_refused(client: TestClient, extra: str) -> None:
    assert register(client, **{extra: "superadmin"}).status_code == 422
    assert stored_person("erin") is None


def test_a_422_never_repeats_the_input(client: TestClient) -> None:
    for body in (
        {"password": "hunter2-hunter2"},
        {"username": "hunter2-hunter2 !", "password": PASSWORD},
        {"username": "erin", "password": ["hunter2-hunter2"]},
        {"username": "erin", "password": "hunter2-hunter2" + "\0"},
        {"username": "erin", "password": "hunter2-hunter2", "email": "hunter2-hunter2"},
        ["hunter2-hunter2"],
    ):
        answer = client.post("/register", json=body)
        assert answer.status_code == 422, body
        assert "hunter2-hunter2" not in answer.text, body
        assert set(answer.json()["detail"][0]) == {"type", "loc", "msg"}


def test_credentials_in_the_url_are_refused(client: TestClient) -> None:
    answer = client.post("/register", params={"username": "erin", "password": PASSWORD})
    assert answer.status_code == 422
    assert PASSWORD not in answer.text
    operation = client.get("/openapi.json").json()["paths"]["/register"]["post"]
    assert "parameters" not in operation


def test_a_megabyte_costs_no_hashing(client: TestClient) -> None:
    meter = Meter()
    meter.install("passlib bcrypt")
    assert register(client, username="frank").status_code == 201  # bcrypt tries itself out once
    with meter.counting() as hashes:
        assert register(client, password="a" * 1_000_000).status_code == 413
        assert register(client, password="a" * 60_000).status_code == 422
        assert not hashes
        assert register(client).status_code == 201
        assert [run.on_event_loop for run in hashes] == [False]


@pytest.mark.asvs("6.2.4")
def test_the_common_passwords_are_long_enough_and_many() -> None:
    """ASVS 6.2.4 asks for 3,000 that match the policy: they do at a minimum of 8, not at 15."""
    passwords = common_passwords()
    assert len(passwords) >= 3000
    assert min(map(len, passwords)) >= 8
    assert sum(len(password) >= 15 for password in passwords) == 11  # as the texts say
    assert all(password == password.lower() for password in passwords)
    assert "password" in passwords


def test_an_unknown_field_s_name_is_cut_short(client: TestClient) -> None:
    answer = register(client, **{"x" * 10_000: 1})
    assert answer.status_code == 422
    assert len(answer.content) < 500
    assert json.loads(answer.content)["detail"][0]["loc"] == ["body", "x" * 32]


def test_a_validator_s_unicode_error_is_not_repeated() -> None:
    """Pydantic passes on a validator's message, and this one quotes the text."""
    from typing import Annotated

    from fastapi import APIRouter, FastAPI
    from pydantic import AfterValidator, BaseModel, SecretStr

    from solutions.support.safe_route import SafeRoute

    def encode(secret: SecretStr) -> SecretStr:
        secret.get_secret_value().encode()
        return secret

    class Body(BaseModel):
        password: Annotated[SecretStr, AfterValidator(encode)]

    router = APIRouter(route_class=SafeRoute)

    @router.post("/")
    async def root(body: Body) -> None:
        pass

    app = FastAPI()
    app.include_router(router)
    answer = TestClient(app).post(
        "/", content=b'{"password": "a\\ud800"}', headers={"content-type": "application/json"}
    )
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["msg"] == "Not a valid text"


def test_many_unknown_fields_make_a_short_answer(client: TestClient) -> None:
    answer = client.post("/register", json={f"field{number}": 1 for number in range(3_000)})
    assert answer.status_code == 422
    assert len(answer.json()["detail"]) == 10
