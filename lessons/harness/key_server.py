"""Signing keys of a test: a folder of this app's own, and other services' that publish theirs.

No socket is opened: the key sets are all of the internet that there is (see `internet`).
"""

import base64
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lessons.harness.brought_keys import E, P, Q
from lessons.harness.internet import Internet, internet_of
from lessons.harness.provider import Reply

ALGORITHMS = {"ES256": "P-256", "EdDSA": "Ed25519", "RS256": "RSA"}
OTHER_CURVES = {"ES384": "P-384", "ES512": "P-521", "ES256K": "secp256k1"}


@dataclass(frozen=True)
class Pair:
    """A private key, its public part as a JWK, and how to sign with it."""

    private: Any = field(repr=False)
    alg: str
    jwk: Mapping[str, Any]

    @property
    def kid(self) -> str:
        return str(self.jwk["kid"])

    def named(self, kid: Any) -> "Pair":
        """Return the same key under another name."""
        return replace(self, jwk={**self.jwk, "kid": kid})

    def sign(self, claims: Any, header: Mapping[str, Any] | None = None, alg: str = "") -> str:
        """Make a token by hand, so that it can be as wrong as mallory likes.

        A header or a claim of None is left out. `claims` may be a text instead.
        """
        head = {"alg": self.alg, "typ": "at+jwt", "kid": self.kid, **(header or {})}
        body = claims if isinstance(claims, str) else json.dumps(_without_none(claims))
        return self.sign_text(json.dumps(_without_none(head)), body, alg)

    def sign_text(self, header: str, claims: str, alg: str = "") -> str:
        """Sign a header as it is written, and claims. `alg`: what is computed, whatever it says."""
        signed = f"{encoded(header.encode())}.{encoded(claims.encode())}"
        return f"{signed}.{encoded(self.signature(signed.encode(), alg or self.alg))}"

    def signature(self, data: bytes, alg: str) -> bytes:
        """Return the signature of some bytes, as RFC 7518 writes it."""
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec, padding, utils

        if alg in ("EdDSA", "Ed25519"):
            return bytes(self.private.sign(data))
        digest = getattr(hashes, f"SHA{alg[2:5]}")()
        if alg.startswith("ES"):
            size = (self.private.curve.key_size + 7) // 8
            r, s = utils.decode_dss_signature(self.private.sign(data, ec.ECDSA(digest)))
            return r.to_bytes(size, "big") + s.to_bytes(size, "big")
        pads: dict[str, Any] = {
            "R": padding.PKCS1v15(),
            "P": padding.PSS(padding.MGF1(digest), digest.digest_size),
        }
        return bytes(self.private.sign(data, pads[alg[0]], digest))


def _without_none(said: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in said.items() if value is not None}


def encoded(data: bytes) -> str:
    """Return bytes in base64 as tokens have it."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def draw(alg: str = "ES256", kid: str = "") -> Pair:
    """Draw a key; RS256 has always the same one, since to draw it takes long."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519

    if alg == "RS256":
        return _pair(_rsa(), alg, kid)
    if alg == "EdDSA":
        return _pair(ed25519.Ed25519PrivateKey.generate(), alg, kid)
    curves = {"ES256": ec.SECP256R1, "ES384": ec.SECP384R1, "ES512": ec.SECP521R1}
    return _pair(ec.generate_private_key(curves.get(alg, ec.SECP256K1)()), alg, kid)


@cache
def _rsa() -> Any:
    from cryptography.hazmat.primitives.asymmetric import rsa

    d = rsa.rsa_recover_private_exponent(E, P, Q)
    parts = rsa.rsa_crt_dmp1(d, P), rsa.rsa_crt_dmq1(d, Q), rsa.rsa_crt_iqmp(P, Q)
    numbers = rsa.RSAPrivateNumbers(P, Q, d, *parts, rsa.RSAPublicNumbers(E, P * Q))
    return numbers.private_key(unsafe_skip_rsa_key_validation=True)


def _pair(private: Any, alg: str, kid: str) -> Pair:
    """Name a key by RFC 7638 unless it has a name."""
    public = private.public_key()
    if alg == "RS256":
        numbers = public.public_numbers()
        members = {"e": _number(numbers.e, 3), "kty": "RSA", "n": _number(numbers.n, 256)}
    elif alg == "EdDSA":
        members = {"crv": "Ed25519", "kty": "OKP", "x": encoded(public.public_bytes_raw())}
    else:
        numbers, size = public.public_numbers(), (private.curve.key_size + 7) // 8
        curve = {"ES256": "P-256", **OTHER_CURVES}[alg]
        point = {"x": _number(numbers.x, size), "y": _number(numbers.y, size)}
        members = {"crv": curve, "kty": "EC", **point}
    return Pair(private, alg, {**members, "kid": kid or thumbprint(members)})


def thumbprint(members: Mapping[str, Any]) -> str:
    """Return the RFC 7638 name of a public key: a digest of what makes it, in alphabetic order."""
    needed = {name: members[name] for name in sorted(members) if name in ("crv", "kty", *"enxy")}
    text = json.dumps(needed, separators=(",", ":"))
    return encoded(hashlib.sha256(text.encode()).digest())


def _number(number: int, size: int) -> str:
    return encoded(number.to_bytes(size, "big"))


class KeyFolder:
    """The folder that SIGNING_KEYS_DIR names."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(mode=0o700, exist_ok=True)

    def clear(self) -> None:
        for file in self.path.iterdir():
            file.unlink()

    def add(self, signs_from: datetime, pair: Pair | None = None) -> Pair:
        """Put a key there that signs from a moment, as `rotate_keys` does; a new one without."""
        from cryptography.hazmat.primitives import serialization as form

        pair = pair or draw()
        pem = pair.private.private_bytes(
            form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption()
        )
        path = self._path(signs_from)
        path.touch(0o600)
        path.write_bytes(pem)
        return pair

    def remove(self, signs_from: datetime) -> None:
        self._path(signs_from).unlink()

    def _path(self, signs_from: datetime) -> Path:
        return self.path / signs_from.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ.pem")


class KeyServer:
    """Another service, which publishes its keys at one address. It can be hostile, or gone."""

    def __init__(self, address: str, *pairs: Pair) -> None:
        self.address = address
        self.hosts = (urlsplit(address).netloc,)
        self.keys: list[Any] = [dict(pair.jwk) for pair in pairs]
        self.instead: Reply | None = None  # of the key set

    def reply(self, method: str, url: str, headers: Any, body: bytes) -> Reply:
        if url.partition("?")[0] != self.address:
            return Reply(404)
        return self.instead or Reply(body=json.dumps({"keys": self.keys}).encode())


@contextmanager
def key_servers(*servers: KeyServer) -> Iterator[Internet]:
    """Let these be all that can be reached in the block."""
    with internet_of(*servers) as internet:  # type: ignore[arg-type]
        yield internet


class Clock:
    """Seconds that go by when they are told to."""

    def __init__(self) -> None:
        self.now = 10_000.0

    def __call__(self) -> float:
        return self.now

    def on(self, seconds: float) -> None:
        self.now += seconds


def disguises(pair: Pair) -> dict[str, bytes]:
    """Return what well-meaning code may take for the bytes of a public key, by name."""
    from cryptography.hazmat.primitives import serialization as form

    public = pair.private.public_key()
    spki = form.PublicFormat.SubjectPublicKeyInfo
    pem = public.public_bytes(form.Encoding.PEM, spki)
    der = public.public_bytes(form.Encoding.DER, spki)
    found = {
        "its PEM": pem,
        "its PEM with CRLF": pem.replace(b"\n", b"\r\n"),
        "its PEM without the last line end": pem.strip(),
        "its PEM in one line": pem.replace(b"\n", b""),
        "its PEM with \\n": pem.replace(b"\n", b"\\n"),
        "the body of its PEM": b"".join(pem.splitlines()[1:-1]),
        "its DER": der,
        "its DER in hex": der.hex().encode(),
        "its kid": pair.kid.encode(),
        "an empty text": b"",
        "32 zeros": bytes(32),
    }
    for name, members in {"its JWK": dict(pair.jwk), "its bare JWK": _bare(pair)}.items():
        found[name] = json.dumps(members).encode()
        found[f"{name}, sorted"] = json.dumps(members, sort_keys=True).encode()
        found[f"{name} without blanks"] = json.dumps(
            members, sort_keys=True, separators=(",", ":")
        ).encode()
    for name in ("x", "y", "n"):
        if name in pair.jwk:
            found[f"its {name} as written"] = pair.jwk[name].encode()
            found[f"the bytes of its {name}"] = base64.urlsafe_b64decode(pair.jwk[name] + "==")
    if pair.alg.startswith("ES"):
        for what, shape in {
            "its point": form.PublicFormat.UncompressedPoint,
            "its point, compressed": form.PublicFormat.CompressedPoint,
        }.items():
            point = public.public_bytes(form.Encoding.X962, shape)
            found |= {what: point, f"{what}, without the first byte": point[1:]}
    return found


def _bare(pair: Pair) -> dict[str, Any]:
    return {name: pair.jwk[name] for name in pair.jwk if name in ("crv", "kty", *"enxy")}


def odd_entries() -> dict[str, Any]:
    """Return what may stand in somebody's key set beside the keys, by name."""
    good = draw()
    return {
        "an encryption key": {**good.jwk, "kid": "enc", "use": "enc"},
        "a point off its curve": {**good.jwk, "kid": "off", "y": good.jwk["x"]},
        "no coordinates": {"kty": "EC", "crv": "P-256", "kid": "none"},
        "a curve that nobody knows": {
            "kty": "EC",
            "crv": "P-999",
            "x": "AA",
            "y": "AA",
            "kid": "q",
        },
        "another curve": dict(draw("ES384", "p384").jwk),
        "secp256k1": dict(draw("ES256K", "k1").jwk),
        "X25519": {"kty": "OKP", "crv": "X25519", "x": encoded(bytes(32)), "kid": "x25519"},
        "a new kind": {"kty": "AKP", "alg": "ML-DSA-44", "pub": "AA", "kid": "pq"},
        "a secret": {"kty": "oct", "k": encoded(b"m" * 32), "kid": "oct", "alg": "HS256"},
        "numbers for texts": {"kty": "EC", "crv": "P-256", "x": 1, "y": [], "kid": "numbers"},
        "a kid of another type": {**good.jwk, "kid": ["a"]},
        "no kid": {name: good.jwk[name] for name in good.jwk if name != "kid"},
        "no object": "key",
        "null": None,
        "an empty one": {},
    }


def claims_for(issuer: str, audience: str, **changes: Any) -> dict[str, Any]:
    """Return the claims of a good access token of this moment."""
    now = int(datetime.now(UTC).timestamp())
    return {
        "iss": issuer,
        "aud": audience,
        "sub": "erin",
        "exp": now + 600,
        "iat": now,
        "jti": os.urandom(8).hex(),
        "scope": "me items",
        **changes,
    }


MINUTE = timedelta(minutes=1)
