"""A second service in another process. It has the address of the public keys, and no more."""

import os
import secrets
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from lessons.harness.hostile import sign
from lessons.harness.key_server import Pair, claims_for, disguises, draw
from solutions.support.rotate_keys import rotate
from solutions.support.signing_keys import SigningKey, draw_key, read_keys, write_key
from tests.processes import free_port, serve

NAMES = {"JWT_ISSUER": "https://shop.example", "JWT_AUDIENCE": "shop"}
KEY_SET = "/.well-known/jwks.json"
ERIN = {"username": "erin", "password": "trombone + seven"}


@dataclass
class Stage:
    """The app, the second service, and mallory's listener."""

    app: httpx.Client
    service: httpx.Client
    folder: Path
    watched: Path
    mallory: str
    visits: list[Any] = field(default_factory=list)

    def ask(self, token: str) -> int:
        """Return the status that a token gets at the second service."""
        headers = {"Authorization": f"Bearer {token}"}
        return self.service.get("/who", headers=headers).status_code

    def keys(self) -> list[SigningKey]:
        return read_keys(self.folder, in_production=True)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("second")
    keys, watched = folder / "keys", folder / "watched"
    rotate(keys)
    rotate(keys)
    secret = {"JWT_SECRET": secrets.token_urlsafe(32), "BCRYPT_ROUNDS": "10"}
    production = {"ENVIRONMENT": "production", "SIGNING_KEYS_DIR": str(keys), **secret, **NAMES}
    app = "solutions.key_rotation:app"
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        serve(app, folder / "app", **production) as client,
    ):
        where = str(client.base_url).rstrip("/")
        env = {"KEY_SET": where + KEY_SET, "WATCHED": str(watched), **NAMES}
        with serve("tests.watched_service:app", folder / "service", **env) as service:
            mallory = f"http://127.0.0.1:{listener.getsockname()[1]}/keys.json"
            stage = Stage(client, service, keys, watched, mallory)
            threading.Thread(target=_note_visits, args=(listener, stage), daemon=True).start()
            yield stage
    for name in ("app", "service"):
        said = (folder / name).read_text()
        assert " 500 " not in said
        assert str(keys) not in said
        assert "PRIVATE KEY" not in said


def _note_visits(listener: socket.socket, stage: Stage) -> None:
    while True:
        try:
            connection, address = listener.accept()
        except OSError:
            return
        stage.visits.append(address)
        connection.close()


@pytest.fixture(scope="module")
def token(stage: Stage) -> str:
    """An access token of erin."""
    assert stage.app.post("/register", json=ERIN).status_code == 201
    answer = stage.app.post("/token", data=ERIN)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["access_token"])


def own(stage: Stage, number: int = 0) -> Pair:
    """Return a key of the app, as the harness has them."""
    key = stage.keys()[number]
    return Pair(key.private.private_key, "ES256", key.public_jwk())


@pytest.mark.asvs("8.3.3")
def test_a_token_of_the_app_opens_the_other_service(stage: Stage, token: str) -> None:
    answer = stage.service.get("/who", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 200, answer.text
    assert answer.json() == {"username": "erin", "scope": "me items"}


@pytest.mark.asvs("9.1.3", "10.3.1")
def test_nothing_else_opens_it_and_nobody_else_is_asked(stage: Stage, token: str) -> None:
    assert stage.ask(token) == 200
    pair, mine = own(stage), draw()
    claims = claims_for(NAMES["JWT_ISSUER"], NAMES["JWT_AUDIENCE"])
    assert stage.ask(pair.sign(claims)) == 200
    for what, forged in {
        "an ID token": pair.sign(claims, {"typ": "JWT"}),
        "another audience": pair.sign(claims | {"aud": "billing"}),
        "another issuer": pair.sign(claims | {"iss": stage.mallory}),
        "a key of hers": mine.sign(claims, {"kid": pair.kid}),
        "a key of hers by name": mine.sign(claims),
        "jku": mine.sign(claims, {"jku": stage.mallory}),
        "x5u": mine.sign(claims, {"x5u": stage.mallory}),
        "jwk": mine.sign(claims, {"jwk": dict(mine.jwk)}),
        "an address for a kid": mine.sign(claims, {"kid": stage.mallory}),
        "none": pair.sign(claims, {"alg": "none"}),
        **{
            f"HS256 with {name}": sign(claims, secret, "HS256", {"kid": pair.kid, "typ": "at+jwt"})
            for name, secret in disguises(pair).items()
        },
    }.items():
        assert stage.ask(forged) == 401, what
    assert not stage.visits
    asked = set(stage.watched.read_text().splitlines())
    port = stage.app.base_url.port
    assert asked == {f"('127.0.0.1', {port})"}, "Something was reached for that no setting names."


def test_the_next_key_is_known_before_it_signs(stage: Stage, token: str) -> None:
    assert stage.ask(token) == 200
    _, following = stage.keys()
    published = {each["kid"] for each in stage.app.get(KEY_SET).json()["keys"]}
    assert following.kid in published
    questions = len(stage.watched.read_text().splitlines())
    claims = claims_for(NAMES["JWT_ISSUER"], NAMES["JWT_AUDIENCE"])
    assert stage.ask(own(stage, 1).sign(claims)) == 200
    assert len(stage.watched.read_text().splitlines()) == questions


def test_a_flood_is_no_flood_at_the_app(stage: Stage, token: str) -> None:
    assert stage.ask(token) == 200
    before = len(stage.watched.read_text().splitlines())
    for _ in range(30):
        assert stage.ask(draw().sign(claims_for("a", "b"))) == 401
    assert len(stage.watched.read_text().splitlines()) <= before + 1


def test_the_service_starts_without_the_app_and_goes_on_without_it(tmp_path: Path) -> None:
    folder, port = tmp_path / "keys", free_port()
    write_key_of(folder)
    env = {"KEY_SET": f"http://127.0.0.1:{port}{KEY_SET}", "WATCHED": str(tmp_path / "w"), **NAMES}
    claims = claims_for(NAMES["JWT_ISSUER"], NAMES["JWT_AUDIENCE"])
    (key,) = read_keys(folder, in_production=True)
    token = Pair(key.private.private_key, "ES256", key.public_jwk()).sign(claims)
    headers = {"Authorization": f"Bearer {token}"}
    with serve("tests.watched_service:app", tmp_path / "service", **env) as service:
        with serve(
            "solutions.key_rotation:app",
            tmp_path / "app",
            port=port,
            ENVIRONMENT="development",
            SIGNING_KEYS_DIR=str(folder),
        ):
            assert service.get("/who", headers=headers).status_code == 200
        for _ in range(3):
            assert service.get("/who", headers=headers).status_code == 200
    with serve("tests.watched_service:app", tmp_path / "again", **env) as service:
        assert service.get("/who", headers=headers).status_code == 401
        assert service.get("/who").status_code in (401, 403)
    said = (tmp_path / "again").read_text()
    assert "The key set is out of reach: ConnectError" in said
    assert " 500 " not in said


def write_key_of(folder: Path) -> None:
    folder.mkdir(mode=0o700)
    write_key(folder, draw_key(datetime.now(UTC) - timedelta(hours=1)))


def test_the_service_has_no_secret() -> None:
    """Nothing that it reads from the environment could make a token."""
    text = Path("lessons/harness/second_service.py").read_text("utf-8")
    assert "JWT_SECRET" not in text
    assert "SIGNING_KEYS_DIR" not in text
    assert os.environ.get("JWT_SECRET") is None or "get_settings" not in text
