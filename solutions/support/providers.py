"""The providers that people may log in with: what the settings say, and what each says of itself.

Of its metadata only what is needed is used, since Authlib takes the rest for arguments of its own:
a provider could switch its checks off.
"""

import time
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any

import httpx2
from authlib.integrations.starlette_client import OAuth
from fastapi import Depends, HTTPException

from .bounded_http import Bounded
from .settings import get_settings

METADATA_SECONDS = 3600  # then they are asked for anew, and withdrawn keys are forgotten
MAX_TEXT = 2000  # characters of an address that a provider names

GOOGLE, GITHUB = "https://accounts.google.com", "https://github.com/login/oauth"
GITHUB_ADDRESSES = {  # it has no metadata: it speaks OAuth 2.0, not OpenID Connect
    "authorization_endpoint": "https://github.com/login/oauth/authorize",
    "token_endpoint": "https://github.com/login/oauth/access_token",
    "userinfo_endpoint": "https://api.github.com/user",
}
SCOPES = {"github": "read:user"}
ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA"]  # never an HMAC


class ProviderDown(Exception):
    """A provider is out of reach, or says of itself what cannot be true."""


@dataclass(frozen=True)
class Provider:
    """One provider, ready to be used."""

    name: str  # in addresses
    title: str  # on buttons
    issuer: str  # as it spells itself; GitHub, which has none, by its address
    client_id: str
    promises_iss: bool  # whether each answer says who it comes from (RFC 9207)
    client: Any  # Authlib's, with the calls that the lesson names

    @property
    def has_id_tokens(self) -> bool:
        """Whether it speaks OpenID Connect."""
        return self.name != "github"

    @property
    def redirect_uri(self) -> str:
        """Where it sends people back to: by PUBLIC_URL, since anybody can send a Host."""
        return f"{get_settings().public_url}/callback/{self.name}"


def issuer_of(name: str) -> str:
    """Return the issuer of a configured provider."""
    return {"google": GOOGLE, "github": GITHUB}.get(name) or get_settings().oidc_issuer


async def _discover(issuer: str) -> dict[str, Any]:
    """Ask a provider for its metadata. Raises ProviderDown (OpenID Discovery section 4.3)."""
    try:
        async with httpx2.AsyncClient(transport=Bounded(), trust_env=False) as client:
            answer = await client.get(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
        said = answer.raise_for_status().json()
        if said["issuer"] != issuer:
            raise ProviderDown("the metadata are another issuer's")
        return _known(said, issuer)
    except (httpx2.HTTPError, httpx2.InvalidURL, ValueError, LookupError, TypeError) as error:
        raise ProviderDown(type(error).__name__) from None
    except RecursionError:  # of JSON in JSON in JSON
        raise ProviderDown("nested too deeply") from None


def _known(said: dict[str, Any], issuer: str) -> dict[str, Any]:
    """Return what is needed of the metadata. Raises LookupError or ValueError for the rest."""
    scheme = issuer.partition("//")[0] + "//"  # https, unless it is a provider on this machine
    known: dict[str, Any] = {
        name: said[name] for name in ("authorization_endpoint", "token_endpoint", "jwks_uri")
    }
    if "userinfo_endpoint" in said:
        known["userinfo_endpoint"] = said["userinfo_endpoint"]
    for address in known.values():
        if not (isinstance(address, str) and address.startswith(("https://", scheme))):
            raise ValueError("an address without https")
        if len(address) > MAX_TEXT or not address.isascii() or not address.isprintable():
            raise ValueError("not an address")
    known["promises_iss"] = bool(said.get("authorization_response_iss_parameter_supported"))
    ways = said.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
    known["by_post"] = "client_secret_basic" not in ways
    return known


def _client(name: str, issuer: str, known: dict[str, Any]) -> Any:
    settings = get_settings()
    by_post = known.get("by_post", False)
    return OAuth().register(
        name,
        client_id=getattr(settings, f"{name}_client_id"),
        client_secret=getattr(settings, f"{name}_client_secret").get_secret_value(),
        client_kwargs={
            "scope": SCOPES.get(name, "openid profile email"),
            "token_endpoint_auth_method": "client_secret_post"
            if by_post
            else "client_secret_basic",
            "transport": Bounded(),
            "trust_env": False,
            "leeway": 0,  # an access token is used at once, however short it lives
        },
        issuer=issuer,
        id_token_signing_alg_values_supported=ALGORITHMS,
        **{name: known[name] for name in known if name not in ("promises_iss", "by_post")},
    )


async def userinfo_of(provider: Provider, token: Any) -> dict[str, Any]:
    """Return what the userinfo endpoint says of a token's person; nothing where there is none."""
    if "userinfo_endpoint" not in provider.client.server_metadata:
        return {}
    said: dict[str, Any] = await provider.client.userinfo(token=token)
    return said


class Providers:
    """Those that are configured. What a provider says of itself is asked for once an hour."""

    def __init__(self) -> None:
        self._ready: dict[str, tuple[float, Provider]] = {}

    async def get(self, name: str) -> Provider:
        """Return a configured provider. Raises LookupError for another, and ProviderDown."""
        settings = get_settings()
        title, now = settings.providers[name], time.monotonic()
        until, provider = self._ready.get(name, (0.0, None))
        if provider is None or until <= now:
            issuer = issuer_of(name)
            known = GITHUB_ADDRESSES if name == "github" else await _discover(issuer)
            provider = Provider(
                name=name,
                title=title,
                issuer=issuer,
                client_id=getattr(settings, f"{name}_client_id"),
                promises_iss=bool(known.get("promises_iss")),
                client=_client(name, issuer, known),
            )
            self._ready[name] = now + METADATA_SECONDS, provider
        return provider


@lru_cache
def open_providers() -> Providers:
    """Build the process's one set."""
    return Providers()


async def get_provider(provider: str) -> Provider:
    """Return the provider that a path names. Raises 404 for one that is not configured."""
    try:
        return await open_providers().get(provider)
    except LookupError:
        raise HTTPException(404, "No such provider") from None


NamedProvider = Annotated[Provider, Depends(get_provider)]
