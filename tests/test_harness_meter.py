"""The meter sees every hash, and bcrypt is cheap without anybody noticing."""

import sys
from collections.abc import Iterator
from typing import Any

import bcrypt
import pytest

from lessons.harness.meter import Hash, Meter

REAL = {name: getattr(bcrypt, name) for name in ("gensalt", "hashpw", "checkpw")}
KDF = "cryptography.hazmat.primitives.kdf"
OUTSIDE = b"$2b$06$abcdefghijklmnopqrstuu"  # a salt that nobody drew here


@pytest.fixture
def meter(monkeypatch: pytest.MonkeyPatch) -> Meter:
    """A meter that is taken out again after the test."""
    import hashlib

    import passlib.crypto.digest
    from passlib.handlers.bcrypt import _BcryptCommon

    for owner, names in {
        hashlib: ("pbkdf2_hmac", "scrypt"),
        bcrypt: tuple(REAL),
        passlib.crypto.digest: ("pbkdf2_hmac",),
        _BcryptCommon: ("_generate_salt",),
    }.items():
        for name in names:
            monkeypatch.setattr(owner, name, getattr(owner, name))
    monkeypatch.delitem(sys.modules, "argon2", raising=False)
    meter = Meter()
    meter.install("")
    return meter


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The costs at which bcrypt really computes. Ask for it before the meter."""
    costs: list[int] = []

    def hashpw(password: bytes, salt: bytes) -> bytes:
        costs.append(int(salt[4:6]))
        result: bytes = REAL["hashpw"](password, salt)
        return result

    monkeypatch.setattr(bcrypt, "hashpw", hashpw)
    return costs


def test_the_cost_asked_for_is_noted_and_not_paid(computed: list[int], meter: Meter) -> None:
    with meter.counting() as hashes:
        hashed = bcrypt.hashpw(b"secret", bcrypt.gensalt(14))
        assert hashed.startswith(b"$2b$14$") and len(hashed) == 60
        assert bcrypt.checkpw(b"secret", hashed)
        assert bcrypt.hashpw(b"secret", hashed) == hashed
        assert not bcrypt.checkpw(b"Secret", hashed)
    assert hashes == [Hash("bcrypt", (("cost", 14),))] * 4
    assert not computed, "bcrypt itself ran"


def test_a_stopped_hash_is_counted_and_ends_the_block(computed: list[int], meter: Meter) -> None:
    went_on = False
    with meter.counting() as hashes, meter.stopping():
        bcrypt.hashpw(b"secret", OUTSIDE)
        went_on = True
    assert [run.password for run in hashes] == [b"secret"]
    assert not went_on and not computed
    with pytest.raises(ValueError, match="of its own"), meter.counting(), meter.stopping():
        raise ValueError("of its own")


def test_a_hash_is_of_one_password_one_salt_and_one_cost(meter: Meter) -> None:
    first = bcrypt.hashpw(b"secret", bcrypt.gensalt(12))
    second = bcrypt.hashpw(b"secret", bcrypt.gensalt(12))
    assert first[29:] != second[29:]
    for cost in range(4, 12):  # a hash whose cost was edited
        edited = first.replace(b"$12$", b"$%02d$" % cost)
        assert not bcrypt.checkpw(b"secret", edited)
    assert not bcrypt.checkpw(b"secret", first[:29] + second[29:])


@pytest.mark.parametrize("cost", [5, 6])
def test_a_hash_from_outside_is_computed_as_it_is(
    cost: int, computed: list[int], meter: Meter
) -> None:
    hashed = REAL["hashpw"](b"secret", REAL["gensalt"](cost))
    assert bcrypt.checkpw(b"secret", hashed)
    assert not bcrypt.checkpw(b"Secret", hashed)
    assert set(computed) == {cost}
    assert bcrypt.hashpw(b"secret", OUTSIDE) == REAL["hashpw"](b"secret", OUTSIDE)


def test_kinds_that_are_one_thing_are_computed_once(computed: list[int], meter: Meter) -> None:
    kinds = [OUTSIDE.replace(b"$2b$", kind) for kind in (b"$2a$", b"$2b$", b"$2y$")]
    for password in (b"secret", b"Secret"):
        real = [REAL["hashpw"](password, salt) for salt in kinds]
        made = [bcrypt.hashpw(password, salt) for salt in kinds]
        assert made == real
        assert [bcrypt.hashpw(password, each) for each in made] == real
    assert computed == [6, 6]


def test_demo_people_s_literals_verify(meter: Meter) -> None:
    from passlib.hash import bcrypt as handler

    literal = "$2b$12$d/ZUFoIRx.oqLOk6hifPZu4oqOzARCwJy9x3Wg1I1KtTTxf9bkmy2"
    assert bcrypt.checkpw(b"secret", literal.encode())
    assert handler.verify("secret", literal)
    assert not handler.verify("Secret", literal)


ODD_PASSWORDS: list[Any] = [b"", b"a\0b", b"\0", b"a" * 72, b"a" * 73, b"a" * 300, b"\xff"]
ODD_PASSWORDS += ["text", None, 7, bytearray(b"secret"), memoryview(b"secret")]


@pytest.mark.parametrize("password", ODD_PASSWORDS, ids=lambda each: f"{each!r:.12}")
def test_odd_passwords_end_as_in_the_real_one(password: Any, meter: Meter) -> None:
    made = bcrypt.hashpw(b"secret", bcrypt.gensalt(6))
    real = REAL["hashpw"](b"secret", made[:29])
    assert _end(bcrypt.hashpw, password, made)[:2] == _end(REAL["hashpw"], password, real)[:2]
    assert _end(bcrypt.checkpw, password, made) == _end(_real_check, password, real)
    try:
        own = bcrypt.hashpw(password, bcrypt.gensalt(5))
    except Exception:
        return
    assert bcrypt.checkpw(password, own)


def _real_check(password: Any, hashed: Any) -> bool:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bcrypt, "hashpw", REAL["hashpw"])  # bcrypt 4.0 looks it up in its module
        return bool(REAL["checkpw"](password, hashed))


def _end(function: Any, *args: Any) -> tuple[Any, ...]:
    """Return how a call ended; of a hash only how long it is."""
    try:
        result = function(*args)
    except BaseException as error:
        return type(error), str(error)
    return (type(result), len(result)) if isinstance(result, bytes) else (result,)


def _damaged(made: bytes) -> list[Any]:
    damaged: list[Any] = [made[:cut] for cut in (0, 3, 6, 7, 10, 28, 29, 30, 59)]
    damaged += [
        made.replace(b"$06$", cost) for cost in (b"$99$", b"$32$", b"$03$", b"$6$", b"$xx$")
    ]
    damaged += [made.replace(b"$2b$", kind) for kind in (b"$2$", b"$2x$", b"$2y$", b"$2c$", b"")]
    damaged += [
        made + b"x",
        made + b"\0",
        made + b"\n",
        b"\n" + made,
        made[:40] + b"\0" + made[41:],
    ]
    damaged += [made[:29] + b"\xff" * 31, made.decode(), bytearray(made), None, 7]
    return damaged


@pytest.mark.parametrize("index", range(len(_damaged(b"$2b$06$" + b"a" * 53))))
def test_damaged_hashes_end_as_in_the_real_one(index: int, meter: Meter) -> None:
    made = bcrypt.hashpw(b"secret", bcrypt.gensalt(6))
    ours, theirs = _damaged(made)[index], _damaged(REAL["hashpw"](b"secret", made[:29]))[index]
    assert _end(bcrypt.checkpw, b"secret", ours) == _end(_real_check, b"secret", theirs)
    assert _end(bcrypt.hashpw, b"secret", ours) == _end(REAL["hashpw"], b"secret", theirs)


def test_passlib_is_cheap_too(computed: list[int], meter: Meter) -> None:
    from passlib.context import CryptContext

    context = CryptContext(["bcrypt"], bcrypt__default_rounds=13, bcrypt__min_rounds=13)
    context.verify("warm-up", context.hash("warm-up"))  # passlib tries its backend, once
    computed.clear()
    with meter.counting() as hashes:
        hashed = context.hash("secret")
        assert hashed.startswith("$2b$13$")
        assert context.verify("secret", hashed)
        assert not context.verify("Secret", hashed)
        assert not context.needs_update(hashed)
        assert bcrypt.checkpw(b"secret", hashed.encode())
    assert hashes == [Hash("bcrypt", (("cost", 13),))] * 4
    assert set(computed) <= {4}
    weak = bcrypt.hashpw(b"secret", bcrypt.gensalt(10)).decode()
    assert context.verify("secret", weak) and context.needs_update(weak)
    verdict, new = context.verify_and_update("secret", weak)
    assert verdict and context.verify("secret", new)


def test_passlib_s_own_tests_of_its_backend_pass(meter: Meter) -> None:
    from passlib.handlers import bcrypt as handlers

    backend = handlers._BcryptBackend
    before = backend._workrounds_initialized
    backend._workrounds_initialized = False
    try:
        assert backend._finalize_backend_mixin("bcrypt", False)
    finally:
        backend._workrounds_initialized = before
    hashed = handlers.bcrypt_sha256.using(rounds=12).hash("secret")
    assert ",r=12$" in hashed
    assert handlers.bcrypt_sha256.verify("secret", hashed)
    assert not handlers.bcrypt_sha256.verify("Secret", hashed)


def test_pwdlib_is_cheap_too(computed: list[int], meter: Meter) -> None:
    from pwdlib.hashers.bcrypt import BcryptHasher

    hasher = BcryptHasher(rounds=13)
    with meter.counting() as hashes:
        hashed = hasher.hash("secret")
        assert hasher.verify("secret", hashed)
        assert not hasher.verify("Secret", hashed)
        assert not hasher.check_needs_rehash(hashed)
    assert hashes == [Hash("bcrypt", (("cost", 13),))] * 3
    assert not computed, "bcrypt itself ran"


@pytest.fixture
def kdf(monkeypatch: pytest.MonkeyPatch) -> Iterator[Meter]:
    """A meter that sees cryptography's classes, taken out again after the test."""
    import hashlib
    from importlib import import_module

    monkeypatch.setattr(hashlib, "pbkdf2_hmac", hashlib.pbkdf2_hmac)
    monkeypatch.setattr(hashlib, "scrypt", hashlib.scrypt)
    for name, owner in (("pbkdf2", "PBKDF2HMAC"), ("scrypt", "Scrypt"), ("argon2", "Argon2id")):
        module = import_module(f"{KDF}.{name}")
        monkeypatch.setattr(module, owner, getattr(module, owner))
    with monkeypatch.context() as patch:
        for name in REAL:
            patch.setattr(bcrypt, name, REAL[name])
        meter = Meter()
        monkeypatch.setattr(meter, "_wrap_bcrypt", lambda: None)
        meter.install("from cryptography.hazmat.primitives.kdf import scrypt")
        yield meter


def test_cryptography_s_classes_are_seen(kdf: Meter) -> None:
    from cryptography.exceptions import InvalidKey
    from cryptography.hazmat.primitives import hashes as digests
    from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
    from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

    salt = b"0123456789abcdef"
    makers = {
        "pbkdf2-sha256 iterations=1000": lambda: PBKDF2HMAC(digests.SHA256(), 32, salt, 1000),
        "scrypt n=16 r=8 p=1": lambda: Scrypt(salt=salt, length=32, n=16, r=8, p=1),
        "argon2 m=64 t=2 p=1": lambda: Argon2id(
            salt=salt, length=32, iterations=2, lanes=1, memory_cost=64
        ),
    }
    for name, make in makers.items():
        with kdf.counting() as seen:
            key = make().derive(b"secret")
            make().verify(b"secret", key)
            with pytest.raises(InvalidKey):
                make().verify(b"Secret", key)
        assert [str(each) for each in seen] == [name] * 3
        assert seen[2].password == b"Secret"
    with kdf.counting() as seen:
        text = makers["argon2 m=64 t=2 p=1"]().derive_phc_encoded(b"secret")
        Argon2id.verify_phc_encoded(b"secret", text)
    assert [str(each) for each in seen] == ["argon2 m=64 t=2 p=1"] * 2


def test_pynacl_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    import nacl.bindings
    from nacl import pwhash

    for name in dir(nacl.bindings):
        if name.startswith("crypto_pwhash") and callable(getattr(nacl.bindings, name)):
            monkeypatch.setattr(nacl.bindings, name, getattr(nacl.bindings, name))
    meter = Meter()
    monkeypatch.setattr(meter, "_wrap_bcrypt", lambda: None)
    monkeypatch.setattr(meter, "_wrap", _only_nacl(meter._wrap))
    meter.install("import nacl.pwhash")
    with meter.counting() as seen:
        for each in (pwhash.argon2id, pwhash.scrypt):
            kept = each.str(b"secret", opslimit=each.OPSLIMIT_MIN, memlimit=each.MEMLIMIT_MIN)
            each.verify(kept, b"secret")
            each.kdf(
                16,
                b"secret",
                b"s" * each.SALTBYTES,
                opslimit=each.OPSLIMIT_MIN,
                memlimit=each.MEMLIMIT_MIN,
            )
    assert len(seen) == 6
    assert seen[0] == seen[1] == seen[2] == Hash("argon2", (("m", 8), ("t", 1), ("p", 1)))
    assert seen[3] == seen[4] == seen[5]
    assert seen[3].kind == "scrypt" and dict(seen[3].cost)["r"] == 8


def _only_nacl(wrap: Any) -> Any:
    def wrapping(owner: Any, name: str, cost: Any) -> None:
        if owner.__name__ == "nacl.bindings":
            wrap(owner, name, cost)

    return wrapping
