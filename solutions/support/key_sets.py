"""Public keys as JWK (RFC 7517), and how the set of another service is asked for."""

import asyncio
import base64
import json
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

import httpx2
from joserfc.jwk import ECKey, OKPKey, RSAKey

from .bounded_http import Bounded

CACHE_SECONDS = 300  # for which a key set may be kept, ours and others'
PAUSE_SECONDS = 60  # between two questions for keys that nobody knows
SECONDS, MAX_BYTES, MAX_KEYS = 3, 64 * 1024, 100
MIN_RSA_BITS = 2048  # RFC 7518 section 3.3
MAX_TOKEN_CHARACTERS, MAX_KID_CHARACTERS = 8192, 256
LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class VerifyingKey:
    """A public key, and the algorithms that it is for, whatever a token says."""

    kid: str
    jwk: ECKey | OKPKey | RSAKey
    algorithms: tuple[str, ...]


class Keys(Protocol):
    """Where somebody's public keys are found."""

    async def find(self, kid: str) -> VerifyingKey | None:
        """Return the key of that name, or None."""


class KeySetDown(Exception):
    """The key set is out of reach, or what came is none. The text is the kind of error."""


def kid_of(token: str) -> str:
    """Return which key a token says that it was signed with; empty for one that names none.

    Nothing is checked yet. A token that is too long is not read.
    """
    if len(token) > MAX_TOKEN_CHARACTERS:
        return ""
    try:
        header = token.partition(".")[0]
        kid = json.loads(base64.urlsafe_b64decode(header + "=" * (-len(header) % 4)))["kid"]
    except Exception:  # whatever hostile input makes of it
        return ""
    return kid if isinstance(kid, str) and len(kid) <= MAX_KID_CHARACTERS else ""


def import_keys(entries: list[Any]) -> dict[str, VerifyingKey]:
    """Return the keys of a set by their `kid`: those that can be told apart, and used here.

    An odd one is left out, and does no harm to the others. Of two with one `kid` neither counts:
    somebody could have added the second.
    """
    found: dict[str, list[VerifyingKey | None]] = {}
    for entry in entries[:MAX_KEYS]:
        kid = entry.get("kid") if isinstance(entry, dict) else None
        if isinstance(kid, str) and kid:
            found.setdefault(kid, []).append(_import_key(kid, entry))
    return {kid: keys[0] for kid, keys in found.items() if len(keys) == 1 and keys[0]}


def _import_key(kid: str, entry: dict[str, Any]) -> VerifyingKey | None:
    """Return a key for signatures, or None for any other entry."""
    if "d" in entry or "k" in entry or entry.get("use", "sig") != "sig":
        return None  # everybody has a private key that is published
    uses = entry.get("key_ops", ["verify"])
    if not isinstance(uses, list) or "verify" not in uses:
        return None
    try:
        match entry:
            case {"kty": "EC", "crv": "P-256"}:
                key = VerifyingKey(kid, ECKey.import_key(entry), ("ES256",))
            case {"kty": "OKP", "crv": "Ed25519"}:
                key = VerifyingKey(kid, OKPKey.import_key(entry), ("EdDSA", "Ed25519"))
            case {"kty": "RSA"}:
                rsa = RSAKey.import_key(entry)
                if rsa.public_key.key_size < MIN_RSA_BITS:
                    return None
                key = VerifyingKey(kid, rsa, ("RS256",))
            case _:
                return None
        _ = key.jwk.public_key  # a point off the curve shows here
    except Exception:  # of joserfc and cryptography, without a common base
        return None
    return key if entry.get("alg", key.algorithms[0]) in key.algorithms else None


def checked_address(address: str) -> str:
    """Return where a key set is. Raises ValueError unless it is https, or on this machine."""
    url = urlsplit(address)
    if url.scheme == "https" or (url.scheme == "http" and url.hostname in LOOPBACK):
        return address
    raise ValueError("A key set needs https: over http anybody puts keys into it.")


async def fetch_key_set(address: str) -> list[Any]:
    """Ask for a key set: three seconds in all, 64 KB, no redirect, no proxy. Raises KeySetDown."""
    transport = Bounded(SECONDS, MAX_BYTES)
    try:
        async with httpx2.AsyncClient(transport=transport, trust_env=False) as client:
            answer = await client.get(address, headers={"Accept": "application/json"})
        entries = answer.json()["keys"] if answer.status_code == 200 else None
    except Exception as error:  # of HTTP and JSON, and what hostile answers make of them
        raise KeySetDown(type(error).__name__) from None
    if not isinstance(entries, list):
        raise KeySetDown(f"status {answer.status_code}, and no list of keys")
    return entries


class OneFlight:
    """Lets many callers wait for one piece of work, which goes on when some of them leave."""

    def __init__(self) -> None:
        self._flight: asyncio.Task[None] | None = None

    async def join(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Begin the work, unless it is under way, and wait for its end."""
        if self._flight is None or self._flight.done():
            self._flight = asyncio.create_task(work())
        await asyncio.shield(self._flight)
