"""Settings: production unless told otherwise, and no start without a good secret.

They come from the environment. In the workbook itself, and nowhere else, `dev.env` makes it
development; the environment wins.
"""

import hashlib
import logging
import re
import secrets
from functools import lru_cache
from ipaddress import ip_network
from pathlib import Path
from typing import Literal, Self

from pydantic import (
    Field,
    PrivateAttr,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

logger = logging.getLogger(__name__)

WORKBOOK = Path(__file__).resolve().parents[2]
DEV_ENV = WORKBOOK / "dev.env" if (WORKBOOK / "lessons").is_dir() else None
SECRETS = Path("/run/secrets")  # where containers find files that are named like the variables
DEVELOPMENT_NAME = "fastapi-auth-workbook"  # as issuer and audience, and only there

DEVELOPMENT_URL = "http://localhost:8000"
ORIGIN = re.compile(r"https?://([a-z0-9.-]+|\[[0-9a-f:.]+\])(:\d{1,5})?")

PROVIDERS = {"google": "Google", "github": "GitHub", "oidc": "OpenID"}
ISSUER = re.compile(r"https?://[!\"$->@-~]+")  # neither query nor fragment

MIN_SECRET_BYTES = 32  # RFC 7518 section 3.2: an HS256 key is at least as long as the hash
MIN_PRODUCTION_BCRYPT_ROUNDS = 10  # ASVS 5.0, appendix C
HOW_TO_DRAW_A_SECRET = 'python -c "import secrets; print(secrets.token_urlsafe(32))"'

# Published secrets that are long enough to look right, each as the start of its SHA-256:
# written out, they would be copied from here once more.
KNOWN_SECRETS = {
    "570dad43de1af4c925f92c16a68a5093",  # FastAPI's documentation
    "465d9ad5d5528ebe287b5dce4fb51620",  # jwt.io, HS256
    "730d21a80e61a8de82d12cb4c0b8057c",  # jwt.io, HS384
    "db6833593279d7373592ef70e51f3daf",  # jwt.io, HS512
    "0d356ede0ba49981912e357d2b5ef4a8",  # a tutorial's placeholder
    "c99758db33af70fbf3588833c77678ba",  # a tutorial's placeholder
    "54bdb0aece41970e7f4c435cedbfd79f",  # a tutorial's placeholder
    "8eecb3bfd5965e5c85eb857e30d98587",  # a tutorial's placeholder
    "074337dc15c16b74a873232606bc465f",  # a tutorial's placeholder
    "103ab5dd9769664c34bb4dcecdbe1aa5",  # a tutorial's placeholder
    "82a4fffad8994ff78133b4e7afcf98b8",  # a tutorial's placeholder
}


DATABASES = ("sqlite:///", "postgresql://")
REDIS = ("redis://", "rediss://")
HOST = re.compile(r"[a-z0-9.-]+|\[[0-9a-f:.]+\]")


def _fault_of_a_proxy(word: str) -> str:
    try:
        network = ip_network(word)
    except ValueError:
        return "give addresses or networks, as in 10.0.0.7 or 10.0.0.0/24"
    return "" if network.prefixlen else "it says that everybody is a proxy of ours"


def _fault_of_a_host(word: str) -> str:
    return "" if HOST.fullmatch(word) else "give names without a port, as in shop.example"


def _fault_of_an_origin(word: str) -> str:
    # Exact: `*` is everybody, `null` is any file, and a browser sends no slash at the end.
    return "" if ORIGIN.fullmatch(word) else "give whole origins, as in https://app.shop.example"


_FAULTS = {
    "trusted_proxies": _fault_of_a_proxy,
    "allowed_hosts": _fault_of_a_host,
    "cors_origins": _fault_of_an_origin,
}


class UnsafeSettings(RuntimeError):
    """The service must not run like this; the message says why, in one sentence."""


class Settings(BaseSettings):
    """What the operator decides. The variables are the field names in upper case."""

    model_config = SettingsConfigDict(
        env_file=DEV_ENV,
        secrets_dir=SECRETS if SECRETS.is_dir() else None,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    environment: Literal["production", "development"] = "production"
    jwt_secret: SecretStr | None = None
    jwt_algorithm: Literal["HS256"] = "HS256"
    jwt_issuer: str = ""  # required in production: two products must not share a name
    jwt_audience: str = ""
    access_token_expire_minutes: int = Field(default=30, ge=1, le=24 * 60)
    refresh_token_expire_days: int = Field(default=7, ge=1, le=365)
    bcrypt_rounds: int = Field(default=12, ge=4, le=31)
    password_min_length: int = Field(default=15, ge=8, le=64)  # characters; NIST SP 800-63B-4
    max_body_bytes: int = Field(default=65_536, ge=1024)
    public_url: str = ""  # the origin that people type, https://shop.example; from lesson 08 on
    session_idle_minutes: int = Field(default=30, ge=1, le=24 * 60)
    session_hours: int = Field(default=12, ge=1, le=30 * 24)
    google_client_id: str = ""  # a provider is there when it has an id; from lesson 09 on
    google_client_secret: SecretStr = SecretStr("")
    github_client_id: str = ""
    github_client_secret: SecretStr = SecretStr("")
    oidc_issuer: str = ""  # any provider that speaks OpenID Connect, as it spells itself
    oidc_client_id: str = ""
    oidc_client_secret: SecretStr = SecretStr("")
    trusted_proxies: str = ""  # addresses and networks of our own proxies; from lesson 10 on
    allowed_hosts: str = ""  # the names that requests may be sent to; any name when empty
    cors_origins: str = ""  # the origins whose scripts may read our answers
    limits_url: SecretStr = SecretStr("")  # redis://...; counters in memory when empty
    attempts_per_login: int = Field(default=5, ge=1, le=100)  # at a name from one address
    attempts_per_address: int = Field(default=50, ge=1, le=1_000_000)
    attempts_per_name: int = Field(default=100, ge=1, le=1_000_000)
    attempts_minutes: int = Field(default=15, ge=1, le=24 * 60)
    forwarded_allow_ips: str = ""  # uvicorn's; looked at, not used
    signing_keys_dir: Path | None = None  # a folder of private keys; from lesson 11 on
    database_url: SecretStr = SecretStr("")  # sqlite:///... or postgresql://...; from lesson 12 on
    database_connections: int = Field(default=10, ge=1, le=1000)  # of each worker
    _is_secret_drawn: bool = PrivateAttr(default=False)

    @field_validator("public_url")
    @classmethod
    def spell_as_browsers_do(cls, url: str) -> str:
        """Return the origin as browsers send it. Raises ValueError for what is none."""
        origin = url.lower().removesuffix("/")
        if origin and not ORIGIN.fullmatch(origin):
            raise ValueError("give scheme, host and port if any, as in https://shop.example")
        for scheme, port in (("http", ":80"), ("https", ":443")):
            if origin.startswith(f"{scheme}://"):
                return origin.removesuffix(port)
        return origin

    @field_validator("oidc_issuer")
    @classmethod
    def keep_as_it_is(cls, issuer: str) -> str:
        """Return the issuer, which is compared letter by letter. Raises ValueError for none."""
        if issuer and not ISSUER.fullmatch(issuer):
            raise ValueError("give the provider's own address, as in https://login.example/realm")
        return issuer

    @field_validator("trusted_proxies", "allowed_hosts", "cors_origins")
    @classmethod
    def split_as_people_do(cls, text: str, field: ValidationInfo) -> str:
        """Return the words of a list with one space between. Raises ValueError for a bad one."""
        words = text.replace(",", " ").split()
        for word in words:
            if fault := _FAULTS[field.field_name or ""](word):
                raise ValueError(fault)
        return " ".join(words)

    @field_validator("limits_url")
    @classmethod
    def refuse_another_store(cls, url: SecretStr) -> SecretStr:
        """Refuse what is no address of a Redis. Raises ValueError, which does not quote it."""
        if url.get_secret_value() and not url.get_secret_value().startswith(REDIS):
            raise ValueError("give redis://host:port/0, or rediss:// for TLS")
        return url

    @field_validator("database_url")
    @classmethod
    def refuse_another_database(cls, url: SecretStr) -> SecretStr:
        """Refuse what is no address of a database. Raises ValueError, which does not quote it."""
        if url.get_secret_value() and not url.get_secret_value().startswith(DATABASES):
            raise ValueError("give sqlite:///file.db, or postgresql://user:password@host/name")
        return url

    @model_validator(mode="after")
    def refuse_workers_that_differ(self) -> Self:
        """Refuse a secret of each process's own, where several share what is kept (CWE-344)."""
        if self.database_url.get_secret_value() and self.jwt_secret is None:
            raise ValueError(
                "JWT_SECRET is not set, and DATABASE_URL is: sessions in a database outlive a "
                f"process, and several use it. Draw one with: {HOW_TO_DRAW_A_SECRET}"
            )
        return self

    @model_validator(mode="after")
    def refuse_half_a_provider(self) -> Self:
        """Refuse a provider that cannot work, and one whose answers anybody could write."""
        for name in PROVIDERS:
            secret = getattr(self, f"{name}_client_secret").get_secret_value()
            if bool(getattr(self, f"{name}_client_id")) != bool(secret):
                raise ValueError(f"{name.upper()}_CLIENT_ID and _SECRET go together: set both.")
        if bool(self.oidc_issuer) != bool(self.oidc_client_id):
            raise ValueError("OIDC_ISSUER, OIDC_CLIENT_ID and OIDC_CLIENT_SECRET go together.")
        if self.environment == "production" and self.providers:
            if not self.public_url:
                raise ValueError("PUBLIC_URL is not set, and a provider sends people back to it.")
            if self.oidc_issuer and not self.oidc_issuer.startswith("https://"):
                raise ValueError("OIDC_ISSUER needs https: over http anybody answers for it.")
        return self

    @model_validator(mode="after")
    def refuse_weak_settings(self) -> Self:
        """Refuse a short or published secret anywhere (CWE-326, CWE-798), more in production."""
        if self.jwt_secret is not None:
            try:
                secret = self.jwt_secret.get_secret_value().encode()
            except UnicodeEncodeError:  # its own message would quote the secret
                raise ValueError(
                    f"JWT_SECRET is not UTF-8. Draw one with: {HOW_TO_DRAW_A_SECRET}"
                ) from None
            secret = secret.strip(b"\"' \t\r\n")  # blanks and quotes make it longer, not better
            if len(secret) < MIN_SECRET_BYTES:
                raise ValueError(
                    f"JWT_SECRET has {len(secret)} bytes and needs at least {MIN_SECRET_BYTES}. "
                    f"Draw one with: {HOW_TO_DRAW_A_SECRET}"
                )
            if hashlib.sha256(secret.lower()).hexdigest()[:32] in KNOWN_SECRETS:
                raise ValueError(
                    "JWT_SECRET is a published sample, so everybody has it. "
                    f"Draw your own with: {HOW_TO_DRAW_A_SECRET}"
                )
        if self.environment == "production":
            if self.jwt_secret is None:
                raise ValueError(
                    f"JWT_SECRET is not set. Draw one with: {HOW_TO_DRAW_A_SECRET} "
                    "(or, on your own machine only, set ENVIRONMENT=development)"
                )
            for name in ("jwt_issuer", "jwt_audience"):
                if not getattr(self, name):
                    raise ValueError(
                        f"{name.upper()} is not set. Give your service a name of its own: another "
                        "service's tokens must not open this one."
                    )
            if "*" in self.forwarded_allow_ips:
                raise ValueError(
                    "FORWARDED_ALLOW_IPS is *: then anybody says which address they have. "
                    "Start uvicorn with --no-proxy-headers, and set TRUSTED_PROXIES."
                )
            if self.public_url and not self.public_url.startswith("https://"):
                raise ValueError("PUBLIC_URL needs https: over http everybody reads the sessions.")
            if self.bcrypt_rounds < MIN_PRODUCTION_BCRYPT_ROUNDS:
                raise ValueError(
                    f"BCRYPT_ROUNDS is {self.bcrypt_rounds}, and production needs "
                    f"{MIN_PRODUCTION_BCRYPT_ROUNDS} or more."
                )
        return self

    @property
    def providers(self) -> dict[str, str]:
        """The providers that people may log in with: name in addresses, and name on buttons."""
        return {name: PROVIDERS[name] for name in PROVIDERS if getattr(self, f"{name}_client_id")}

    @property
    def signing_key(self) -> str:
        """The key that signs tokens. Call it inside functions; never log it."""
        assert self.jwt_secret is not None
        if self._is_secret_drawn:
            _tell_that_it_was_drawn()  # not at the start: an app with a folder of keys needs none
        return self.jwt_secret.get_secret_value()


@lru_cache
def get_settings() -> Settings:
    """Read the settings once.

    Raises UnsafeSettings with one sentence: a service that runs with a bad secret is worse than
    one that does not start. `create_app` asks at start-up.
    """
    try:
        settings = Settings()
    except ValidationError as error:
        raise UnsafeSettings(f"Not started: {_one_sentence(error)}") from None
    except UnicodeDecodeError:
        raise UnsafeSettings("Not started: dev.env is not UTF-8.") from None
    if settings.environment == "production":
        return settings
    found = settings.model_copy(update=_for_development(settings))
    found._is_secret_drawn = settings.jwt_secret is None
    return found


def _for_development(settings: Settings) -> dict[str, object]:
    """Return what development need not be told."""
    drawn: dict[str, object] = {
        name: DEVELOPMENT_NAME
        for name in ("jwt_issuer", "jwt_audience")
        if not getattr(settings, name)
    }
    if not settings.public_url:
        drawn["public_url"] = DEVELOPMENT_URL
    if settings.jwt_secret is None:
        drawn["jwt_secret"] = SecretStr(secrets.token_urlsafe(MIN_SECRET_BYTES))
    return drawn


@lru_cache
def _tell_that_it_was_drawn() -> None:
    """Say it once, at the first token."""
    logger.warning(
        "JWT_SECRET is not set: drew a random one for this process. "
        "Tokens die with it, and other workers draw another."
    )


def _one_sentence(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    name = "".join(str(part).upper() for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    return f"{name}: {message}" if name else message
