"""The primitives of password hashing, library by library, and what each call of one costs.

The cost is read off the arguments. A function here has the parameters of the one that it is for.
"""

import importlib.util
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, order=True)
class Hash:
    """One run of a password hash: which, how costly, and whether it stopped the event loop."""

    kind: str
    cost: tuple[tuple[str, int], ...]
    password: str | bytes = field(default="", compare=False, repr=False)
    on_event_loop: bool = field(default=False, compare=False)

    def __str__(self) -> str:
        return f"{self.kind} " + " ".join(f"{name}={value}" for name, value in self.cost)


def _text(value: str | bytes) -> str:
    return value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)


def bcrypt_hash(password: Any, salt: str | bytes) -> Hash:
    rounds = re.match(r"\$2\w?\$(\d\d)\$", _text(salt))
    return Hash("bcrypt", (("cost", int(rounds[1]) if rounds else 0),), password)


def bcrypt_check(password: Any, hashed_password: str | bytes) -> Hash:
    return bcrypt_hash(password, hashed_password)


def _argon2(memory: int, time: int, lanes: int, password: Any) -> Hash:
    return Hash("argon2", (("m", memory), ("t", time), ("p", lanes)), password)


def _argon2_raw(
    secret: Any,
    salt: Any,
    time_cost: int,
    memory_cost: int,
    parallelism: int,
    *args: Any,
    **kwargs: Any,
) -> Hash:
    return _argon2(memory_cost, time_cost, parallelism, secret)


def _argon2_verify(hash: str | bytes, secret: Any, *args: Any, **kwargs: Any) -> Hash:
    found = {name: int(value) for name, value in re.findall(r"\b([mtp])=(\d+)", _text(hash))}
    return _argon2(found.get("m", 0), found.get("t", 0), found.get("p", 0), secret)


def _argon2_hasher(hasher: Any, password: Any, *args: Any, **kwargs: Any) -> Hash:
    return _argon2(hasher.memory_cost, hasher.time_cost, hasher.parallelism, password)


def _argon2_hasher_verify(hasher: Any, hash: str | bytes, password: Any) -> Hash:
    return _argon2_verify(hash, password)


def hashlib_scrypt(password: Any, *, n: int, r: int, p: int, **kwargs: Any) -> Hash:
    return Hash("scrypt", (("n", n), ("r", r), ("p", p)), password)


def hashlib_pbkdf2(
    hash_name: str, password: Any, salt: Any, iterations: int, *args: Any, **kwargs: Any
) -> Hash:
    return Hash(f"pbkdf2-{hash_name.lower()}", (("iterations", iterations),), password)


def _passlib_pbkdf2(
    digest: str, secret: Any, salt: Any, rounds: int, *args: Any, **kwargs: Any
) -> Hash:
    return Hash(f"pbkdf2-{digest.lower()}", (("iterations", rounds),), secret)


def _kdf_pbkdf2(algorithm: Any, length: int, salt: Any, iterations: int, *args: Any) -> Hash:
    return Hash(f"pbkdf2-{algorithm.name.lower()}", (("iterations", iterations),))


def _kdf_scrypt(salt: Any, length: int, n: int, r: int, p: int, *args: Any) -> Hash:
    return Hash("scrypt", (("n", n), ("r", r), ("p", p)))


def _kdf_argon2(*, iterations: int, lanes: int, memory_cost: int, **kwargs: Any) -> Hash:
    return _argon2(memory_cost, iterations, lanes, "")


def argon2_phc(key_material: Any, phc_encoded: str, *args: Any) -> Hash:
    return _argon2_verify(phc_encoded, key_material)


def _nacl_argon2(outlen: int, passwd: Any, salt: Any, ops: int, mem: int, alg: int) -> Hash:
    return _argon2(mem // 1024, ops, 1, passwd)


def _nacl_argon2_text(passwd: Any, opslimit: int, memlimit: int, alg: int) -> Hash:
    return _argon2(memlimit // 1024, opslimit, 1, passwd)


def _nacl_argon2_verify(passwd_hash: bytes, passwd: Any) -> Hash:
    return _argon2_verify(passwd_hash, passwd)


def _nacl_scrypt(passwd: Any, salt: Any, n: int, r: int, p: int, *args: Any, **kwargs: Any) -> Hash:
    return hashlib_scrypt(passwd, n=n, r=r, p=p)


def _nacl_scrypt_text(passwd: Any, opslimit: int, memlimit: int) -> Hash:
    from nacl.bindings import nacl_bindings_pick_scrypt_params  # type: ignore[import-not-found]

    log_n, r, p = nacl_bindings_pick_scrypt_params(opslimit, memlimit)
    return hashlib_scrypt(passwd, n=2**log_n, r=r, p=p)


def _nacl_scrypt_verify(passwd_hash: bytes, passwd: Any) -> Hash:
    """Read `$7$`, a letter for the logarithm of n, five for r and five for p, the lowest first."""
    alphabet = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    numbers = [max(alphabet.find(letter), 0) for letter in passwd_hash[3:14].ljust(11, b".")]
    r, p = (sum(each << 6 * at for at, each in enumerate(numbers[i : i + 5])) for i in (1, 6))
    return hashlib_scrypt(passwd, n=2 ** numbers[0], r=r, p=p)


def is_wanted(library: str, sources: str) -> bool:
    """Tell whether a library is there and may be used. For nobody, an import would cost time."""
    name = library.partition(".")[0]
    if name in ("cryptography", "nacl"):  # the first comes along with PyJWT, for other things
        used = name in sources
    else:
        # passlib is what lesson 01 hashes with, and pwdlib brings argon2 along.
        used = name == "passlib" or name in sys.modules or name in sources or "pwdlib" in sources
    return used and importlib.util.find_spec(name) is not None


PRIMITIVES: dict[str, dict[str, Callable[..., Hash]]] = {
    "passlib.crypto.digest": {"pbkdf2_hmac": _passlib_pbkdf2},
    "argon2.low_level": {
        "hash_secret": _argon2_raw,
        "hash_secret_raw": _argon2_raw,
        "verify_secret": _argon2_verify,
    },
    "argon2": {
        "PasswordHasher.hash": _argon2_hasher,
        "PasswordHasher.verify": _argon2_hasher_verify,
    },
    "nacl.bindings": {
        "crypto_pwhash_alg": _nacl_argon2,
        "crypto_pwhash_str_alg": _nacl_argon2_text,
        "crypto_pwhash_str_verify": _nacl_argon2_verify,
        "crypto_pwhash_scryptsalsa208sha256_ll": _nacl_scrypt,
        "crypto_pwhash_scryptsalsa208sha256_str": _nacl_scrypt_text,
        "crypto_pwhash_scryptsalsa208sha256_str_verify": _nacl_scrypt_verify,
    },
}

CLASSES: dict[str, dict[str, Callable[..., Hash]]] = {
    "cryptography.hazmat.primitives.kdf.pbkdf2": {"PBKDF2HMAC": _kdf_pbkdf2},
    "cryptography.hazmat.primitives.kdf.scrypt": {"Scrypt": _kdf_scrypt},
    "cryptography.hazmat.primitives.kdf.argon2": {
        "Argon2id": _kdf_argon2,
        "Argon2i": _kdf_argon2,
        "Argon2d": _kdf_argon2,
    },
}
