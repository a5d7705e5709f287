"""What the settings say of providers, and what is believed of what they say of themselves."""

import asyncio
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from lessons.harness.internet import internet_of
from lessons.harness.provider import Lie, Provider
from solutions.support import providers
from solutions.support.providers import ProviderDown, Providers, open_providers
from solutions.support.settings import UnsafeSettings, get_settings
from solutions.support.social_requests import Refused, _cause_of

ISSUER = "https://login.example/realm"
OIDC = {"OIDC_ISSUER": ISSUER, "OIDC_CLIENT_ID": "shop", "OIDC_CLIENT_SECRET": "s"}


@pytest.fixture
def configured(development: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """One OpenID provider, in development."""
    for name, value in OIDC.items():
        development.setenv(name, value)
    return development


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"GOOGLE_CLIENT_ID": "x"}, "GOOGLE_CLIENT_ID and _SECRET go together"),
        ({"GITHUB_CLIENT_SECRET": "x"}, "GITHUB_CLIENT_ID and _SECRET go together"),
        ({"OIDC_ISSUER": ISSUER}, "go together"),
        (OIDC | {"OIDC_ISSUER": ""}, "go together"),
        (OIDC | {"OIDC_ISSUER": "login.example"}, "OIDC_ISSUER: give"),
        (OIDC | {"OIDC_ISSUER": f"{ISSUER}?x=1"}, "OIDC_ISSUER: give"),
        (OIDC | {"OIDC_ISSUER": "http://login.example"}, "OIDC_ISSUER needs https"),
        (OIDC | {"PUBLIC_URL": ""}, "PUBLIC_URL is not set"),
    ],
)
def test_half_a_provider_does_not_start(
    fresh_settings: pytest.MonkeyPatch, changes: dict[str, str], says: str
) -> None:
    production = {"JWT_SECRET": "x" * 31 + "y", "JWT_ISSUER": "i", "JWT_AUDIENCE": "a"}
    production |= {"ENVIRONMENT": "production", "PUBLIC_URL": "https://shop.example"}
    for name, value in (production | changes).items():
        fresh_settings.setenv(name, value)
    with pytest.raises(UnsafeSettings, match=says):
        get_settings()


def test_no_provider_is_there_by_default(development: pytest.MonkeyPatch) -> None:
    assert get_settings().providers == {}


def test_an_issuer_is_kept_letter_by_letter(configured: pytest.MonkeyPatch) -> None:
    assert get_settings().oidc_issuer == ISSUER
    assert "s" not in repr(get_settings().oidc_client_secret)


def found(times: int = 1, **metadata: Any) -> list[Any]:
    """Ask for the provider some times; return it as it is ready, and the addresses asked."""
    provider = Provider(ISSUER, "shop", "s")
    provider.lie = Lie(metadata=metadata)

    async def ask() -> Any:
        ready = open_providers()
        return [await ready.get("oidc") for _ in range(times)][-1]

    with internet_of(provider) as internet:
        got = asyncio.run(ask())
    return [got, internet.asked]


def test_metadata_are_asked_for_once_an_hour(
    configured: pytest.MonkeyPatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, asked = found(times=3)
    assert asked == [f"{ISSUER}/.well-known/openid-configuration"]
    now = providers.time.monotonic
    monkeypatch.setattr(providers.time, "monotonic", lambda: now() + 3601)
    assert len(found()[1]) == 1


def test_only_known_metadata_reach_authlib(configured: pytest.MonkeyPatch) -> None:
    got, _ = found(code_challenge_method="plain", verify=False, scope="x", jwks={"keys": []})
    names = {"authorization_endpoint", "token_endpoint", "userinfo_endpoint", "jwks_uri", "issuer"}
    names |= {"id_token_signing_alg_values_supported"}
    assert set(got.client.server_metadata) == names
    assert not [each for each in providers.ALGORITHMS if each.startswith("HS") or each == "none"]


@pytest.mark.asvs("10.2.3")
def test_no_more_is_asked_for_than_who_somebody_is(configured: pytest.MonkeyPatch) -> None:
    for name in ("GOOGLE", "GITHUB"):
        configured.setenv(f"{name}_CLIENT_ID", "shop")
        configured.setenv(f"{name}_CLIENT_SECRET", "s")
    identity = {"openid", "profile", "email"}
    for name, scopes in {"oidc": identity, "google": identity, "github": {"read:user"}}.items():
        asked = providers._client(name, ISSUER, {}).client_kwargs["scope"]
        assert set(asked.split()) == scopes, name


@pytest.mark.parametrize(
    ("ways", "way"),
    [
        (["client_secret_post"], "client_secret_post"),
        (["client_secret_basic", "client_secret_post"], "client_secret_basic"),
        (None, "client_secret_basic"),
    ],
)
def test_the_secret_goes_as_the_provider_wants_it(
    configured: pytest.MonkeyPatch, ways: Any, way: str
) -> None:
    got, _ = found(token_endpoint_auth_methods_supported=ways)
    assert got.client.client_kwargs["token_endpoint_auth_method"] == way


@pytest.mark.asvs("10.5.3")
@pytest.mark.parametrize(
    "metadata",
    [
        {"issuer": "https://login.example/realm/"},
        {"issuer": None},
        {"token_endpoint": "http://login.example/token"},
        {"userinfo_endpoint": 5},
        {"jwks_uri": None},
        {"authorization_endpoint": "https://login.example/\u00e9"},
        {"authorization_endpoint": "https://login.example/" + "x" * 3000},
        {"authorization_endpoint": "https://login.example/\r\nX: y"},
    ],
)
def test_other_metadata_are_a_provider_that_is_down(
    configured: pytest.MonkeyPatch, metadata: dict[str, Any]
) -> None:
    with pytest.raises(ProviderDown):
        found(**metadata)


def test_a_provider_on_this_machine_may_speak_http(configured: pytest.MonkeyPatch) -> None:
    configured.setenv("OIDC_ISSUER", "http://127.0.0.1:9400")
    provider = Provider("http://127.0.0.1:9400", "shop", "s")
    with internet_of(provider):
        assert asyncio.run(Providers().get("oidc")).issuer == "http://127.0.0.1:9400"


def test_a_code_goes_with_its_redirect_address() -> None:
    provider, told = Provider(ISSUER, "shop", "s"), list[str]()
    provider.tell = told.append
    asked = {"client_id": "shop", "response_type": "code", "scope": "openid"}
    asked["redirect_uri"] = "https://shop.example/back"
    address = f"{provider.addresses['authorization_endpoint']}?{urlencode(asked)}"
    code = parse_qs(urlsplit(provider.answer(address, {"sub": "1"})).query)["code"][0]
    form = {"grant_type": "authorization_code", "code": code}
    form |= {"client_id": "shop", "client_secret": "s"}
    token_endpoint = provider.addresses["token_endpoint"]
    assert provider.reply("POST", token_endpoint, {}, urlencode(form).encode()).status == 400
    assert "redirect_uri is not the one that the login began with" in told[0]
    form["redirect_uri"] = asked["redirect_uri"]
    assert provider.reply("POST", token_endpoint, {}, urlencode(form).encode()).status == 200


def test_the_log_names_the_kind_of_an_error_and_not_what_it_says() -> None:
    def identify() -> None:
        try:
            raise ValueError("the code 4711")
        except ValueError:
            raise Refused from None

    with pytest.raises(Refused) as raised:
        identify()
    assert _cause_of(raised.value) == "ValueError in identify"
