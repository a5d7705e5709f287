"""The finished `POST /token` against what is too slow or too rare for the learner's loop."""

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from lessons.harness.meter import Meter

REFUSAL = {"detail": "Incorrect username or password"}


@pytest.fixture
def client(development: pytest.MonkeyPatch) -> Iterator[TestClient]:
    from solutions.login import app

    with TestClient(app) as client:
        yield client


@pytest.mark.parametrize("username", ["erin", "nobody"])
def test_a_megabyte_costs_no_hashing(client: TestClient, username: str) -> None:
    erin = {"username": "erin", "password": "trombone + 7"}
    assert client.post("/register", json=erin).status_code == 201
    assert client.post("/token", data=erin).status_code == 200
    meter = Meter()
    meter.install("passlib bcrypt")
    with meter.counting() as hashes:
        answer = client.post("/token", data={"username": username, "password": "a" * 1_000_000})
    assert (answer.status_code, answer.json()) == (401, REFUSAL)
    assert not hashes


@pytest.mark.parametrize(
    "name",
    ["a" * 1000, "erin\r\nINFO login ok", "\u202eerin", "\x00", "\uff45rin", "e" * 33],
    ids=ascii,
)
def test_odd_names_are_a_plain_401(client: TestClient, name: str) -> None:
    answer = client.post("/token", data={"username": name, "password": "trombone + 7"})
    assert (answer.status_code, answer.json()) == (401, REFUSAL)


MANY_FIELDS = b"&".join(b"a%d=1" % number for number in range(1500))
ODD_FORM = b'--x\r\nContent-Disposition: form-data; name="token"\r\n\r\n\xff\r\n--x--\r\n'


@pytest.mark.parametrize("url", ["/token", "/revoke"])
@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"token=a&token=b&username=a&username=b", "application/x-www-form-urlencoded"),
        (b"--x", "multipart/form-data; boundary=x"),
        (b"nothing of the kind", "multipart/form-data"),
        (
            b"&".join(b"a%d=1" % number for number in range(1500)),
            "application/x-www-form-urlencoded",
        ),
        (ODD_FORM, "multipart/form-data; boundary=x; charset=undefined"),
        (ODD_FORM, "multipart/form-data; boundary=x; charset=utf-8\0"),
        (b"{", "application/json"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_odd_forms_are_refused_as_oauth_has_it(
    development: pytest.MonkeyPatch, url: str, content: bytes, kind: str
) -> None:
    from solutions.refresh import app

    answer = TestClient(app).post(url, content=content, headers={"content-type": kind})
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", "application/x-www-form-urlencoded"),
        (b"username=%ff&password=%ed%a0%80", "application/x-www-form-urlencoded"),
        (b"username=\xff&password=\xff", "application/x-www-form-urlencoded"),
        (b"&" * 5000, "application/x-www-form-urlencoded"),
        (b"--x", "multipart/form-data; boundary=x"),
        (b"nothing of the kind", "multipart/form-data"),
        (b"{", "application/json"),
    ],
    ids=repr,
)
def test_no_body_is_a_5xx(client: TestClient, content: bytes, kind: str) -> None:
    answer = client.post("/token", content=content, headers={"content-type": kind})
    assert 400 <= answer.status_code < 500
