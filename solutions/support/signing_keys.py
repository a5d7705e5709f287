"""The keys that tokens are signed with: a file each, and since when each of them signs.

A file is called by that moment, as `20261126T140000Z.pem`, and holds a P-256 private key as PEM.
"""

import os
import stat
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from joserfc.jwk import ECKey

from .key_sets import VerifyingKey
from .settings import UnsafeSettings

NAME = "%Y%m%dT%H%M%SZ.pem"
ALGORITHM = "ES256"
ALWAYS = datetime(2000, 1, 1, tzinfo=UTC)
OF_OTHERS = 0o027  # permission bits: others may do nothing, and the group may read


@dataclass(frozen=True)
class SigningKey:
    """A private key, and the moment from which it signs, until the next one does."""

    private: ECKey = field(repr=False)
    signs_from: datetime

    @cached_property
    def kid(self) -> str:
        """The name of the key: a digest of its public part (RFC 7638)."""
        return self.private.thumbprint()

    @cached_property
    def public(self) -> VerifyingKey:
        """What tokens that it signed are checked with."""
        return VerifyingKey(self.kid, ECKey.import_key(self.public_jwk()), (ALGORITHM,))

    def public_jwk(self) -> dict[str, str | list[str]]:
        """Return the public part as a JWK: what everybody may know (RFC 7517 section 4)."""
        return self.private.as_dict(private=False, kid=self.kid, use="sig", alg=ALGORITHM)


def draw_key(signs_from: datetime = ALWAYS) -> SigningKey:
    """Draw a new key."""
    return SigningKey(ECKey.generate_key("P-256"), signs_from)


def write_key(folder: Path, key: SigningKey) -> Path:
    """Write a key into a new file that its owner alone may read. Raises FileExistsError."""
    path = folder / key.signs_from.strftime(NAME)
    drawn = path.with_suffix(".new")  # readers look for .pem, and never see half a file
    descriptor = os.open(drawn, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(key.private.as_pem(private=True))
        file.flush()
        os.fsync(descriptor)
    try:
        os.link(drawn, path)  # unlike a renaming, it takes no other key's place
    finally:
        drawn.unlink()
    return path


def signs_from(path: Path) -> datetime:
    """Return since when a file's key signs. Raises ValueError for a name that says nothing."""
    return datetime.strptime(path.name, NAME).replace(tzinfo=UTC)


def read_keys(folder: Path, in_production: bool) -> list[SigningKey]:
    """Read all keys of a folder, in the order in which they sign.

    Raises UnsafeSettings, in a sentence that names no path, for a folder or a file that cannot be
    read, that others can (in production), or that is no key, and for one key in two files.
    """
    keys: list[SigningKey] = []
    try:
        if in_production:
            _refuse_others(folder, 0o022, "Others may write into SIGNING_KEYS_DIR: chmod 700.")
        for path in sorted(folder.glob("*.pem")):
            if in_production:
                _refuse_others(
                    path, OF_OTHERS, "Others may read a key in SIGNING_KEYS_DIR: chmod 600."
                )
            private = ECKey.import_key(path.read_bytes())
            if not private.is_private or private.curve_name != "P-256":
                raise ValueError
            keys.append(SigningKey(private, signs_from(path)))
    except OSError:
        raise UnsafeSettings("Not started: SIGNING_KEYS_DIR cannot be read.") from None
    except UnsafeSettings:
        raise
    except Exception:  # what a parser says may quote what it read
        raise UnsafeSettings(
            "Not started: a file in SIGNING_KEYS_DIR is no P-256 private key, or is not called by "
            "the moment from which it signs."
        ) from None
    if len({key.kid for key in keys}) < len(keys):
        raise UnsafeSettings("Not started: a key is in SIGNING_KEYS_DIR twice.")
    return keys


def _refuse_others(path: Path, bits: int, sentence: str) -> None:
    if os.name == "posix" and stat.S_IMODE(path.stat().st_mode) & bits:
        raise UnsafeSettings(f"Not started: {sentence}")
