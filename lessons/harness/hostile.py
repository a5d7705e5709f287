"""The passwords and tokens that every lesson must refuse, each without a crash.

One list, replayed from the lesson that teaches the defence to the last one.
"""

import base64
import hashlib
import hmac
import html
import json
import time
import unicodedata
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, unquote

TOO_LATE = 75  # seconds; a leeway of up to 60 is a matter of taste, and the clock has its second

# Texts, not bytes: a lone surrogate cannot be encoded. "empty" is last, since some forms drop it.
HOSTILE_PASSWORDS = {
    "a NUL inside": "secret\0",
    "only a NUL": "\0",
    "73 bytes": "a" * 73,
    "72 times e with an accent": "\u00e9" * 72,
    "a lone surrogate": "\ud800",
    "1 MB": "a" * 1_000_000,
    "empty": "",
}


def misread(password: str) -> dict[str, str]:
    """Return what well-meaning code takes for a password, by name. Each is a wrong password.

    Give one in which there is something to misread: blanks, `&amp;`, `%2B`, `+` and an accent.
    """
    near = {
        "with Caps Lock": password.swapcase(),
        "in capitals": password.upper(),
        "in small letters": password.lower(),
        "with a telephone's first letter": password[:1].swapcase() + password[1:],
        "with a blank before": " " + password,
        "with a blank behind": password + " ",
        "with a line end behind": password + "\n",
        "without the blanks around it": password.strip(),
        "without its blanks": password.replace(" ", ""),
        "escaped for HTML": html.escape(password),
        "read as HTML": html.unescape(password),
        "percent-encoded": quote(password),
        "percent-decoded": unquote(password),
        "with blanks for +": password.replace("+", " "),
        "with + for blanks": password.replace(" ", "+"),
        "with its accents apart": unicodedata.normalize("NFD", password),
        "with a full-width letter": chr(ord(password[0]) + 0xFEE0) + password[1:],
        "without what is not ASCII": password.encode("ascii", "ignore").decode(),
        "with ? for what is not ASCII": password.encode("ascii", "replace").decode(),
        "with backslashes": password.encode("unicode_escape").decode(),
        "with its backslashes read": password.encode("latin-1").decode("unicode_escape"),
        "read as Latin-1": password.encode().decode("latin-1"),
        "in quotes": f'"{password}"',
        "without its last letter": password[:-1],
        "with one letter more": password + "x",
        "its first half": password[: len(password) // 2],
        "backwards": password[::-1],
    }
    return {name: each for name, each in near.items() if each != password}


def take_apart(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a token's header and claims, as anyone can read them."""
    header, claims, _ = token.split(".")
    return json.loads(_unbase64(header)), json.loads(_unbase64(claims))


def sign(
    claims: dict[str, Any] | str,
    key: str | bytes,
    alg: str = "HS256",
    header: dict[str, Any] | None = None,
) -> str:
    """Make a token by hand, so that it can be as wrong as mallory likes.

    `alg` none leaves the signature empty. A claim or header set to None is left out.
    """
    head = {"alg": alg, "typ": "JWT", **(header or {})}
    body = claims if isinstance(claims, str) else json.dumps(_without_none(claims))
    signed = _base64(json.dumps(_without_none(head)).encode()) + "." + _base64(body.encode())
    if alg.lower() == "none":
        return signed + "."
    digest = getattr(hashlib, f"sha{alg[2:]}")
    secret = key.encode() if isinstance(key, str) else key
    return signed + "." + _base64(hmac.new(secret, signed.encode(), digest).digest())


def spliced(good: str, forged: str) -> Iterator[str]:
    """Return the parts of a good token with some of a forged one before, behind or among them.

    Whoever counts the parts of such a token from both ends believes one part for another's sake.
    """
    ours, (header, claims, signature) = good.split("."), forged.split(".")
    for theirs in ([claims], [header, claims], [header, claims, signature]):
        for place in range(len(ours) + 1):
            yield ".".join([*ours[:place], *theirs, *ours[place:]])


def untimely(claims: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return claims at which a token is dead or not yet born, with each way to write a number."""
    now = int(time.time())
    moments = {"exp": now - TOO_LATE, "nbf": now + 3600, "iat": now + 86_400}
    return {
        f"{name} {moment}": claims | {name: moment}
        for name, whole in moments.items()
        for moment in (whole, whole + 0.5, float(whole))
    }


def hostile_tokens(good: str, key: str, huge: int = 1_000_000) -> dict[str, str]:
    """Return what mallory makes of a good token that `key` signed. None may be accepted.

    Most are one change away from `good`, so that they can only be refused for that change. `huge`
    is the length of the longest, in characters.
    """
    _, claims = take_apart(good)
    head, body, signature = good.split(".")
    now = int(time.time())
    edited = _base64(json.dumps(claims | {"sub": "carol"}).encode())
    nested = _base64(b'{"alg":"HS256","x":' + b"[" * 5000 + b"]" * 5000 + b"}")
    return {
        "alg none": sign(claims, key, "none"),
        "alg None": sign(claims, key, "None"),
        "alg NONE": sign(claims, key, "NONE"),
        "alg nOnE": sign(claims, key, "nOnE"),
        "no signature": f"{head}.{body}.",
        "edited claims": f"{head}.{edited}.{signature}",
        "edited claims before a good token": f"{head}.{edited}.{good}",
        "another key": sign(claims, "mallory" * 8),
        "an empty key": sign(claims, ""),
        "its own key in the header": sign(
            claims, "m" * 32, header={"jwk": {"kty": "oct", "k": _base64(b"m" * 32)}}
        ),
        "alg RS256": sign(claims, key, header={"alg": "RS256"}),
        "alg PS256": sign(claims, key, header={"alg": "PS256"}),
        "alg ES256": sign(claims, key, header={"alg": "ES256"}),
        "alg EdDSA": sign(claims, key, header={"alg": "EdDSA"}),
        "not yet valid": sign(claims | {"nbf": now + 3600}, key),
        "not yet valid, with a fraction": sign(claims | {"nbf": now + 3600.5}, key),
        "HS384": sign(claims, key, "HS384"),
        "HS512": sign(claims, key, "HS512"),
        "unknown critical header": sign(claims, key, header={"crit": ["x"], "x": 1}),
        "no exp": sign(claims | {"exp": None}, key),
        "the first half of the key": sign(claims, key[: len(key) // 2]),
        "the issuer for a key": sign(claims, str(claims.get("iss"))),
        "its key id for a key": sign(claims, "m" * 32, header={"kid": "m" * 32}),
        "an empty file for a key": sign(claims, "", header={"kid": "../../../../dev/null"}),
        "expired": sign(claims | {"exp": now - TOO_LATE}, key),
        "expired, with a fraction": sign(claims | {"exp": now - TOO_LATE + 0.5}, key),
        "issued tomorrow": sign(claims | {"iat": now + 86_400}, key),
        "exp is infinite": sign(claims | {"exp": float("inf")}, key),
        "exp is a text": sign(claims | {"exp": "tomorrow"}, key),
        "exp is a list": sign(claims | {"exp": [now + 600]}, key),
        "exp is no number": sign(claims | {"exp": float("nan")}, key),
        "no iat": sign(claims | {"iat": None}, key),
        "no sub": sign(claims | {"sub": None}, key),
        "sub is a number": sign(claims | {"sub": 1}, key),
        "no iss": sign(claims | {"iss": None}, key),
        "another iss": sign(claims | {"iss": "https://mallory.example"}, key),
        "no aud": sign(claims | {"aud": None}, key),
        "another aud": sign(claims | {"aud": "billing"}, key),
        "no type": sign(claims | {"type": None}, key),
        "its type in the header": sign(claims | {"type": None}, key, header={"typ": "access"}),
        "refresh token": sign(claims | {"type": "refresh"}, key),
        "claims are a list": sign("[]", key),
        "claims are no JSON": sign("{", key),
        "empty": "",
        "not a token": "not.a.token",
        "two tokens joined": good + good,
        "not ASCII": "\u00e9.\u00e9.\u00e9",
        "a lone surrogate": good + "\ud800",
        "header nested 5,000 deep": f"{nested}.{body}.{signature}",
        "signed, but too long": sign(claims | {"x": "a" * 10_000}, key),
        "huge": "a" * huge,
        "huge, three parts": f"{head}.{'a' * huge}.{signature}",
    }


def _without_none(claims: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in claims.items() if value is not None}


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _unbase64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
