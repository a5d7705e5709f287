"""Lesson 01: hashing. Four tests of what you build, then mallory.

For maintainers
Goal: passwords are kept as slow, salted hashes, and no input makes the check crash or lie.
Teach: cost from settings, the 72 bytes, "never raises", upgrading at the next login.
Do not teach: how bcrypt works inside, peppers, sign-up policy (given, and tested in tests/).
"""

import logging
from collections.abc import Callable
from typing import Any

import bcrypt
import pytest

from lessons.harness.hostile import HOSTILE_PASSWORDS
from lessons.harness.meter import Hash, Meter
from lessons.harness.verdicts import check_type, only_raises, twin

attack = pytest.mark.attack
todo = pytest.mark.todo

PASSWORD = "correct horse battery"

# OWASP Password Storage Cheat Sheet: less memory takes more passes.
ARGON2_MINIMA = ((47104, 1), (19456, 2), (12288, 3), (9216, 4), (7168, 5))  # KiB, passes
SCRYPT_MINIMA = ((2**17, 1), (2**16, 2), (2**15, 3), (2**14, 5), (2**13, 10))  # N, p


def verifies(candidate: Any, plain: str, hashed: Any) -> bool:
    """Call verify_password, which promises never to raise."""
    with only_raises("verify_password"):
        verdict = candidate.verify_password(plain, hashed)
    check_type("verify_password", verdict, bool)
    return verdict


def upgrade(candidate: Any, plain: str, hashed: Any) -> tuple[bool, str | None]:
    """Call verify_and_upgrade, which promises never to raise either."""
    with only_raises("verify_and_upgrade"):
        pair = candidate.verify_and_upgrade(plain, hashed)
    check_type("verify_and_upgrade", pair, tuple)
    assert len(pair) == 2, f"verify_and_upgrade returned {pair!r}, not a pair like (True, None)."
    return pair


def try_to_hash(candidate: Any, password: str) -> str | None:
    """Hash, or return None where hash_password refuses with the ValueError it promises."""
    try:
        with only_raises("hash_password", ValueError):
            return candidate.hash_password(password)
    except ValueError:
        return None


# --- build ----------------------------------------------------------------------------------


@todo(2, "hash_password")
def test_a_password_verifies_against_its_own_hash(candidate: Any) -> None:
    """A hash is a text that tells a right password from a wrong one, and nothing else."""
    for password in (PASSWORD, "  spaces stay  ", "Gr\u00fc\u00df Gott", "12345678"):
        hashed = candidate.hash_password(password)
        check_type("hash_password", hashed, str)
        assert verifies(candidate, password, hashed), "The right password was refused."


@todo(3, "verify_password")
def test_another_password_does_not(candidate: Any) -> None:
    """Passwords are compared exactly as typed: spaces, case and accents count (ASVS 6.2.8)."""
    hashed = candidate.hash_password(PASSWORD)
    assert verifies(candidate, PASSWORD, hashed), "The right password was refused."
    others = ["", "wrong", PASSWORD + " ", " " + PASSWORD, PASSWORD.title(), PASSWORD[:-1]]
    others += [PASSWORD + "\n", PASSWORD.replace(" ", "  "), PASSWORD.replace(" ", "%20")]
    others += [PASSWORD.replace("a", "\uff41"), PASSWORD + "\u200b", hashed]
    others += [PASSWORD + mark + "x" for mark in "#:;&,"]  # what a parser would cut off
    for other in others:
        assert not verifies(candidate, other, hashed), f"{other!a} was taken for {PASSWORD!r}."
    composed, decomposed = "caf\u00e9 au lait", "cafe\u0301 au lait"
    hashed = candidate.hash_password(composed)
    assert not verifies(candidate, decomposed, hashed), "The password was normalised (NFC, NFD)."


@todo(2, "hash_password")
def test_one_password_has_many_hashes(candidate: Any) -> None:
    """Without a fresh salt, equal passwords look equal in a stolen table (CWE-759)."""
    first, second = candidate.hash_password(PASSWORD), candidate.hash_password(PASSWORD)
    assert first != second, "Two hashes of one password are equal: there is no fresh salt."
    assert verifies(candidate, PASSWORD, first), "The first hash does not verify."
    assert verifies(candidate, PASSWORD, second), "The second hash does not verify."


@todo(2, "hash_password")
def test_a_visitor_can_register(candidate: Any, client: Any, users: Any) -> None:
    """POST /register calls your hash_password and stores what it returns."""
    answer = client.post("/register", json={"username": "Erin", "password": PASSWORD})
    assert answer.status_code == 201, f"Expected 201, got {answer.status_code}."
    assert answer.json() == {"username": "erin", "email": None}, f"It answered {answer.text}."
    stored = users.get("erin").hashed_password
    assert verifies(candidate, PASSWORD, stored), "The stored hash does not verify."


# --- attack ---------------------------------------------------------------------------------


@attack
@todo(2, "hash_password")
def test_stolen_hashes_are_slow_to_guess(
    configure: Callable[..., None], candidate: Any, meter: Meter
) -> None:
    """A stolen table is attacked with billions of guesses. Each must be slow (CWE-916).

    bcrypt's cost is BCRYPT_ROUNDS; nothing of the password can be read (ASVS 11.4.2).
    """
    configure(BCRYPT_ROUNDS="5")
    with twin():
        hashed = candidate.hash_password(PASSWORD)
        assert verifies(candidate, PASSWORD, hashed), "The right password was refused."
    assert PASSWORD not in hashed, "The password stands in its hash, readable."
    again, other = candidate.hash_password(PASSWORD), candidate.hash_password("another one")
    letters = enumerate(zip(hashed, other, strict=False))
    start = next(at for at, (ours, theirs) in letters if ours != theirs)
    own = hashed[start:]  # without what names the algorithm
    pieces = {own[at : at + 8] for at in range(len(own) - 7)}
    fixed = [piece for piece in sorted(pieces) if piece in again and piece not in other]
    assert not fixed, f"{fixed[0]!r} stands in every hash of this password: unsalted, or readable."
    rounds = 5
    first = work_of_hashing(candidate, meter)
    if first.kind != "bcrypt":  # its cost may follow the settings too, so ask for today's
        rounds = 12
        configure(BCRYPT_ROUNDS="12")
        first = work_of_hashing(candidate, meter)
    assert is_slow(first, rounds), f"Too cheap: {first}, while BCRYPT_ROUNDS is {rounds}."


def work_of_hashing(candidate: Any, meter: Meter) -> Hash:
    """Return what hashing and verifying a password costs."""
    with meter.counting() as hashes:
        hashed = candidate.hash_password(PASSWORD)
    for _ in range(2):  # a remembered verdict would cost nothing the second time
        with meter.counting() as verifications:
            assert verifies(candidate, PASSWORD, hashed), "The right password was refused."
    assert hashes and verifications, (
        "The meter saw no password hash. It knows bcrypt, argon2, scrypt and PBKDF2; "
        "a plain digest such as SHA-256 is guessed billions of times a second."
    )
    assert hashes[0] == verifications[0], (
        f"Hashed with {hashes[0]}, verified with {verifications[0]}."
    )
    return hashes[0]


def is_slow(run: Hash, rounds: int) -> bool:
    """Tell whether bcrypt's cost is the settings', and another hash's at least OWASP's minimum."""
    cost = dict(run.cost)
    match run.kind:
        case "bcrypt":
            return cost["cost"] == rounds
        case "argon2":
            return any(cost["m"] >= m and cost["t"] >= t for m, t in ARGON2_MINIMA)
        case "scrypt":
            enough = any(cost["n"] >= n and cost["p"] >= p for n, p in SCRYPT_MINIMA)
            return enough and cost["r"] >= 8
        case "pbkdf2-sha1":
            return cost["iterations"] >= 1_300_000
        case "pbkdf2-sha256":
            return cost["iterations"] >= 600_000
        case "pbkdf2-sha512":
            return cost["iterations"] >= 210_000
        case _:
            return False


@attack
@todo(1, "encode_password")
@pytest.mark.parametrize(
    "start", ["a" * 72, "\u00e9" * 36, "\u4e2d" * 24], ids=["ASCII", "accents", "Chinese"]
)
def test_every_byte_of_a_long_password_counts(candidate: Any, start: str) -> None:
    """bcrypt reads 72 bytes. Mallory changes what comes after, and is in (ASVS 6.2.8).

    Bytes, not characters: 24 Chinese characters are 72 bytes.
    """
    with twin():
        hashed = candidate.hash_password(start[:-1])
        assert verifies(candidate, start[:-1], hashed), "The right password was refused."
    hashed = try_to_hash(candidate, start)
    assert hashed is not None, "72 bytes of UTF-8 were refused. They are not too many."
    assert verifies(candidate, start, hashed), "72 bytes of UTF-8 do not verify."
    assert not verifies(candidate, start + "X", hashed), (
        "verify_password ignored what follows 72 bytes. Does it call encode_password?"
    )
    assert upgrade(candidate, start + "X", hashed) == (False, None), (
        "verify_and_upgrade ignored what follows 72 bytes. Does it call verify_password?"
    )
    long = try_to_hash(candidate, start + "X")
    if long is not None:
        assert verifies(candidate, start + "X", long), "A long password does not verify."
        for other in (start + "Y", start):
            assert not verifies(candidate, other, long), "What follows 72 bytes was ignored."


@attack
@todo(1, "encode_password")
def test_a_nul_byte_cuts_nothing(candidate: Any) -> None:
    """C code takes a NUL for the end of a text, "a\\0b" for "a" (CWE-626).

    What notices the NUL must say no, not crash.
    """
    with twin():
        hashed = candidate.hash_password("a secret")
        empty = try_to_hash(candidate, "")
        assert verifies(candidate, "a secret", hashed), "The right password was refused."
    for other in ("a secret\0", "a secret\0b", "\0", "\0a secret"):
        assert not verifies(candidate, other, hashed), "A NUL cut the password."
        if empty is not None:
            assert not verifies(candidate, other, empty), "A NUL stands for the empty password."
    with_nul = try_to_hash(candidate, "a\0b")
    if with_nul is not None:
        assert verifies(candidate, "a\0b", with_nul), "A NUL was accepted, and does not verify."
        for other in ("a", "a\0", "a\0c"):
            assert not verifies(candidate, other, with_nul), "A NUL cut the password."


@attack
@todo(3, "verify_password")
@pytest.mark.parametrize("password", HOSTILE_PASSWORDS.values(), ids=HOSTILE_PASSWORDS)
def test_no_password_crashes_the_check(candidate: Any, password: str) -> None:
    """A password that ends in a 500 tells mallory which names exist (ASVS 16.5.3)."""
    with twin():
        hashed = candidate.hash_password(PASSWORD)
        assert verifies(candidate, PASSWORD, hashed), "The right password was refused."
    assert not verifies(candidate, password, hashed), "An impossible password was accepted."
    assert upgrade(candidate, password, hashed) == (False, None), "It was right, or upgraded."
    stored = try_to_hash(candidate, password)
    if stored is not None:
        assert verifies(candidate, password, stored), "It was accepted, and does not verify."
        for other in {"", "?", "\ufffd", "secret"} - {password}:
            assert not verifies(candidate, other, stored), f"{other!a} was taken for it."


@attack
@todo(3, "verify_password")
def test_a_huge_password_costs_no_hashing(candidate: Any, client: Any, meter: Meter) -> None:
    """Mallory posts megabytes, and your processor hashes them all day (CWE-400).

    What is too long to have is refused before any hashing.
    """
    with twin():
        with meter.counting() as hashes:
            hashed = candidate.hash_password(PASSWORD)
        assert hashes, "The meter saw no password hash: bcrypt, argon2, scrypt or PBKDF2."
    for size in (5_000, 1_000_000):
        too_long = try_to_hash(candidate, "a" * size) is None
        with meter.counting() as hashes:
            assert not verifies(candidate, "a" * size, hashed), "It was accepted."
        assert not (too_long and hashes), (
            f"A password of {size:,} bytes, too long for hash_password, was hashed to verify it."
        )
        with meter.counting() as hashes:
            answer = client.post("/register", json={"username": "erin", "password": "a" * size})
        assert answer.status_code == 422, f"Expected 422, got {answer.status_code}."
        assert not hashes, f"A password of {size:,} bytes was hashed at POST /register."


@attack
@todo(3, "verify_password")
@pytest.mark.parametrize(
    "hashed",
    ["", "!", "x", None, "$2b$04$", "$2b$99$" + "." * 53, "$2b$04$\u00e9" + "a" * 52, "$argon2id$"],
    ids=["empty", "locked", "text", "none", "cut", "cost 99", "not ASCII", "another kind"],
)
def test_a_damaged_hash_opens_nothing(candidate: Any, hashed: str | None) -> None:
    """A damaged row must not crash the login, and not open the account either (CWE-636)."""
    with twin():
        good = candidate.hash_password(PASSWORD)
        assert verifies(candidate, PASSWORD, good), "The right password was refused."
    for plain in (PASSWORD, "", "!", "x"):
        assert not verifies(candidate, plain, hashed), "A damaged hash verified."
        assert upgrade(candidate, plain, hashed) == (False, None), "A damaged hash verified."


@attack
@todo(4, "verify_and_upgrade")
def test_old_cheap_hashes_are_replaced(configure: Callable[..., None], candidate: Any) -> None:
    """A hash from ten years ago is cheap to guess today. Login is the chance to replace it.

    Only a right password replaces it, and never by a weaker one (OWASP Password Storage).
    """
    odd = "  Gr\u00fc\u00df Gott\uff41  "
    weak = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    weak_odd = bcrypt.hashpw(odd.encode(), bcrypt.gensalt(4)).decode()
    configure(BCRYPT_ROUNDS="5")
    with twin():
        current = candidate.hash_password(PASSWORD)
        assert upgrade(candidate, PASSWORD, current)[0], "The right password was refused."
    assert upgrade(candidate, PASSWORD, current) == (True, None), (
        "A hash that is up to date needs no new one: expected (True, None)."
    )
    assert upgrade(candidate, "wrong", current) == (False, None), "A wrong password is right."
    assert upgrade(candidate, "wrong", weak) == (False, None), "A wrong password was upgraded."
    verdict, new = upgrade(candidate, PASSWORD, weak)
    assert verdict is True, "The right password was refused because its hash is old."
    assert isinstance(new, str), "A hash of cost 4 stays, while the settings say 5."
    assert verifies(candidate, PASSWORD, new), "The new hash does not verify."
    assert upgrade(candidate, PASSWORD, new) == (True, None), "The new hash is outdated at once."
    _, new_odd = upgrade(candidate, odd, weak_odd)
    assert new_odd and verifies(candidate, odd, new_odd), "The new hash is of another text."
    configure(BCRYPT_ROUNDS="4")
    assert upgrade(candidate, PASSWORD, current)[1] is None, "A stronger hash was weakened."


@attack
@todo(2, "hash_password")
def test_no_password_is_written_down(
    candidate: Any, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """More people read the logs than the table, and a log is kept for years (CWE-532)."""
    caplog.set_level(logging.DEBUG)
    with twin():
        hashed = candidate.hash_password(PASSWORD)
        assert verifies(candidate, PASSWORD, hashed), "The right password was refused."
    for hostile in (PASSWORD + "\0", PASSWORD * 9):
        try_to_hash(candidate, hostile)
        upgrade(candidate, hostile, hashed)
    upgrade(candidate, PASSWORD, "damaged")
    printed = capsys.readouterr()
    log = caplog.text + printed.out + printed.err
    for name, secret in {"password": PASSWORD, "hash": hashed}.items():
        line = next((line for line in log.splitlines() if secret in line), None)
        assert line is None, f"The log holds the {name}: {line!a:.60}"
