"""The finished `POST /token` against what is too slow or too rare for the learner's loop."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from fastapi.testclient import TestClient

from lessons.harness.clock import later
from lessons.harness.meter import Meter

ERIN = {"username": "erin", "password": "trombone and seven"}
WRONG = {"username": "erin", "password": "saxophone and nine"}
REFUSAL = {"detail": "Incorrect username or password"}
FORM = "application/x-www-form-urlencoded"


@pytest.fixture
def client(development: pytest.MonkeyPatch) -> Iterator[TestClient]:
    from solutions.login import app

    with TestClient(app) as client:
        assert client.post("/register", json=ERIN).status_code == 201
        yield client


@pytest.fixture
def oauth(development: pytest.MonkeyPatch) -> Iterator[TestClient]:
    from solutions.refresh import app

    with TestClient(app) as client:
        assert client.post("/register", json=ERIN).status_code == 201
        yield client


@pytest.mark.parametrize("username", ["erin", "nobody"])
def test_a_long_password_costs_no_hashing(client: TestClient, username: str) -> None:
    assert client.post("/token", data=ERIN).status_code == 200
    meter = Meter()
    meter.install("passlib bcrypt")
    with meter.counting() as hashes:
        answer = client.post("/token", data={"username": username, "password": "a" * 60_000})
    assert (answer.status_code, answer.json()) == (401, REFUSAL)
    assert not hashes


@pytest.mark.parametrize(
    "name",
    ["a" * 1000, "erin\r\nINFO login ok", "\u202eerin", "\x00", "\uff45rin", "e" * 33],
    ids=ascii,
)
def test_odd_names_are_a_plain_401(client: TestClient, name: str) -> None:
    answer = client.post("/token", data={"username": name, "password": ERIN["password"]})
    assert (answer.status_code, answer.json()) == (401, REFUSAL)


@pytest.mark.parametrize("url", ["/token", "/revoke"])
@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"token=a&token=b&username=a&username=b", FORM),
        (b"nothing of the kind", "text/plain"),
        (b"&".join(b"a%d=1" % number for number in range(1500)), FORM),
        (b"{", "application/json"),
        (b"token=a&username=a", ""),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_odd_forms_are_refused_as_oauth_has_it(
    oauth: TestClient, url: str, content: bytes, kind: str
) -> None:
    answer = oauth.post(url, content=content, headers={"content-type": kind})
    assert answer.status_code == 400
    assert answer.json()["error"] == "invalid_request"
    assert answer.headers.get("cache-control") == "no-store"


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"a" * 70_000, FORM, 413),
        (b"--x", "multipart/form-data; boundary=x", 415),
        (b"username=erin", f"{FORM}; charset=punycode", 415),
    ],
    ids=repr,
)
@pytest.mark.parametrize("url", ["/token", "/revoke"])
def test_what_no_app_sees_is_not_the_grants_fault(
    oauth: TestClient, url: str, content: bytes, kind: str, status: int
) -> None:
    answer = oauth.post(url, content=content, headers={"content-type": kind})
    assert answer.status_code == status
    assert answer.headers.get("cache-control") == "no-store"


def test_a_full_queue_is_no_invalid_grant(
    oauth: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    from solutions.support import threads

    monkeypatch.setattr(threads, "WAITING_PER_THREAD", -1)  # no room for anybody
    right, wrong = (oauth.post("/token", data=form) for form in (ERIN, WRONG))
    assert right.status_code == wrong.status_code == 503
    assert right.json() == wrong.json()
    assert right.json()["error"] not in ("invalid_grant", "invalid_request")
    assert int(right.headers["retry-after"]) > 0
    assert right.headers["cache-control"] == "no-store"


def test_the_words_of_a_scope_are_parted_by_a_space_only(oauth: TestClient) -> None:
    """RFC 6749 section 3.3. Otherwise two services read two different scopes."""
    for scope, granted in {"items  me": {"items", "me"}, " me ": {"me"}, "me me": {"me"}}.items():
        answer = oauth.post("/token", data=ERIN | {"scope": scope})
        assert set(answer.json()["scope"].split(" ")) == granted, scope
    for scope in ("me\titems", "me\nitems", "me\u00a0items", "me,items", "me\u2003", "ME"):
        answer = oauth.post("/token", data=ERIN | {"scope": scope})
        assert answer.status_code == 400, scope
        assert answer.json()["error"] == "invalid_scope", scope


def test_expires_in_is_in_seconds(development: pytest.MonkeyPatch, oauth: TestClient) -> None:
    from solutions.support.settings import get_settings

    development.setenv("ACCESS_TOKEN_EXPIRE_MINUTES", "17")
    get_settings.cache_clear()
    assert oauth.post("/token", data=ERIN).json()["expires_in"] == 17 * 60


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("new_password", "short"),
        ("new_password", "a" * 2000),
        ("new_password", "123456789987654321"),  # among the commonest
        ("role", "admin"),
    ],
)
@pytest.mark.asvs("6.2.1", "6.2.4")
def test_a_new_password_is_held_to_the_rules_of_a_first_one(
    oauth: TestClient, field: str, value: str
) -> None:
    token = oauth.post("/token", data=ERIN).json()["access_token"]
    body = {"current_password": ERIN["password"], "new_password": "oboe oboe oboe oboe"}
    headers = {"Authorization": f"Bearer {token}"}
    answer = oauth.post("/users/me/password", json=body | {field: value}, headers=headers)
    assert answer.status_code == 422
    assert value not in answer.text
    assert oauth.post("/token", data=ERIN).status_code == 200


@pytest.mark.asvs("6.2.10")
def test_a_password_has_no_end(oauth: TestClient) -> None:
    """Whoever has to change it every quarter writes it down, or counts up its last digit."""
    for years in (0, 1, 10):
        with later(timedelta(days=365 * years)):
            tokens = oauth.post("/token", data=ERIN)
            assert tokens.status_code == 200, f"{years} years later: {tokens.text}"
            headers = {"Authorization": f"Bearer {tokens.json()['access_token']}"}
            assert oauth.get("/users/me", headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", FORM),
        (b"username=%ff&password=%ed%a0%80", FORM),
        (b"username=\xff&password=\xff", FORM),
        (b"&" * 5000, FORM),
        (b"--x", "multipart/form-data; boundary=x"),
        (b"nothing of the kind", "multipart/form-data"),
        (b"{", "application/json"),
    ],
    ids=repr,
)
def test_no_body_is_a_5xx(client: TestClient, content: bytes, kind: str) -> None:
    answer = client.post("/token", content=content, headers={"content-type": kind})
    assert 400 <= answer.status_code < 500
