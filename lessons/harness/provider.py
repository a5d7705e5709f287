"""A provider that people log in with, of either kind: OpenID Connect, or GitHub's OAuth 2.0.

It checks what a real one checks, and can lie in every field. Tests ask it in their own process,
without a network. For a class it starts by itself, with a page to choose a person and a lie:

    uvicorn lessons.harness.provider:app --port 9400
"""

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property, lru_cache
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

DISCOVERY = "/.well-known/openid-configuration"
JSON = {"content-type": "application/json"}
# Whoever reads this has it, so it signs for tests alone; a class's provider draws its own. To draw
# one takes 140 ms, which is a tenth of a lesson's run.
KNOWN_P = int(
    "fe4a3a4a917e3cacaa3763dfb8cb246509df96c6213455c61b4b2e63e7ad123db2106b72152ad429c36c9d"
    "b5e3ee32909d3648ff01bc838973c987d0bfaa2278f24f498a1cb67468b80b9fadb59d1d1477b705578d69"
    "b6e6752632083ac86065b6f3f45707ce4afdafbcdaa93f8dc47387c4342bf4c59a63ccd3511d8fefb6f5",
    16,
)
KNOWN_Q = int(
    "c7576fc289bb13da7638ace7a39073d1b35562c32ee31b9ec753c6a2379b5a840144f9b47e5acfb7cee128"
    "1b0e8f60a9fd6c7cee3090705959ff6dc79b40e5af57038b8f437e4351db618d3a68819c5f205981293754"
    "0533d0696d79ff55d1c2fc5305e0fa5507bb9411b9fff05b9c3e1a2e5c915d022c649d371b5846252ed5",
    16,
)
EXPONENT, NEXT_EXPONENT, MALLORYS_EXPONENT = 65537, 65539, 257


@dataclass(frozen=True)
class Reply:
    """What an endpoint answers. `never` does not, `drips` takes an hour for each byte."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: JSON)
    body: bytes = b"{}"
    never: bool = False
    drips: bool = False


@dataclass(frozen=True)
class Lie:
    """In what a provider, or somebody on the way, deceives. A value of None leaves a field out."""

    claims: Mapping[str, Any] = field(default_factory=dict)  # of the ID token
    header: Mapping[str, Any] = field(default_factory=dict)  # of the ID token
    # or with "another key", "the withdrawn key", "nothing", "the secret", "the public key"
    signed: str = "rightly"
    token: Mapping[str, Any] = field(default_factory=dict)  # of the token endpoint's answer
    userinfo: Mapping[str, Any] = field(default_factory=dict)
    answer: Mapping[str, Any] = field(default_factory=dict)  # what the browser brings back
    code: str = ""  # in place of one that is drawn; no lie, but a provider may have odd ones
    access_token: str = ""  # the same
    metadata: Mapping[str, Any] = field(default_factory=dict)
    replies: Mapping[str, Reply] = field(default_factory=dict)  # by the endpoint's name


HONEST = Lie()


@dataclass
class _Grant:
    """What a code stands for."""

    person: Mapping[str, Any]
    asked: Mapping[str, str]
    lie: Lie
    spent: bool = False
    times: int = 0  # that it was sent


class Provider:
    """One provider with one client, which is us."""

    def __init__(
        self,
        issuer: str,
        client_id: str,
        client_secret: str,
        kind: str = "openid",
        promises_iss: bool = True,
        key: Any = None,
    ) -> None:
        self.issuer, self.kind, self.promises_iss = issuer, kind, promises_iss
        self.client_id, self.client_secret = client_id, client_secret
        self.lie = HONEST  # while there is nobody at the page to choose one
        self.asked: list[dict[str, str]] = []  # what each browser came with
        self.forms: list[dict[str, str]] = []  # what came to the token endpoint
        self.times = 0  # that the code came which came last
        self.given: list[dict[str, Any]] = []  # the tokens that it gave out
        self.tell: Callable[[str], None] = lambda _: None  # gets why it refuses a code
        self._key = key
        self._withdrawn: tuple[Any, str] = None, ""
        self._grants: dict[str, _Grant] = {}
        self._tokens: dict[str, _Grant] = {}

    # --- the browser's part ---------------------------------------------------------------------

    def check(self, address: str) -> dict[str, str]:
        """Return what an address to log in at asks for. Raises ValueError as a provider would."""
        url = urlsplit(address)
        pairs = _pairs(url.query)
        asked = dict(pairs)
        if len(pairs) != len(asked):
            raise ValueError("A parameter comes twice.")
        if f"{url.scheme}://{url.netloc}{url.path}" != self.addresses["authorization_endpoint"]:
            there = self.addresses["authorization_endpoint"]
            raise ValueError(f"it leads to {address:.60}. People log in at {there}.")
        if asked.get("client_id") != self.client_id:
            raise ValueError("This provider does not know the client.")
        if asked.get("response_type") != "code":
            raise ValueError("`response_type` is not `code`.")
        if self.kind == "openid" and "openid" not in asked.get("scope", "").split(" "):
            raise ValueError("Without the scope `openid` there is no ID token.")
        return asked

    def answer(self, address: str, person: Mapping[str, Any], lie: Lie = HONEST) -> str:
        """Let somebody log in at an address; return the one that the browser is sent on to."""
        said, leads = self.said(address, person, lie)
        return f"{leads}?{urlencode(said)}"

    def said(
        self, address: str, person: Mapping[str, Any], lie: Lie = HONEST
    ) -> tuple[dict[str, Any], str]:
        """Let somebody log in at an address; return the answer, and where it is brought."""
        asked = self.check(address)
        self.asked.append(asked)
        code = lie.code or secrets.token_urlsafe(16)
        self._grants[code] = _Grant(person, asked, lie)
        said = {"code": code, "state": asked.get("state", "")}
        if self.promises_iss:
            said["iss"] = self.issuer
        return _changed(said, lie.answer), asked.get("redirect_uri", "")

    # --- what we ask it ourselves ---------------------------------------------------------------

    @cached_property
    def addresses(self) -> dict[str, str]:
        """Where it answers what."""
        if self.kind == "github":
            return {
                "authorization_endpoint": "https://github.com/login/oauth/authorize",
                "token_endpoint": "https://github.com/login/oauth/access_token",
                "userinfo_endpoint": "https://api.github.com/user",
            }
        names = {"authorization_endpoint": "authorize", "token_endpoint": "token"}
        names |= {"userinfo_endpoint": "userinfo", "jwks_uri": "keys"}
        return {name: f"{self.issuer.rstrip('/')}/{path}" for name, path in names.items()}

    @cached_property
    def hosts(self) -> set[str]:
        """The hosts on which it answers."""
        return {urlsplit(each).netloc for each in (self.issuer, *self.addresses.values())}

    def reply(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """Answer a request."""
        address = url.partition("?")[0]
        if address == self.issuer.rstrip("/") + DISCOVERY and self.kind == "openid":
            return self.lie.replies.get("metadata") or _json(self._metadata())
        names = {there: name for name, there in self.addresses.items()}
        match names.get(address), method:
            case "jwks_uri", "GET":
                keys = {"keys": [_public(self.key, self.kid)]}
                return self.lie.replies.get("jwks_uri") or _json(keys)
            case "token_endpoint", "POST":
                return self._token(headers, body)
            case "userinfo_endpoint", "GET":
                return self._userinfo(headers)
        return Reply(404)

    def _metadata(self) -> dict[str, Any]:
        said = {
            "issuer": self.issuer,
            **self.addresses,
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
            "authorization_response_iss_parameter_supported": self.promises_iss,
        }
        return _changed(said, self.lie.metadata)

    def _token(self, headers: Mapping[str, str], body: bytes) -> Reply:
        form = dict(parse_qsl(body.decode("latin-1"), keep_blank_values=True))
        self.forms.append(form)
        if not self._knows(headers, form):
            self.tell(f"{self.issuer} says invalid_client: it is not the client, or its secret")
            return _json({"error": "invalid_client"}, 401)
        grant = self._grants.get(form.get("code", ""))
        if grant:
            grant.times += 1
            self.times = grant.times
        if grant is None or (wrong := _misfit(form, grant)):
            self.tell(f"{self.issuer} says invalid_grant: {wrong if grant else 'no such code'}")
            return _json({"error": "invalid_grant"}, 200 if self.kind == "github" else 400)
        grant.spent = True
        lie = grant.lie
        if "token_endpoint" in lie.replies:
            return lie.replies["token_endpoint"]
        access_token = lie.access_token or secrets.token_urlsafe(16)
        self._tokens[access_token] = grant
        said: dict[str, Any] = {"access_token": access_token, "token_type": "Bearer"}
        if self.kind == "openid":
            said["expires_in"] = 300
            is_replaced = "id_token" in lie.token and not callable(lie.token["id_token"])
            if not is_replaced:  # to sign takes its time
                said["id_token"] = self.id_token_of(grant.person, grant.asked, lie)
        self.given.append(said)
        return _json(_changed(said, lie.token))

    def _knows(self, headers: Mapping[str, str], form: Mapping[str, str]) -> bool:
        """Whether it is our service that asks, by either way that providers take."""
        given = form.get("client_id", ""), form.get("client_secret", "")
        how, _, basic = headers.get("authorization", "").partition(" ")
        if how.lower() == "basic":
            name, _, secret = base64.b64decode(basic).decode().partition(":")
            given = unquote(name), unquote(secret)
        return given == (self.client_id, self.client_secret)

    def _userinfo(self, headers: Mapping[str, str]) -> Reply:
        grant = self._tokens.get(headers.get("authorization", "").partition(" ")[2])
        if grant is None:
            return Reply(401)
        said = _changed(dict(grant.person), grant.lie.userinfo)
        return grant.lie.replies.get("userinfo_endpoint") or _json(said)

    # --- the ID token ---------------------------------------------------------------------------

    @property
    def key(self) -> Any:
        """What signs."""
        if self._key is None:
            self._key = known_key()
        return self._key

    @property
    def kid(self) -> str:
        """The name of the key."""
        return hashlib.sha256(f"{self.issuer}{self._withdrawn[1]}".encode()).hexdigest()[:8]

    def withdraw_key(self) -> None:
        """Sign with another key from now on, as after a leak."""
        self._withdrawn = self.key, self.kid
        self._key = known_key(NEXT_EXPONENT)

    def id_token_of(self, person: Mapping[str, Any], asked: Mapping[str, str], lie: Lie) -> str:
        """Return an ID token of somebody who came with what is asked."""
        now = int(time.time())
        said = {
            "iss": self.issuer,
            "sub": person["sub"],
            "aud": self.client_id,
            "iat": now,
            "exp": now + 300,
            "nonce": asked.get("nonce"),
        }
        claims = _changed(said, lie.claims)
        alg = {"nothing": "none", "the secret": "HS256", "the public key": "HS256"}
        kid = self._withdrawn[1] if lie.signed == "the withdrawn key" else self.kid
        header = {"alg": alg.get(lie.signed, "RS256"), "kid": kid, "typ": "JWT"}
        return self._sign(_changed(header, lie.header), claims, lie.signed)

    def _sign(self, header: dict[str, Any], claims: dict[str, Any], how: str) -> str:
        text = ".".join(_base64(json.dumps(each).encode()) for each in (header, claims))
        match how:
            case "nothing":
                signature = b""
            case "the secret":
                signature = _hmac(self.client_secret.encode(), text)
            case "the public key":
                signature = _hmac(_pem(self.key), text)
            case "another key":
                signature = _rsa(another_key(), text)
            case "the withdrawn key":
                signature = _rsa(self._withdrawn[0], text)
            case _:
                signature = _rsa(self.key, text)
        return f"{text}.{_base64(signature)}"


@lru_cache(64)  # tests log in at one address over and over
def _pairs(query: str) -> list[tuple[str, str]]:
    return parse_qsl(query, keep_blank_values=True)


def _changed(said: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is said with some of it changed; a function gets the value that was there."""
    new = dict(said)
    for name, value in changes.items():
        new[name] = value(said.get(name)) if callable(value) else value
    return {name: value for name, value in new.items() if value is not None}


def _misfit(form: Mapping[str, str], grant: _Grant) -> str:
    """Return what is wrong with a code's use (RFC 6749 section 4.1.3, RFC 7636), or nothing."""
    asked = grant.asked
    if grant.spent:
        return "the code is spent"
    if form.get("grant_type") != "authorization_code":
        return "the grant_type is no code's"
    if form.get("redirect_uri") != asked.get("redirect_uri"):
        return "redirect_uri is not the one that the login began with"
    challenge = asked.get("code_challenge", "")
    verifier = form.get("code_verifier", "")
    if challenge and asked.get("code_challenge_method", "plain") == "S256":
        verifier = _base64(hashlib.sha256(verifier.encode()).digest()) if verifier else ""
    if challenge and verifier != challenge:  # whoever asks for no PKCE gets none
        return "the verifier does not fit the challenge"
    return ""


def _json(said: Any, status: int = 200) -> Reply:
    return Reply(status, JSON, json.dumps(said).encode())


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")


@cache
def known_key(exponent: int = EXPONENT) -> Any:
    """Build a key of tests: without a check of its primes, which takes 50 ms."""
    from cryptography.hazmat.primitives.asymmetric import rsa

    p, q, e = KNOWN_P, KNOWN_Q, exponent
    d = pow(e, -1, (p - 1) * (q - 1))
    public = rsa.RSAPublicNumbers(e, p * q)
    numbers = rsa.RSAPrivateNumbers(p, q, d, d % (p - 1), d % (q - 1), pow(q, -1, p), public)
    return numbers.private_key(unsafe_skip_rsa_key_validation=True)


def another_key() -> Any:
    """Return mallory's key: the known one with another exponent."""
    return known_key(MALLORYS_EXPONENT)


def new_key() -> Any:
    """Draw a key that nobody else has."""
    from cryptography.hazmat.primitives.asymmetric import rsa

    return rsa.generate_private_key(65537, 2048)


@lru_cache(256)  # the same for the same text, and it takes as long as half a login
def _rsa(key: Any, text: str) -> bytes:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding

    signature: bytes = key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
    return signature


def _pem(key: Any) -> bytes:
    from cryptography.hazmat.primitives import serialization as form

    pem: bytes = key.public_key().public_bytes(
        form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo
    )
    return pem


def _public(key: Any, kid: str) -> dict[str, str]:
    numbers = key.public_key().public_numbers()
    n, e = (
        _base64(each.to_bytes(-(-each.bit_length() // 8), "big")) for each in (numbers.n, numbers.e)
    )
    return {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": kid, "n": n, "e": e}


async def app(scope: Any, receive: Any, send: Any) -> None:
    """The provider of a class, with a page. See `provider_page`."""
    await _page()(scope, receive, send)


@cache
def _page() -> Any:
    from lessons.harness.provider_page import Page

    return Page()
