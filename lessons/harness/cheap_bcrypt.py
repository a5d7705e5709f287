"""Makes bcrypt cheap at any cost, so that tests can run with the settings of production.

A salt that was drawn in this run is one that only this run's hashes have. So for those the true
hash does not matter, as long as all who ask for it get the same. It is a quick digest of just the
bytes that bcrypt reads, and bears the cost that was asked for. The cost goes into the digest: as in
truth, a hash whose cost was edited no longer verifies.

Any other salt comes from outside, as that of a literal or of a library's own test. Its hash is
computed as it is, at its cost. Nothing is guessed, and no salt changes sides: the memory of the
drawn ones has no limit, since a forgotten one would lock people out.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Callable
from functools import wraps
from typing import Any

CHEAP = 4
_ALIKE = re.compile(rb"\$2[aby](\$\d\d\$[./A-Za-z0-9]{22})(?:[./A-Za-z0-9]{31})?")
_PARTS = re.compile(rb"(\$2[abxy]\$)(\d\d)\$([./A-Za-z0-9]{22})(.*)", re.DOTALL)


_TO_BCRYPT = bytes.maketrans(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
    b"./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
)


def _digest(password: bytes, salt: bytes) -> bytes:
    """Return 31 letters that depend on the same 72 bytes as bcrypt: the password over and over."""
    key = (password[:72] + b"\0")[:72]
    read = (key * 72)[:72]
    digest = hashlib.sha256(salt + read).digest()[:23]
    return base64.b64encode(digest).rstrip(b"=").translate(_TO_BCRYPT)


def _once_for_all_kinds(original: Callable[..., bytes]) -> Callable[..., bytes]:
    """Return a `bcrypt.hashpw` that computes the same for $2a$, $2b$ and $2y$ once.

    To this library they are names of one thing. passlib makes sure of that at each start, with
    hashes that cost more than a test.
    """
    known: dict[tuple[bytes, bytes], bytes] = {}

    def hashpw(password: Any, salt: Any) -> bytes:
        alike = isinstance(salt, bytes) and isinstance(password, bytes) and _ALIKE.fullmatch(salt)
        if not alike:
            return original(password, salt)
        asked = password, alike[1]
        if asked not in known:
            known[asked] = original(password, salt)
        return salt[:3] + known[asked][3:]

    return hashpw


def _is_refused(password: bytes) -> bool:
    """Tell whether this bcrypt raises for a long password, as it does from 5.0 on."""
    if len(password) <= 72:
        return False
    import bcrypt

    return not bcrypt.__version__.startswith(("3.", "4."))


class CheapBcrypt:
    """bcrypt's functions, quick for the salts that this run drew."""

    def __init__(self) -> None:
        self._drawn: set[bytes] = set()

    def gensalt(self, original: Callable[..., bytes]) -> Callable[..., bytes]:
        """Return a `bcrypt.gensalt` that remembers what it draws."""

        @wraps(original)
        def gensalt(*args: Any, **kwargs: Any) -> bytes:
            config = original(*args, **kwargs)
            self._drawn.add(config[7:])
            return config

        return gensalt

    def passlib_salt(self, original: Callable[[Any], str]) -> Any:
        """Return passlib's `_generate_salt`, which draws its own, and remember too."""

        @wraps(original)
        def generate_salt(handler: Any) -> str:
            salt = original(handler)
            self._drawn.add(salt.encode("ascii"))
            return salt

        return classmethod(generate_salt)

    def hashpw(self, original: Callable[..., bytes]) -> Callable[..., bytes]:
        """Return a `bcrypt.hashpw` that is quick and writes the cost asked for."""

        outside = _once_for_all_kinds(original)

        @wraps(original)
        def hashpw(password: Any, salt: Any) -> bytes:
            parts = self._parts_of_a_drawn(salt)
            if parts is None:
                return outside(password, salt)
            kind, cost, drawn, rest = parts.groups()
            if not isinstance(password, bytes) or b"\0" in password or _is_refused(password):
                return original(password, kind + b"%02d$" % CHEAP + drawn + rest)  # it raises
            return kind + cost + b"$" + drawn + _digest(password, cost + drawn)

        return hashpw

    def checkpw(self, original: Callable[..., bool], hashpw: Callable[..., bytes]) -> Any:
        """Return a `bcrypt.checkpw` on top of that `hashpw`."""

        @wraps(original)
        def checkpw(password: Any, hashed_password: Any) -> bool:
            drawn = self._parts_of_a_drawn(hashed_password)
            if drawn is None or not isinstance(password, bytes):
                return original(password, hashed_password)
            return hmac.compare_digest(hashpw(password, hashed_password), hashed_password)

        return checkpw

    def _parts_of_a_drawn(self, config: Any) -> re.Match[bytes] | None:
        parts = _PARTS.fullmatch(config) if isinstance(config, bytes) else None
        if parts and parts[3] in self._drawn and CHEAP < int(parts[2]) <= 31:
            return parts
        return None
