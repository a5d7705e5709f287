"""Counts password hashing, so that no test needs a stopwatch.

The meter wraps the primitives that the usual libraries end in. It goes in before the
candidate loads, so `from bcrypt import hashpw` gets the wrapped one too. bcrypt counts with the
cost that it was asked for, and is computed cheaply (see `cheap_bcrypt`). What it gave for a
password and a salt it gives again: a repeated one counts like the first, and costs nothing.
"""

import asyncio
import hashlib
import importlib
import importlib.util
import inspect
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache, wraps
from typing import Any

from lessons.harness.cheap_bcrypt import CheapBcrypt
from lessons.harness.cheap_kdf import cheap_pbkdf2, cheap_scrypt, make_argon2_cheap
from lessons.harness.primitives import (
    CLASSES,
    PRIMITIVES,
    Hash,
    argon2_phc,
    bcrypt_check,
    bcrypt_hash,
    hashlib_pbkdf2,
    hashlib_scrypt,
    is_wanted,
)
from lessons.harness.rest import is_at_rest, let_the_loop_work

ROUNDS = 40  # of other threads that come and go before a held crowd counts as complete
PATIENCE = 0.01  # seconds that it stays unchanged at least


class Stopped(Exception):
    """A hash that nobody wants to be computed."""


class Meter:
    """Sees every hash of bcrypt, argon2, scrypt and PBKDF2, however it is called."""

    def __init__(self) -> None:
        self._seen: list[Hash] = []
        self._inside = threading.local()
        self._gate: Gate | None = None
        self._stops = False

    @contextmanager
    def counting(self) -> Iterator[list[Hash]]:
        """Yield a list that fills with the hashes run inside the block."""
        self._seen = []
        yield self._seen

    @contextmanager
    def stopping(self) -> Iterator[None]:
        """End what runs in the block at its first hash, which is counted and not run."""
        self._stops, before = True, len(self._seen)
        try:
            yield
        except Exception:
            if len(self._seen) == before:  # it is not what came of a stopped hash
                raise
        finally:
            self._stops = False

    @contextmanager
    def holding(self, limit: int, password: str | None = None) -> Iterator["Gate"]:
        """Hold every hash at its start until more than `limit` are held, or none joins them.

        With `password` only the hashes of this one are held. In a block inside of another one, the
        new gate holds those that come next: so a crowd can be stopped at each of its hashes.
        """
        gate = Gate(limit, password)
        before, self._gate = self._gate, gate
        try:
            yield gate
        finally:
            gate.open()
            self._gate = before

    def install(self, sources: str) -> None:
        """Wrap the primitives of the libraries that the graded `sources` may use. Once a run."""
        hashlib.pbkdf2_hmac = self._metered(cheap_pbkdf2(hashlib.pbkdf2_hmac), hashlib_pbkdf2)
        hashlib.scrypt = self._metered(cheap_scrypt(hashlib.scrypt), hashlib_scrypt)
        self._wrap_bcrypt()
        for library, names in PRIMITIVES.items():
            if is_wanted(library, sources):
                module = importlib.import_module(library)
                if library == "argon2.low_level":
                    make_argon2_cheap()
                if library == "passlib.crypto.digest":
                    module.pbkdf2_hmac = cheap_pbkdf2(module.pbkdf2_hmac)
                for name, cost in names.items():
                    owner, _, attribute = name.rpartition(".")
                    self._wrap(getattr(module, owner) if owner else module, attribute, cost)
        for library, classes in CLASSES.items():
            if "kdf" in sources and is_wanted(library, sources):
                module = importlib.import_module(library)
                for name, cost in classes.items():
                    if real := getattr(module, name, None):  # Argon2id is not in older versions
                        setattr(module, name, self._metered_class(real, cost))

    def _wrap_bcrypt(self) -> None:
        if importlib.util.find_spec("bcrypt") is None:
            return
        import bcrypt

        cheap = CheapBcrypt()
        hashpw = _remembered(cheap.hashpw(bcrypt.hashpw))
        checkpw = _remembered(cheap.checkpw(bcrypt.checkpw, hashpw))
        bcrypt.gensalt = cheap.gensalt(bcrypt.gensalt)
        bcrypt.hashpw = self._metered(hashpw, bcrypt_hash)
        bcrypt.checkpw = self._metered(checkpw, bcrypt_check)
        if importlib.util.find_spec("passlib"):
            from passlib.handlers.bcrypt import _BcryptCommon

            draw = _BcryptCommon.__dict__["_generate_salt"].__func__
            _BcryptCommon._generate_salt = cheap.passlib_salt(draw)

    def _wrap(self, owner: Any, name: str, cost: Callable[..., Hash]) -> None:
        setattr(owner, name, self._metered(getattr(owner, name), cost))

    def _metered(self, run: Callable[..., Any], cost: Callable[..., Hash]) -> Callable[..., Any]:
        @wraps(run)
        def metered(*args: Any, **kwargs: Any) -> Any:
            if getattr(self._inside, "a_hash", False):
                return run(*args, **kwargs)  # only the outermost call counts
            self._inside.a_hash = True
            try:
                self._note(cost(*args, **kwargs))
                return run(*args, **kwargs)
            finally:
                self._inside.a_hash = False
                if self._gate:
                    self._gate.ended += 1

        return metered

    def _metered_class(self, real: Any, cost: Callable[..., Hash]) -> type:
        """Return what stands for one of cryptography's classes, which keep their cost hidden."""
        metered = self._metered

        class Metered:
            def __init__(self, *args: Any, **kwargs: Any) -> None:
                self._real = real(*args, **kwargs)
                self._cost = cost(*args, **kwargs)

            def __getattr__(self, name: str) -> Any:
                if name.startswith("_"):
                    raise AttributeError(name)

                def of_this(secret: Any, *args: Any, **kwargs: Any) -> Hash:
                    return replace(self._cost, password=secret)

                return metered(getattr(self._real, name), of_this)  # derive, verify

            @staticmethod
            def verify_phc_encoded(key_material: Any, phc_encoded: str, *args: Any) -> None:
                run = metered(real.verify_phc_encoded, argon2_phc)
                run(key_material, phc_encoded, *args)

        return Metered

    def _note(self, run: Hash) -> None:
        try:
            on_event_loop = asyncio.get_running_loop() is not None
        except RuntimeError:
            on_event_loop = False
        self._seen.append(replace(run, on_event_loop=on_event_loop))
        if self._stops:
            raise Stopped
        if self._gate and not on_event_loop:
            self._gate.wait(run.password)


class Gate:
    """Holds hashes back to see how many there are at once."""

    def __init__(self, limit: int, password: str | None = None) -> None:
        self._limit = limit
        self._only = password and (password, password.encode())
        self._lock = threading.Lock()
        self._opened = threading.Event()
        self.held = self.ended = 0
        self.queued = 0  # calls that waited for a given thread before it was opened

    def wait(self, password: str | bytes) -> None:
        if self._only and password not in self._only:
            return
        with self._lock:
            if self._opened.is_set():
                return
            self.held += 1
        self._opened.wait(5)

    def open(self) -> None:
        self._opened.set()

    async def watch(self) -> None:
        """Open the gate once the crowd is too big, or has stopped growing."""
        await self.settle()
        self.open()

    async def settle(self) -> None:
        """Wait until the crowd is too big, or has stopped growing.

        It has stopped when nothing else can go on by itself. Where that cannot be seen, it has
        when other threads, begun one after the other, have come and gone many times without
        another hash arriving. So a busy machine is given the time it needs.
        """
        loop = asyncio.get_running_loop()
        rounds, since = 0, loop.time()
        while self.held <= self._limit:
            before = self.held
            await let_the_loop_work()  # each of its turns would cost a thread otherwise
            if self.held and await is_at_rest():
                break
            await _let_a_thread_pass()
            if before != self.held or self.held == 0:
                rounds, since = 0, loop.time()
            rounds += 1
            if rounds > ROUNDS and loop.time() - since > PATIENCE:
                break


async def _let_a_thread_pass() -> None:
    """Wait until a thread begun now has run. One that was ready before it has run too."""
    loop, passed = asyncio.get_running_loop(), asyncio.Event()
    # Not in asyncio's own threads: the hashes that are held may have them all.
    threading.Thread(target=lambda: loop.call_soon_threadsafe(passed.set)).start()
    await passed.wait()


def _remembered(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that keeps what a pure one returned. What it raised, it raises anew."""
    remember = lru_cache(maxsize=256)(function)

    @wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        is_text = all(isinstance(each, (str, bytes)) for each in (*args, *kwargs.values()))
        return (remember if is_text else function)(*args, **kwargs)

    return run
