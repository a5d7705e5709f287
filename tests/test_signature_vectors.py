"""verify_token on signatures of the kinds that Project Wycheproof tries: ES256, Ed25519, RS256.

Its vectors come in no package, so these are made here: what is valid, however odd, is accepted, and
what is invalid in one thing is not.
"""

import asyncio
import hashlib
import json
from collections.abc import Iterator
from typing import Any

import pytest

from lessons.harness.key_server import Pair, claims_for, draw, encoded
from solutions.key_rotation import verify_token
from solutions.support.key_sets import VerifyingKey, import_keys
from solutions.tokens import InvalidToken

ISSUER, AUDIENCE = "https://login.example", "reports"
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
P256_PRIME = 0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF
ED25519_ORDER = 2**252 + 27742317777372353535851937790883648493
ED25519_PRIME = 2**255 - 19
SHA256_PREFIX = bytes.fromhex("3031300d060960864801650304020105000420")
Signed = tuple[str, bytes]


class OneKey:
    """A key set with one key."""

    def __init__(self, pair: Pair) -> None:
        self.keys = import_keys([dict(pair.jwk)])

    async def find(self, kid: str) -> VerifyingKey | None:
        return self.keys.get(kid)


def is_believed(pair: Pair, token: str) -> bool:
    try:
        asyncio.run(verify_token(token, OneKey(pair), ISSUER, AUDIENCE))
    except InvalidToken:
        return False
    return True


def message(pair: Pair, **header: Any) -> bytes:
    """Return what is signed: header and claims."""
    head = {"alg": pair.alg, "typ": "at+jwt", "kid": pair.kid, **header}
    parts = (head, claims_for(ISSUER, AUDIENCE))
    return ".".join(encoded(json.dumps(each).encode()) for each in parts).encode()


def token(signed: bytes, signature: bytes) -> str:
    return f"{signed.decode()}.{encoded(signature)}"


def judge(pair: Pair, valid: dict[str, str], invalid: dict[str, str]) -> None:
    refused = [name for name, each in valid.items() if not is_believed(pair, each)]
    believed = [name for name, each in invalid.items() if is_believed(pair, each)]
    assert not refused, f"{pair.alg}: valid, and refused: {refused}"
    assert not believed, f"{pair.alg}: invalid, and believed: {believed}"


# --- ES256 ----------------------------------------------------------------------------------


def wide(*numbers: int, size: int = 32) -> bytes:
    return b"".join(number.to_bytes(size, "big") for number in numbers)


def test_ecdsa() -> None:
    for _ in range(8):  # each with other numbers
        pair = draw("ES256")
        signed = message(pair)
        raw = pair.signature(signed, "ES256")
        r, s = int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")
        n, p = P256_ORDER, P256_PRIME
        valid = {"as it is": raw, "its malleable twin": wide(r, n - s)}
        special = [0, 1, 2, n - 1, n, n + 1, p - 1, p, p + 1, (n - 1) // 2, 2**256 - 1]
        invalid = {f"r={a:x} s={b:x}": wide(a, b) for a in special for b in special}
        invalid |= {f"r and s={b:x}": wide(r, b) for b in special}
        invalid |= {f"r={a:x} and s": wide(a, s) for a in special}
        invalid |= {
            "r and s exchanged": wide(s, r),
            "n - r": wide(n - r, s),
            "33 bytes each": wide(r, s, size=33),
            "a zero behind": raw + b"\0",
            "a zero before": b"\0" + raw,
            "r alone": raw[:32],
            "empty": b"",
            "one byte less": raw[:-1],
            "twice": raw * 2,
            "r plus n, 33 bytes": wide(r + n, s, size=33),
            "another message": pair.signature(signed + b"x", "ES256"),
            "SHA-384 of the message": pair.signature(signed, "ES384"),
        }
        if s + n < 2**256:
            invalid["s plus n"] = wide(r, s + n)
        judge(
            pair,
            {name: token(signed, each) for name, each in valid.items()},
            {name: token(signed, each) for name, each in invalid.items()}
            | dict(der_forms(signed, r, s)),
        )


def der_forms(signed: bytes, r: int, s: int) -> Iterator[tuple[str, str]]:
    """The other way to write two numbers, right and bent: none is for tokens."""
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

    der = encode_dss_signature(r, s)
    for name, each in {
        "DER": der,
        "DER with a long length": der[:1] + b"\x81" + der[1:],
        "DER with something behind": der + b"\0\0",
        "DER cut": der[:-1],
        "DER with zeros": encode_dss_signature(0, 0),
    }.items():
        yield name, token(signed, each)


def test_ecdsa_keys_that_are_none() -> None:
    good = draw("ES256").jwk
    zero, prime = encoded(bytes(32)), encoded(wide(P256_PRIME))
    for name, changes in {
        "the point at infinity": {"x": zero, "y": zero},
        "off the curve": {"x": good["y"], "y": good["x"]},
        "x is the prime": {"x": prime},
        "x too short": {"x": good["x"][:20]},
        "no y": {"y": None},
        "the curve of another": {"crv": "P-384"},
        "a curve written otherwise": {"crv": "p-256"},
        "parts that are numbers": {"x": 1, "y": 2},
    }.items():
        assert import_keys([{**good, **changes}]) == {}, name


# --- Ed25519 --------------------------------------------------------------------------------


def little(number: int) -> bytes:
    return number.to_bytes(32, "little")


def test_ed25519() -> None:
    pair = draw("EdDSA")
    signed = message(pair)
    raw = pair.signature(signed, "EdDSA")
    r, s = raw[:32], int.from_bytes(raw[32:], "little")
    order, prime = ED25519_ORDER, ED25519_PRIME
    invalid = {f"S plus {k} times the order": r + little(s + k * order) for k in range(1, 14)}
    invalid |= {f"S={k:x}": r + little(k) for k in (0, 1, order - 1, order, order + 1, 2**255)}
    points = (0, 1, prime - 1, prime, prime + 1, 2**255 - 1, 2**256 - 1)
    invalid |= {f"R={k:x} and S": little(k) + little(s) for k in points}
    invalid |= {f"R={k:x} and S=0": little(k) + bytes(32) for k in points}
    invalid |= {f"bit {n} of R": _bit(raw, n) for n in range(0, 256, 15)}
    invalid |= {f"bit {n} of S": _bit(raw, n) for n in range(256, 512, 15)}
    invalid |= {
        "empty": b"",
        "cut": raw[:-1],
        "a byte more": raw + b"\0",
        "R twice": r + r,
        "S before R": raw[32:] + r,
        "of the digest": pair.signature(hashlib.sha512(signed).digest(), "EdDSA"),
        "in capitals of hex": raw.hex().upper().encode(),
    }
    fully = message(pair, alg="Ed25519")  # its name in RFC 9864
    judge(
        pair,
        {
            "as it is": token(signed, raw),
            "by its newer name": token(fully, pair.signature(fully, "EdDSA")),
        },
        {name: token(signed, each) for name, each in invalid.items()},
    )


def _bit(data: bytes, at: int) -> bytes:
    changed = bytearray(data)
    changed[at // 8] ^= 1 << at % 8
    return bytes(changed)


# --- RS256 ----------------------------------------------------------------------------------


def test_rsa() -> None:
    pair = draw("RS256")
    signed = message(pair)
    raw = pair.signature(signed, "RS256")
    numbers = pair.private.private_numbers()
    n, d, size = numbers.public_numbers.n, numbers.d, len(raw)
    digest = hashlib.sha256(signed).digest()
    other = hashlib.sha512(signed).digest()
    sha512 = bytes.fromhex("3051300d060960864801650304020305000440")
    right = SHA256_PREFIX + digest

    def padded(
        info: bytes, start: bytes = b"\0\1", fill: bytes = b"\xff", end: bytes = b"\0"
    ) -> bytes:
        middle = fill * (size - len(start) - len(end) - len(info))
        return start + middle + end + info

    blocks = {
        "no algorithm": padded(digest),
        "SHA-512": padded(sha512 + other),
        "SHA-256, called SHA-512": padded(sha512[:-1] + b"\x20" + digest),
        "without NULL": padded(
            bytes.fromhex("302f300b0609608648016503040201") + b"\4\x20" + digest
        ),
        "a wrong length": padded(SHA256_PREFIX[:-1] + b"\x21" + digest),
        "another digest": padded(SHA256_PREFIX + hashlib.sha256(b"x").digest()),
        "block type 0": padded(right, start=b"\0\0", fill=b"\0"),
        "block type 2": padded(right, start=b"\0\2"),
        "padding of zeros": padded(right, fill=b"\0"),
        "padding of ones": padded(right, fill=b"\1"),
        "no end of the padding": padded(right, end=b"\xff"),
        "garbage behind (CVE-2006-4339)": (b"\0\1" + b"\xff" * 8 + b"\0" + right).ljust(size, b"x"),
        "garbage in the parameters": (
            b"\0\1" + b"\xff" * 8 + b"\0" + right[:17] + b"g" * 90 + right[17:]
        ).ljust(size, b"\0"),
        "a first byte": padded(right, start=b"\1\1"),
    }
    assert pow(int.from_bytes(padded(right), "big"), d, n).to_bytes(size, "big") == raw
    forged = {name: pow(int.from_bytes(block, "big") % n, d, n) for name, block in blocks.items()}
    invalid = {name: number.to_bytes(size, "big") for name, number in forged.items()}
    number = int.from_bytes(raw, "big")
    invalid |= {
        "empty": b"",
        "zero": bytes(size),
        "one": (1).to_bytes(size, "big"),
        "n": n.to_bytes(size, "big"),
        "n minus one": (n - 1).to_bytes(size, "big"),
        "a zero before": b"\0" + raw,
        "a zero behind": raw + b"\0",
        "cut": raw[:-1],
        "plus n": (number + n).to_bytes(size + 1, "big"),
        "PSS": pair.signature(signed, "PS256"),
        "SHA-384": pair.signature(signed, "RS384"),
    }
    judge(
        pair,
        {"as it is": token(signed, raw)},
        {name: token(signed, each) for name, each in invalid.items()},
    )


# --- the three parts, whatever the algorithm ------------------------------------------------


@pytest.mark.parametrize("alg", ["ES256", "EdDSA", "RS256"])
def test_three_parts_in_base64(alg: str) -> None:
    pair = draw(alg)
    signed = message(pair)
    good = token(signed, pair.signature(signed, alg))
    head, body, signature = good.split(".")
    loose = f'{{ "typ":"AT+JWT" ,\n"kid":"{pair.kid}","alg":"{alg}"}}'
    valid = {
        "as it is": good,
        "JSON with blanks": pair.sign_text(loose, json.dumps(claims_for(ISSUER, AUDIENCE))),
        "claims with accents": pair.sign(claims_for(ISSUER, AUDIENCE, name="Zo\u00eb \u4e2d")),
        "an unknown claim": pair.sign(claims_for(ISSUER, AUDIENCE, x={"y": [1, None]})),
    }
    invalid = {
        "two parts": f"{head}.{body}",
        "four parts": f"{good}.",
        "a part before": f".{good}",
        "parts exchanged": f"{body}.{head}.{signature}",
        "a blank before": f" {good}",
        "a line end behind": f"{good}\n",
        "a line end inside": f"{head}.{body}\n.{signature}",
        "JSON serialization": json.dumps(
            {"protected": head, "payload": body, "signature": signature}
        ),
        "another header": f"{encoded(json.dumps({'alg': alg}).encode())}.{body}.{signature}",
        "the claims of another": f"{head}.{message(pair).decode().split('.')[1]}x.{signature}",
        "the standard alphabet": f"{head}.{body}.{signature.replace('-', '+').replace('_', '/')}"
        if set("-_") & set(signature)
        else "a",
    }
    judge(pair, valid, invalid)
