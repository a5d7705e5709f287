"""Makes scrypt, PBKDF2 and argon2 cheap, as `cheap_bcrypt` does with bcrypt.

A right solution that takes half a second for a hash would else run into the limit of a test. The
result depends on all parameters, and on the password in the same way: they go into the salt, and
the function itself runs at its least cost. What it would refuse it refuses.
"""

import base64
import hashlib
import re
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

LEAST_ROUNDS = 1000  # below, PBKDF2 is cheap as it is
SCRYPT_MEMORY = 32 * 1024 * 1024  # what OpenSSL allows where nobody says more
ARGON2 = re.compile(rb"(\$argon2\w+)(\$v=\d+)?\$m=(\d+),t=(\d+),p=(\d+)\$([^$]+)\$([^$]+)")


def _mixed(salt: bytes, *parameters: Any) -> bytes:
    return hashlib.sha256(repr((bytes(salt), *parameters)).encode()).digest()[:16]


def cheap_scrypt(original: Callable[..., bytes]) -> Callable[..., bytes]:
    """Return a `hashlib.scrypt` that runs with n=2."""

    @wraps(original)
    def scrypt(password: Any, **given: Any) -> bytes:
        try:
            n, r, p, salt = (given[name] for name in ("n", "r", "p", "salt"))
            room = given.get("maxmem") or SCRYPT_MEMORY
            is_right = n > 1 and n & (n - 1) == 0 and r > 0 < p and 128 * r * (n + p + 2) <= room
            salted = _mixed(salt, n, r, p)
        except (KeyError, TypeError):
            is_right = False
        if not is_right:
            return original(password, **given)
        return original(password, **{**given, "salt": salted, "n": 2, "r": 1, "p": 1})

    return scrypt


def cheap_pbkdf2(original: Callable[..., bytes]) -> Callable[..., bytes]:
    """Return a `pbkdf2_hmac`, of hashlib or of passlib, that runs one round."""

    @wraps(original)
    def pbkdf2(digest: Any, password: Any, salt: Any, rounds: Any, *args: Any, **kw: Any) -> bytes:
        if not isinstance(salt, bytes) or not isinstance(rounds, int) or rounds < LEAST_ROUNDS:
            return original(digest, password, salt, rounds, *args, **kw)
        return original(digest, password, _mixed(salt, rounds), 1, *args, **kw)

    @wraps(original)
    def by_name(*args: Any, **kw: Any) -> bytes:
        return pbkdf2(*args, **kw) if len(args) >= 4 else original(*args, **kw)

    return by_name


def make_argon2_cheap() -> None:
    """Let argon2-cffi run with 8 KiB and one pass, in all of its modules."""
    from argon2 import low_level

    _put(low_level.verify_secret, _cheap_verify(low_level.verify_secret, low_level.hash_secret))
    _put(low_level.hash_secret, _cheap_hash(low_level.hash_secret))
    _put(low_level.hash_secret_raw, _cheap_hash(low_level.hash_secret_raw))


def _put(original: Any, cheap: Any) -> None:
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "argon2" and hasattr(module, original.__name__):
            setattr(module, original.__name__, cheap)


_made: set[bytes] = set()  # the salts of this run, as they are written


def _cheap_hash(original: Callable[..., bytes]) -> Callable[..., bytes]:
    @wraps(original)
    def run(
        secret: Any, salt: Any, time_cost: int, memory_cost: int, parallelism: int, *args: Any,
        **kwargs: Any,
    ) -> bytes:  # fmt: skip
        costs = (time_cost, memory_cost, parallelism)
        if not isinstance(salt, bytes) or len(salt) < 8 or memory_cost < 8 * parallelism:
            return original(secret, salt, *costs, *args, **kwargs)
        hashed = original(secret, _mixed(salt, *costs), 1, 8, 1, *args, **kwargs)
        parts = ARGON2.fullmatch(hashed)
        if parts is None or "raw" in original.__name__:
            return hashed
        written = base64.b64encode(salt).rstrip(b"=")
        _made.add(written)
        cost = b"$m=%d,t=%d,p=%d$" % (memory_cost, time_cost, parallelism)
        return parts[1] + (parts[2] or b"") + cost + written + b"$" + parts[7]

    return run


def _cheap_verify(original: Callable[..., bool], make: Callable[..., bytes]) -> Callable[..., Any]:
    make = _cheap_hash(make)

    @wraps(original)
    def verify_secret(hash: bytes, secret: Any, type: Any) -> bool:
        from argon2.exceptions import VerifyMismatchError

        parts = ARGON2.fullmatch(hash.split(b"\0")[0])  # C reads no further
        if (
            not parts
            or parts[6] not in _made
            or parts[1] != b"$argon2" + type.name.lower().encode()
        ):
            return original(hash, secret, type)
        salt, digest = (
            base64.b64decode(each + b"=" * (-len(each) % 4)) for each in parts.group(6, 7)
        )
        memory, passes, lanes = (int(each) for each in parts.group(3, 4, 5))
        again = make(secret, salt, passes, memory, lanes, len(digest), type)
        if again != parts[0]:
            raise VerifyMismatchError("The password does not match the supplied hash")
        return True

    return verify_secret
