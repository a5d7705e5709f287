"""Counts password hashing, so that no test needs a stopwatch.

The meter wraps the primitives that the usual libraries end in. It goes in before the
candidate loads, so `from bcrypt import hashpw` gets the wrapped one too. What bcrypt gave for a
password and a salt it gives again: a repeated one counts like the first, and costs nothing.
"""

import asyncio
import hashlib
import importlib
import importlib.util
import inspect
import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache, wraps
from typing import Any

ROUNDS = 40  # of other threads that come and go before a held crowd counts as complete
PATIENCE = 0.01  # seconds that it stays unchanged at least


@dataclass(frozen=True, order=True)
class Hash:
    """One run of a password hash: which, how costly, and whether it stopped the event loop."""

    kind: str
    cost: tuple[tuple[str, int], ...]
    password: str | bytes = field(default="", compare=False, repr=False)
    on_event_loop: bool = field(default=False, compare=False)

    def __str__(self) -> str:
        return f"{self.kind} " + " ".join(f"{name}={value}" for name, value in self.cost)


class Meter:
    """Sees every hash of bcrypt, argon2, scrypt and PBKDF2, however it is called."""

    def __init__(self) -> None:
        self._seen: list[Hash] = []
        self._inside = threading.local()
        self._gate: Gate | None = None

    @contextmanager
    def counting(self) -> Iterator[list[Hash]]:
        """Yield a list that fills with the hashes run inside the block."""
        self._seen = []
        yield self._seen

    @contextmanager
    def holding(self, limit: int) -> Iterator["Gate"]:
        """Hold every hash at its start until more than `limit` are held, or none joins them."""
        self._gate = Gate(limit)
        try:
            yield self._gate
        finally:
            self._gate.open()
            self._gate = None

    def install(self, sources: str) -> None:
        """Wrap the primitives of the libraries that the graded `sources` may use. Once a run."""
        self._wrap(hashlib, "pbkdf2_hmac", _pbkdf2)
        self._wrap(hashlib, "scrypt", _scrypt)
        for library, names in _PRIMITIVES.items():
            name = library.partition(".")[0]
            # What lesson 01 hashes with is always there, and pwdlib brings argon2 along. Others,
            # imported for nobody, would cost every run.
            wanted = name in ("bcrypt", "passlib") or name in sys.modules
            wanted = wanted or name in sources or "pwdlib" in sources
            if not wanted or importlib.util.find_spec(name) is None:
                continue
            module = importlib.import_module(library)
            for name, cost in names.items():
                owner, _, attribute = name.rpartition(".")
                self._wrap(getattr(module, owner) if owner else module, attribute, cost)

    def _wrap(self, owner: Any, name: str, cost: Callable[..., Hash]) -> None:
        original = getattr(owner, name)
        # Only these: what they return depends on their arguments alone, and every login runs them.
        run = _remembered(original) if owner.__name__ == "bcrypt" else original

        @wraps(original)
        def metered(*args: Any, **kwargs: Any) -> Any:
            if getattr(self._inside, "a_hash", False):
                return original(*args, **kwargs)  # only the outermost call counts
            self._inside.a_hash = True
            try:
                self._note(cost(*args, **kwargs))
                return run(*args, **kwargs)
            finally:
                self._inside.a_hash = False

        setattr(owner, name, metered)

    def _note(self, run: Hash) -> None:
        try:
            on_event_loop = asyncio.get_running_loop() is not None
        except RuntimeError:
            on_event_loop = False
        self._seen.append(replace(run, on_event_loop=on_event_loop))
        if self._gate and not on_event_loop:
            self._gate.wait()


class Gate:
    """Holds hashes back to see how many there are at once."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._opened = threading.Event()
        self.held = 0

    def wait(self) -> None:
        with self._lock:
            if self._opened.is_set():
                return
            self.held += 1
        self._opened.wait(5)

    def open(self) -> None:
        self._opened.set()

    async def watch(self) -> None:
        """Open the gate once the crowd is too big, or has stopped growing.

        It has stopped when other threads, begun one after the other, have come and gone many
        times without another hash arriving. So a busy machine is given the time it needs.
        """
        loop = asyncio.get_running_loop()
        rounds, since = 0, loop.time()
        while self.held <= self._limit:
            before = self.held
            await _let_a_thread_pass()
            if before != self.held or self.held == 0:
                rounds, since = 0, loop.time()
            rounds += 1
            if rounds > ROUNDS and loop.time() - since > PATIENCE:
                break
        self.open()


async def _let_a_thread_pass() -> None:
    """Wait until a thread begun now has run. One that was ready before it has run too."""
    thread = threading.Thread(target=lambda: None)
    thread.start()
    await asyncio.to_thread(thread.join)


def _remembered(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that keeps what a pure one returned. What it raised, it raises anew."""
    remember = lru_cache(maxsize=256)(function)

    def run(*args: Any, **kwargs: Any) -> Any:
        is_text = all(isinstance(each, (str, bytes)) for each in (*args, *kwargs.values()))
        return (remember if is_text else function)(*args, **kwargs)

    return run


def _text(value: str | bytes) -> str:
    return value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)


def _bcrypt(password: Any, salt: str | bytes) -> Hash:
    rounds = re.match(r"\$2\w?\$(\d\d)\$", _text(salt))
    return Hash("bcrypt", (("cost", int(rounds[1]) if rounds else 0),), password)


def _bcrypt_check(password: Any, hashed_password: str | bytes) -> Hash:
    return _bcrypt(password, hashed_password)


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


def _scrypt(password: Any, *, n: int, r: int, p: int, **kwargs: Any) -> Hash:
    return Hash("scrypt", (("n", n), ("r", r), ("p", p)), password)


def _pbkdf2(
    hash_name: str, password: Any, salt: Any, iterations: int, *args: Any, **kwargs: Any
) -> Hash:
    return Hash(f"pbkdf2-{hash_name.lower()}", (("iterations", iterations),), password)


def _passlib_pbkdf2(
    digest: str, secret: Any, salt: Any, rounds: int, *args: Any, **kwargs: Any
) -> Hash:
    return Hash(f"pbkdf2-{digest.lower()}", (("iterations", rounds),), secret)


_PRIMITIVES: dict[str, dict[str, Callable[..., Hash]]] = {
    "bcrypt": {"hashpw": _bcrypt, "checkpw": _bcrypt_check},
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
}
