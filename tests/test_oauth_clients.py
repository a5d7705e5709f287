"""The OAuth2 clients that people use, unmodified, against a real server.

Authlib's for requests and for httpx, and requests-oauthlib's. They log in with the password grant,
refresh, and see a refusal as their own kind of error.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from authlib.integrations.base_client import OAuthError
from authlib.integrations.httpx_client import OAuth2Client
from authlib.integrations.requests_client import OAuth2Session as AuthlibSession
from oauthlib.oauth2 import InvalidGrantError, LegacyApplicationClient
from requests_oauthlib import OAuth2Session

from tests.processes import serve

ERIN = {"username": "erin", "password": "trombone and seven"}


@pytest.fixture(scope="module", params=["refresh", "main"])
def address(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    log = tmp_path_factory.mktemp("server") / "log"
    with serve(f"solutions.{request.param}:app", log, BCRYPT_ROUNDS="4") as client:
        # Not one of the demo people: their hashes cost what production costs.
        assert client.post("/register", json=ERIN).status_code == 201
        yield str(client.base_url)
    assert " 500 " not in log.read_text()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")  # all three would ask the environment for one


@pytest.fixture(params=[AuthlibSession, OAuth2Client], ids=["requests", "httpx"])
def authlib(request: pytest.FixtureRequest, address: str) -> Iterator[Any]:
    with request.param(token_endpoint=f"{address}/token") as client:
        yield client


@pytest.fixture
def oauthlib(address: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[OAuth2Session]:
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")  # http, and not further than here
    with closing(
        OAuth2Session(
            client=LegacyApplicationClient(client_id=""),
            auto_refresh_url=f"{address}/token",
            token_updater=lambda token: None,
        )
    ) as session:
        yield session


def who(client: Any, address: str) -> str:
    answer = client.get(f"{address}/users/me")
    assert answer.status_code == 200, answer.text
    return str(answer.json()["username"])


def refused(error: type[Exception], call: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
    with pytest.raises(error) as caught:
        call(*args, **kwargs)
    refusal: Any = caught.value
    assert refusal.error == "invalid_grant"
    assert refusal.description


def test_authlib_logs_in_and_refreshes(authlib: Any, address: str) -> None:
    old = dict(authlib.fetch_token(**ERIN))
    assert who(authlib, address) == "erin"
    new = dict(authlib.refresh_token())
    assert not {old["access_token"], old["refresh_token"]} & set(new.values())
    assert who(authlib, address) == "erin"


def test_authlib_sees_invalid_grant(authlib: Any) -> None:
    refused(OAuthError, authlib.fetch_token, **ERIN | {"password": "wrong"})
    old = authlib.fetch_token(**ERIN)["refresh_token"]
    new = authlib.refresh_token()["refresh_token"]
    refused(OAuthError, authlib.refresh_token, refresh_token=old)
    # Somebody else may hold the new one by now, so it has died with the old one.
    refused(OAuthError, authlib.refresh_token, refresh_token=new)


def test_authlib_refreshes_by_itself(authlib: Any, address: str) -> None:
    old = authlib.fetch_token(**ERIN)["access_token"]
    authlib.token["expires_at"] = int(time.time()) - 1
    assert who(authlib, address) == "erin"
    assert authlib.token["access_token"] != old
    assert not authlib.token.is_expired()


def test_authlib_revokes(authlib: Any, address: str) -> None:
    authlib.fetch_token(**ERIN)
    answer = authlib.revoke_token(f"{address}/revoke", token_type_hint="refresh_token")
    assert answer.status_code == 200
    refused(OAuthError, authlib.refresh_token)


def test_authlib_asks_for_less(authlib: Any) -> None:
    assert authlib.fetch_token(**ERIN)["scope"].split() == ["me", "items"]
    assert authlib.fetch_token(**ERIN, scope="items")["scope"] == "items"


def test_authlib_asks_for_less_at_a_refresh(authlib: Any) -> None:
    """Less for this access token, and not for the session (RFC 6749 section 6)."""
    assert authlib.fetch_token(**ERIN)["scope"] == "me items"
    assert authlib.refresh_token(scope="items")["scope"] == "items"
    del authlib.token["scope"]
    assert authlib.refresh_token()["scope"] == "me items"


def test_requests_oauthlib_logs_in_and_refreshes(oauthlib: OAuth2Session, address: str) -> None:
    old = dict(oauthlib.fetch_token(f"{address}/token", **ERIN))
    assert who(oauthlib, address) == "erin"
    new = dict(oauthlib.refresh_token(f"{address}/token"))
    assert old["access_token"] != new["access_token"]
    assert old["refresh_token"] != new["refresh_token"]
    assert who(oauthlib, address) == "erin"


def test_requests_oauthlib_sees_invalid_grant(oauthlib: OAuth2Session, address: str) -> None:
    url = f"{address}/token"
    refused(InvalidGrantError, oauthlib.fetch_token, url, **ERIN | {"password": "wrong"})
    old = oauthlib.fetch_token(url, **ERIN)["refresh_token"]
    new = oauthlib.refresh_token(url)["refresh_token"]
    refused(InvalidGrantError, oauthlib.refresh_token, url, refresh_token=old)
    refused(InvalidGrantError, oauthlib.refresh_token, url, refresh_token=new)


def test_requests_oauthlib_refreshes_by_itself(oauthlib: OAuth2Session, address: str) -> None:
    token = oauthlib.fetch_token(f"{address}/token", **ERIN)
    oauthlib.token = token | {"expires_at": time.time() - 1}
    assert who(oauthlib, address) == "erin"
    assert oauthlib.token["access_token"] != token["access_token"]
    assert oauthlib.token["expires_at"] > time.time()
