"""Lesson 01: hashing. Four tests of what you build, then mallory.

For maintainers
Goal: passwords are kept as slow, salted hashes, and no input makes the check crash or lie.
Teach: cost from settings, the 72 bytes, "never raises", upgrading at the next login.
Do not teach: how bcrypt works inside, peppers, sign-up policy (given, and tested here as such).
"""

import asyncio
import secrets
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import bcrypt
import pytest

from lessons.harness.answers import differs, says, surplus_headers
from lessons.harness.clock import jumping
from lessons.harness.failing import Before, Failing, Slow, in_place
from lessons.harness.hostile import HOSTILE_PASSWORDS, misread
from lessons.harness.memory import remembered, traces
from lessons.harness.meter import Hash, Meter
from lessons.harness.outside import outside, variables_read
from lessons.harness.randomness import Tape, drawing_from, draws_again
from lessons.harness.reads import reading
from lessons.harness.side_doors import Contract, side_doors, with_door
from lessons.harness.storm import past_the_entrance
from lessons.harness.trap import holds, listening, told_apart
from lessons.harness.verdicts import check_type, only_raises, twin

asvs = pytest.mark.asvs
attack = pytest.mark.attack
todo = pytest.mark.todo

PASSWORD = "Correct horse & battery 9"
LETTERS = "bassoonsandtrombonesandoboesandclarinetsandtubasandhornsandcelli"  # nothing but these
ODD = "Gr\u00fcner Rock &amp; 7%2B + \\x41 "  # what well-meaning code takes for something else

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


def let_in(candidate: Any, password: str, hashed: str) -> None:
    assert verifies(candidate, password, hashed), "The right password was refused."


def refuse(candidate: Any, plain: str, hashed: Any, why: str) -> None:
    """Assert that both functions say no. `why` is for the learner."""
    assert not verifies(candidate, plain, hashed), why
    is_right, upgraded = upgrade(candidate, plain, hashed)
    assert not is_right, f"verify_and_upgrade: {why}"
    assert upgraded is None, f"verify_and_upgrade says no, and returns {upgraded!r:.20} with it."


def try_to_hash(candidate: Any, password: str) -> str | None:
    """Hash, or return None where hash_password refuses with the ValueError it promises."""
    try:
        with only_raises("hash_password", ValueError):
            return candidate.hash_password(password)
    except ValueError:
        return None


def made_elsewhere(password: str, cost: int = 5) -> str:
    """Return a bcrypt hash as any other program makes it."""
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(cost)).decode()


def register(client: Any, password: str, name: str = "erin", **more: Any) -> Any:
    return client.post("/register", json={"username": name, "password": password, **more})


# --- build ----------------------------------------------------------------------------------


@todo(2, "hash_password")
def test_a_password_verifies_against_its_own_hash(candidate: Any) -> None:
    """A hash is a text that tells a right password from a wrong one, whoever made it."""
    for password in (PASSWORD, ODD, "12345678", "\u043f\u0430\u0440\u043e\u043b\u044c"):
        hashed = candidate.hash_password(password)
        check_type("hash_password", hashed, str)
        let_in(candidate, password, hashed)
        assert verifies(candidate, password, made_elsewhere(password, 4)), (
            "A bcrypt hash of the password's UTF-8, as the demo people have one, was refused."
        )
    assert not verifies(candidate, "\u0437\u0430\u043c\u043e\u043a\u0438", hashed), (
        "Two words in Cyrillic are one. What became of their letters? UTF-8 has them all."
    )


NEAR = misread(ODD)
NEAR |= {f"cut off at {mark}": f"{ODD}{mark}x" for mark in "#:&"}
NEAR |= {f"with U+{ord(mark):04X}": ODD[:3] + mark + ODD[3:] for mark in "\u200b\u00ad\ufeff\t\r"}
NEAR |= {"with two blanks": ODD.replace(" ", "  "), "in Cyrillic": ODD.replace("o", "\u043e")}
NEAR |= {f"letter {at} mistyped": f"{ODD[:at]}~{ODD[at + 1 :]}" for at in (0, 9, 24)}


# What str.strip, split, isspace, isprintable or a regular expression may take for nothing.
SPACES = ("\t", "\n", "\v", "\f", "\r", "\r\n", "\x1c", "\x1d", "\x1e", "\x1f", "\x85", "\xa0")
SPACES += ("\xad", "\u1680", "\u180e", "\u2000", "\u2003", "\u2009", "\u200b", "\u200d", "\u2028")
SPACES += ("\u2029", "\u202f", "\u205f", "\u2060", "\u3000", "\ufeff", " ")
# What a program that means well makes one of: compatible letters, and the marks of telephones.
ALIKE = {
    "\ufb01": "fi",
    "\xdf": "ss",
    "\xb2": "2",
    "\u0661": "1",
    "\u212a": "K",
    "\u2126": "\u03a9",
}
ALIKE |= {
    "\u2019": "'",
    "\u201c": '"',
    "\u2013": "-",
    "\u2026": "...",
    "\u0131": "i",
    "\uff0b": "+",
}
ALIKE |= dict.fromkeys("\u2010\u2011\u2012\u2014\u2212\ufe63\uff0d", "-")
ALIKE |= {"\u2018": "'", "\u201d": '"', "\u2044": "/", "\u2160": "I", "\u017f": "s"}


def spaced(space: str) -> tuple[str, dict[str, str]]:
    """Return a password with a kind of space in each place, and by name what is near to it."""
    first, middle, last = (f"{space}Trom", f"bone{space}horn", f"7{space}")
    right = first + middle + last
    near = {
        "at the start is ignored": first.replace(space, "") + middle + last,
        "in the middle is ignored": first + middle.replace(space, "") + last,
        "at the end is ignored": first + middle + last.replace(space, ""),
        "twice is once": right.replace(space, space * 2),
        "is a blank": right.replace(space, " "),
        "is a line end": right.replace(space, "\n"),
        "is a few blanks": right.expandtabs(),
    }
    return right, {what: each for what, each in near.items() if each != right}


def reaches_a_hash(meter: Meter, call: Callable[..., Any], *args: Any) -> bytes | None:
    """Return what a call lets hash first, and end it there: none of these hashes takes its time."""
    call = getattr(call, "__wrapped__", call)  # nothing is to be learned from how it ends
    with meter.counting() as hashes, meter.stopping(), suppress(ValueError):
        call(*args)
    given = hashes[0].password if hashes else None
    return given.encode("utf-8", "replace") if isinstance(given, str) else given


def refuse_near_spaces(candidate: Any, meter: Meter, spaces: tuple[str, ...]) -> None:
    """Assert that these spaces count in each place, when hashed, verified and upgraded."""
    plain = made_elsewhere("Tromhorn7", 4)
    for number, space in enumerate(spaces):
        right, near = spaced(space)
        for name, args in (("hash_password", ()), ("verify_password", (plain,))):
            call = getattr(candidate, name)
            given = reaches_a_hash(meter, call, right, *args)
            for what, other in near.items() if given is not None else ():
                assert reaches_a_hash(meter, call, other, *args) != given, (
                    f"{name}: {space!a} {what}: {other!a} is hashed like {right!a}."
                )
        for other in (f"Tromhorn7{space}", (f"{space}Tromhorn7", f"Trom{space}horn7")[number % 2]):
            assert not verifies(candidate, other, plain), f"{other!a} got in for 'Tromhorn7'."
            assert not upgrade(candidate, other, plain)[0], f"{other!a} got in for 'Tromhorn7'."
        spacious = made_elsewhere(f"Tromhorn7{space}", 4)
        assert not upgrade(candidate, "Tromhorn7", spacious)[0], (
            f"'Tromhorn7' got in for one with {space!a} at its end."
        )


@todo(3, "verify_password")
@pytest.mark.parametrize("part", range(4))  # a hash may take a second, and a test ten
@asvs("6.2.8")
def test_another_password_does_not(candidate: Any, settings: Any, meter: Meter, part: int) -> None:
    """Passwords are compared exactly as typed: spaces, case and accents count (ASVS 6.2.8)."""
    hashed = candidate.hash_password(ODD)
    let_in(candidate, ODD, hashed)
    refuse_near_spaces(candidate, meter, SPACES[part::4])
    for one, other in [*ALIKE.items()][part::4]:
        as_typed = reaches_a_hash(meter, candidate.hash_password, f"Trom{one}bone")
        taken = reaches_a_hash(meter, candidate.hash_password, f"Trom{other}bone")
        assert as_typed is None or as_typed != taken, f"{other!a} was taken for {one!a}."
    small = PASSWORD.lower()
    hashed_small = candidate.hash_password(small)
    for other in (small.capitalize(), small.upper()) if part == 0 else ():
        assert not verifies(candidate, other, hashed_small), f"{other!r} was let in for {small!r}."
    more = {"nothing": "", "the hash": hashed, "the signing key": settings.signing_key}
    for name, other in [*NEAR.items(), *more.items()][part::4]:
        assert not verifies(candidate, other, hashed), f"{name}: {other!a} was let in."


@todo(2, "hash_password")
def test_one_password_has_many_hashes(candidate: Any) -> None:
    """Without a fresh salt, equal passwords look equal in a stolen table (CWE-759)."""
    first, second = candidate.hash_password(PASSWORD), candidate.hash_password(PASSWORD)
    assert first != second, "Two hashes of one password are equal: there is no fresh salt."
    let_in(candidate, PASSWORD, first)
    let_in(candidate, PASSWORD, second)


@todo(2, "hash_password")
@asvs("6.2.8")
def test_a_visitor_can_register(candidate: Any, client: Any, users: Any, meter: Meter) -> None:
    """POST /register calls your hash_password and stores what it returns."""
    answer = register(client, ODD, "Erin")
    assert answer.status_code == 201, f"Expected 201, got {answer.status_code}."
    says(answer, {"username": "erin", "email": None}, "The answer")
    stored = users.get("erin").hashed_password
    assert verifies(candidate, ODD, stored), "The stored hash is not of the password as typed."
    for number, space in enumerate(SPACES):
        password = f"{space}{PASSWORD}{space}"
        given = reaches_a_hash(meter, register, client, password, f"erin{number}")
        typed = {reaches_a_hash(meter, candidate.hash_password, password) for _ in range(2)}
        is_salted = len(typed) == 2  # before it is hashed, so another one each time
        assert given in typed or is_salted, f"What is hashed is not {password!a}, as typed."


# --- attack ---------------------------------------------------------------------------------


@attack
@todo(2, "hash_password")
@pytest.mark.parametrize("where", ["production", "development"])
def test_stolen_hashes_are_slow_to_guess(
    configure: Callable[..., None], candidate: Any, meter: Meter, where: str
) -> None:
    """A stolen table is attacked with billions of guesses. Each must be slow (CWE-916).

    bcrypt's cost is the settings' BCRYPT_ROUNDS, wherever those have it from (ASVS 11.4.2).
    """
    rounds = {"production": 11, "development": 13}[where]
    with variables_read() as asked:
        configure(ENVIRONMENT=where, BCRYPT_ROUNDS=str(rounds))
        with twin():
            let_in(candidate, PASSWORD, candidate.hash_password(PASSWORD))
        first = work_of_hashing(candidate, meter)
    assert not asked, f"Your file reads the variable {asked[0]}. The settings do that for you."
    if first.kind != "bcrypt":  # its cost may follow the settings too, so ask for the default's
        rounds = 12
        configure(BCRYPT_ROUNDS="12")
        first = work_of_hashing(candidate, meter)
    assert is_slow(first, rounds), f"It hashes with {first}, and BCRYPT_ROUNDS is {rounds}."


def work_of_hashing(candidate: Any, meter: Meter) -> Hash:
    """Return what hashing and verifying a password costs."""
    with meter.counting() as hashes:
        hashed = candidate.hash_password(PASSWORD)
    assert hashes, (
        "The meter saw no password hash. It knows bcrypt, argon2, scrypt and PBKDF2; "
        "a plain digest such as SHA-256 is guessed billions of times a second."
    )
    for check in (verifies, verifies, upgrade):  # a remembered verdict would cost nothing
        with meter.counting() as verifications:
            assert check(candidate, PASSWORD, hashed), "The right password was refused."
        assert verifications, "It said yes without hashing the password that was typed."
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
@todo(2, "hash_password")
def test_a_hash_gives_nothing_away(
    configure: Callable[..., None], candidate: Any, meter: Meter
) -> None:
    """What stands beside the hash is read without guessing, a weak salt guessed ahead (CWE-330).

    The password in any spelling, a quick digest of it, a salt of less than 128 drawn bits.
    """
    configure(BCRYPT_ROUNDS="10")
    with twin(), meter.counting() as hashes:
        hashed = candidate.hash_password(PASSWORD)
        let_in(candidate, PASSWORD, hashed)
    how = holds(hashed, PASSWORD, is_password=True)
    assert how is None, f"The password stands in its hash, {how}."
    refuse_stand_ins(candidate, hashes, PASSWORD, hashed)
    again, other = candidate.hash_password(PASSWORD), candidate.hash_password(ODD)
    start = next(
        (at for at, pair in enumerate(zip(hashed, other, strict=False)) if len({*pair}) > 1), 0
    )
    own = hashed[start:]  # without what names the algorithm
    pieces = {own[at : at + 8] for at in range(len(own) - 7)}
    fixed = [piece for piece in sorted(pieces) if piece in again and piece not in other]
    assert not fixed, f"{fixed[0]!r} stands in every hash of this password: unsalted, or readable."
    if hashes and hashes[0].kind == "bcrypt":
        letters = len(own.replace("$", ""))  # passlib's own format has one between the two
        assert letters <= 53, f"{letters} letters differ. bcrypt's salt and hash are 53. What else?"
    assert has_a_drawn_salt(candidate), (
        "The salt is weak. It has 16 bytes of the system's randomness, and all of them count."
    )
    for at in (-2, -24):
        near = hashed[:at] + ("A" if hashed[at] != "A" else "z") + hashed[at + 1 or None :]
        assert not verifies(candidate, PASSWORD, near), (
            "The password fits another hash too. Is a hash compared to its end?"
        )


def has_a_drawn_salt(candidate: Any) -> bool:
    """Tell whether 16 bytes or more are drawn for a hash, and the last 16 of them count."""

    def draw() -> str:
        return candidate.hash_password(PASSWORD)

    tape = Tape()
    with drawing_from(tape.draw):
        first = tape.play(draw)
        if tape.play(draw) == first:
            size = len(tape.drawn)
            changed = [tape.play(draw, size - back) for back in (16, 12, 8, 4)]
            return size >= 16 and first not in changed
    # It comes from elsewhere. libsodium draws by itself; `random` and the clock are no source.
    return "nacl" in sys.modules and not draws_again(draw)


@attack
@todo(1, "encode_password")
@pytest.mark.parametrize(
    "start", ["a" * 72, "\u00e9" * 36, "\u4e2d" * 24], ids=["ASCII", "accents", "Chinese"]
)
@asvs("6.2.8", "6.2.9")
def test_every_byte_of_a_long_password_counts(candidate: Any, meter: Meter, start: str) -> None:
    """bcrypt reads 72 bytes. Mallory changes what comes after, and is in (ASVS 6.2.8).

    Bytes, not characters: 24 Chinese characters are 72 bytes.
    """
    with twin():
        let_in(candidate, start[:-1], candidate.hash_password(start[:-1]))
    hashed = try_to_hash(candidate, start)
    assert hashed is not None, "72 bytes of UTF-8 were refused. They are not too many."
    assert verifies(candidate, start, hashed), "72 bytes of UTF-8 do not verify."
    refuse(candidate, start + "X", hashed, "What follows 72 bytes was ignored.")
    assert not verifies(candidate, start[:-1] + "X", hashed), "Its last letter does not count."
    with meter.counting() as hashes:
        long = try_to_hash(candidate, start + "X")
    if long is not None:
        assert verifies(candidate, start + "X", long), "73 bytes are hashed, and do not verify."
        for other in (start + "Y", start, start + "XX"):
            assert not verifies(candidate, other, long), "What follows 72 bytes was ignored."
        refuse_stand_ins(candidate, hashes, start + "X", long)
    for kind in ("2a", "2b", "2y"):  # rows from elsewhere; PHP writes 2y
        row = made_elsewhere(start).replace("2b", kind, 1)
        assert verifies(candidate, start, row) or kind != "2b", "72 bytes do not verify."
        refuse(
            candidate, start + "X", row, f"A row of ${kind}$: what follows 72 bytes was ignored."
        )


def refuse_stand_ins(candidate: Any, hashes: list[Hash], password: str, hashed: str) -> None:
    """Type what the slow hash was given in the place of a password. It must not log in."""
    given = {each.password for each in hashes if each.password}
    typed = {
        each if isinstance(each, str) else bytes(each).decode("utf-8", "replace") for each in given
    }
    for stand_in in sorted(typed - {password}):
        refuse(
            candidate,
            stand_in,
            hashed,
            "A digest stands for a password, and logs in itself: whoever has it needs no more.",
        )


@attack
@todo(1, "encode_password")
@asvs("6.2.8")
def test_a_nul_byte_cuts_nothing(candidate: Any, meter: Meter) -> None:
    """C code takes a NUL for the end of a text, "a\\0b" for "a" (CWE-626).

    What notices the NUL must say no, not crash. A raw digest may hold one as well.
    """
    with twin():
        hashed = candidate.hash_password("a secret")
        empty = try_to_hash(candidate, "")
        let_in(candidate, "a secret", hashed)
    for other in ("a secret\0", "a secret\0b", "\0", "\0a secret"):
        assert not verifies(candidate, other, hashed), "A NUL cut the password."
        if empty is not None:
            assert not verifies(candidate, other, empty), "A NUL stands for the empty password."
    for kind in ("2a", "2y"):
        row = made_elsewhere("a secret").replace("2b", kind, 1)
        assert not verifies(candidate, "a secret\0b", row), (
            f"A row of ${kind}$: a NUL cut the password."
        )
    with_nul = try_to_hash(candidate, "a\0b")
    if with_nul is not None:
        assert verifies(candidate, "a\0b", with_nul), "A NUL was accepted, and does not verify."
        for other in ("a", "a\0", "a\0c"):
            assert not verifies(candidate, other, with_nul), "A NUL cut the password."
    for start in ("secret", "secret" * 20):
        given = given_to_bcrypt(candidate, meter, f"{start} 0")
        if not given.isascii():  # a raw digest: every eighth has a NUL somewhere
            for number in range(1, 100):
                another = given_to_bcrypt(candidate, meter, f"{start} {number}")
                assert len(another) == len(given), (
                    f"Of some passwords {len(another)} bytes of a digest count, not {len(given)}."
                )


def given_to_bcrypt(candidate: Any, meter: Meter, password: str) -> bytes:
    """Return the bytes that bcrypt gets to see for a password; none if something else hashes."""
    with meter.counting() as hashes:
        hashed = try_to_hash(candidate, password)
    assert hashed or len(password) > 72, f"{password!r}, a good password, was refused."
    given = hashes[0].password if hashes and hashes[0].kind == "bcrypt" else b""
    return given.encode("utf-8", "replace") if isinstance(given, str) else bytes(given)


HOSTILE = HOSTILE_PASSWORDS | {
    "any lone surrogate": f"secret{chr(0xD800 + secrets.randbelow(0x800))}",
    "surrogates for bytes": ODD.encode().decode("ascii", "surrogateescape"),  # Python's file names
}
HANDLERS = ("ignore", "replace", "backslashreplace", "namereplace", "xmlcharrefreplace")


@attack
@todo(3, "verify_password")
@pytest.mark.parametrize("password", HOSTILE.values(), ids=HOSTILE)
def test_no_password_crashes_the_check(candidate: Any, password: str) -> None:
    """A password that ends in a 500 tells mallory which names exist (ASVS 16.5.3)."""
    with twin():
        hashed = candidate.hash_password(ODD)
        let_in(candidate, ODD, hashed)
    refuse(candidate, password, hashed, "An impossible password was accepted.")
    stored = try_to_hash(candidate, password)
    if stored is not None:
        assert verifies(candidate, password, stored), "It was accepted, and does not verify."
        others = {password.encode("utf-8", handler).decode() for handler in HANDLERS}
        for other in sorted({"", "?", "\ufffd", "secret", ODD, *others} - {password}):
            taken = f"{other!a} was taken for {password!a:.30}."
            assert not verifies(candidate, other, stored), taken


# What a regular expression may need years for, if it can cut a text in many ways.
SLOW_TO_MATCH = {
    "letters and two marks": "a" * 40 + "!!",
    "blanks": " " * 72,
    "words and a mark": "a " * 35 + "!",
    "digits and a letter": "1" * 71 + "x",
    "capitals and a blank": "A" * 70 + " x",
    "marks": "-" * 71 + "a",
    "dots": "a." * 35 + "\n",
    "many blanks": " " * 100_000 + "x",
}


@attack
@todo(3, "verify_password")
def test_a_huge_password_costs_no_hashing(candidate: Any, client: Any, meter: Meter) -> None:
    """Mallory posts megabytes, and your processor hashes them all day (CWE-400).

    What is too long to have is refused before any hashing. Nor does a short one keep you busy.
    """
    with twin():
        with meter.counting() as hashes:
            hashed = candidate.hash_password(PASSWORD)
        assert hashes, "The meter saw no password hash: bcrypt, argon2, scrypt or PBKDF2."
    for name, password in SLOW_TO_MATCH.items():  # a pattern may try more ways than there are atoms
        refuse(candidate, password, "", f"An empty hash: {name}.")
    for size in (5_000, 1_000_000):
        too_long = try_to_hash(candidate, "a" * size) is None
        with meter.counting() as hashes:
            refuse(candidate, "a" * size, hashed, "It was accepted.")
        assert not (too_long and hashes), (
            f"A password of {size:,} bytes, too long for hash_password, was hashed to verify it."
        )
        with meter.counting() as hashes:
            answer = register(client, "a" * size)
        assert answer.status_code in (413, 422), f"Expected 422, got {answer.status_code}."
        assert not hashes, f"A password of {size:,} bytes was hashed at POST /register."


DAMAGED = {
    "empty": "",
    "locked": "!",
    "text": "x",
    "none": None,
    "cut": "$2b$04$",
    "cost 99": "$2b$99$" + "." * 53,
    "not ASCII": "$2b$04$\u00e9" + "a" * 52,
    "another kind": "$argon2id$",
}
LOCKED = ("!{}", "!!{}", "*{}", "*LK*{}", "x{}", "disabled {}", "{}!", "{}x", "#{}", "LK:{}")
LOCKED += ("{{LOCKED}}{}", "{{CRYPT}}{}", "[gone]{}", "(gone) {}", "<gone>{}")
LOCKED += (
    "{} locked by an administrator",
    "{}\tgone",
    "{}\n!",
    "{} !",
    "{}:gone",
    "{},gone",
    "{}#",
)


@attack
@todo(3, "verify_password")
def test_a_damaged_hash_opens_nothing(candidate: Any) -> None:
    """A damaged row must not crash the login, and not open the account either (CWE-636).

    Administrators damage one on purpose: a mark before or behind the hash locks the account.
    """
    with twin():
        good = candidate.hash_password(PASSWORD)
        let_in(candidate, PASSWORD, good)
    for name, hashed in DAMAGED.items():
        for plain in (PASSWORD, "", "!", "x"):
            refuse(candidate, plain, hashed, f"A damaged hash verified: {name}.")
    for whole in (good, made_elsewhere(PASSWORD)):
        for locked in (*(mark.format(whole) for mark in LOCKED), whole[:-1], whole + whole):
            refuse(candidate, PASSWORD, locked, f"A locked or damaged hash verified: {locked!a}.")


@attack
@todo(4, "verify_and_upgrade")
def test_old_cheap_hashes_are_replaced(
    configure: Callable[..., None], candidate: Any, client: Any, meter: Meter
) -> None:
    """A hash from ten years ago is cheap to guess today. Login is the chance to replace it.

    Only a right password replaces it, and never by a weaker one (OWASP Password Storage).
    """
    configure(BCRYPT_ROUNDS="12")
    with twin():
        current = candidate.hash_password(PASSWORD)
        assert upgrade(candidate, PASSWORD, current)[0], "The right password was refused."
    assert upgrade(candidate, PASSWORD, current) == (True, None), (
        "A hash that is up to date needs no new one: expected (True, None)."
    )
    assert upgrade(candidate, "wrong", current) == (False, None), "A wrong password is right."
    for password, cost in ((PASSWORD, 4), (ODD, 11), (f"\t{ODD}\n", 4), (f" {ODD}\t", 4)):
        weak = made_elsewhere(password, cost)
        assert upgrade(candidate, "wrong", weak) == (False, None), "A wrong password was upgraded."
        verdict, new = upgrade(candidate, password, weak)
        assert verdict is True, "The right password was refused because its hash is old."
        assert isinstance(new, str), f"A hash of cost {cost} stays, while the settings say 12."
        assert verifies(candidate, password, new), "The new hash is of another text."
        assert not verifies(candidate, "wrong", new), "The new hash is of any text."
        assert upgrade(candidate, password, new) == (True, None), (
            "The new hash is outdated at once."
        )
    for password, new in upgrade_at_once(candidate, client, meter).items():
        assert new and verifies(candidate, password, new), (
            "Three upgraded at once, in threads: one's new hash is not of the own password."
        )
    configure(BCRYPT_ROUNDS="10")
    assert upgrade(candidate, PASSWORD, current) == (True, None), "A stronger hash was weakened."
    is_plain = given_to_bcrypt(candidate, meter, PASSWORD) == PASSWORD.encode()
    if is_plain and current.startswith("$2"):  # hashes from elsewhere are like its own
        for cost in range(11, 17):
            stronger = made_elsewhere(PASSWORD, cost)
            assert upgrade(candidate, PASSWORD, stronger) == (True, None), (
                f"A hash of cost {cost} was weakened, while the settings say 10."
            )


def upgrade_at_once(candidate: Any, client: Any, meter: Meter) -> dict[str, str | None]:
    """Return the new hashes of three people whose passwords are verified at the same moment."""
    weak = {f"{PASSWORD}{number}": "" for number in range(3)}
    weak |= {password: made_elsewhere(password, 4) for password in weak}
    new: dict[str, str | None] = {}

    def one(password: str) -> None:
        with suppress(AssertionError):  # then it has none, and that is what is said
            new[password] = upgrade(candidate, password, weak[password])[1]

    threads = [threading.Thread(target=one, args=(password,), daemon=True) for password in weak]
    with meter.holding(limit=len(weak) - 1) as verifying:
        for thread in threads:
            thread.start()
        client.run(verifying.settle())
        with meter.holding(limit=len(weak) - 1) as hashing:  # none is done before all have begun
            verifying.open()
            client.run(hashing.watch())
        for thread in threads:
            thread.join(5)
    return {password: new.get(password) for password in weak}


@attack
@todo(2, "hash_password")
@pytest.mark.parametrize("where", ["log", "memory"])
def test_no_password_is_written_down(
    candidate: Any, client: Any, users: Any, capfd: Any, where: str
) -> None:
    """More people read the logs than the table, and a log is kept for years (CWE-532).

    What your module remembers stands in every dump of the process, in clear.
    """
    from solutions import hashing

    with twin():
        hashed = candidate.hash_password(PASSWORD)
        let_in(candidate, PASSWORD, hashed)
    wrong = "Trombone or bassoon?"
    if where == "memory":
        refuse_to_remember(candidate, client, users, [wrong + "?" * more for more in range(5)])
        return
    with listening(capfd) as trap, outside() as reached:
        for plain in (PASSWORD, wrong, PASSWORD + "\0", PASSWORD * 9, PASSWORD + "\ud800"):
            try_to_hash(candidate, plain)
            for row in (hashed, "damaged", None):
                upgrade(candidate, plain, row)
        for name in ("erin", "no name"):
            register(client, PASSWORD, name)
        with jumping(hashing):  # on a busy server, a hash takes long
            for plain in (PASSWORD, wrong):
                upgrade(candidate, plain, hashed)
            register(client, PASSWORD, "erin")
    trap.refuse({"password": PASSWORD, "wrong password": wrong, "hash": hashed})
    assert not reached, f"Your code reached for {reached[0]}. A hash needs nothing outside."
    told = told_apart(lambda plain: upgrade(candidate, plain, hashed), wrong, wrong[::-1])
    assert told is None, f"{told} is written for one wrong password and not for another one."


def refuse_to_remember(candidate: Any, client: Any, users: Any, passwords: list[str]) -> None:
    """Assert that after a registration, a right and a wrong password the module holds none."""
    from solutions import hashing

    def come_and_go(password: str) -> None:
        name = f"erin{len(password)}"
        register(client, password, name)
        upgrade(candidate, password, users.get(name).hashed_password)
        upgrade(candidate, password + "!", users.get(name).hashed_password)

    def hash_and_verify(password: str) -> None:
        upgrade(candidate, password, candidate.hash_password(password))

    kept = remembered(hashing, come_and_go, passwords)
    assert kept is None, f"Your module remembers passwords: {kept}."
    kept = traces(hashing, hash_and_verify, [each + "&" for each in passwords[:3]])
    assert kept is None, f"Your module keeps a trace of each password: {kept}."


@attack
@todo(2, "hash_password")
@asvs("6.2.1", "6.2.4", "6.2.5", "8.2.3")
def test_nobody_cheats_at_the_registration(
    candidate: Any, client: Any, users: Any, settings: Any
) -> None:
    """The route is given, and yours to keep: an easy password, a role or a taken name is refused.

    At least PASSWORD_MIN_LENGTH characters of any kind (ASVS 6.2.1, 6.2.5), none of the commonest
    (6.2.4), and nothing beside them (CWE-915).
    """
    from solutions.stores.users import MemoryUserStore, get_users
    from solutions.support.passwords import common_passwords

    with twin():
        answer = register(client, PASSWORD, "Erin", email="erin@example.com")
        assert answer.status_code == 201, f"Expected 201, got {answer.status_code}."
    assert answer.json() == {"username": "erin", "email": "erin@example.com"}, (
        f"It answered {answer.text}. Only the name and the address are to come back."
    )
    assert not (said := surplus_headers(answer)), said[0]
    erin, least = users.get("erin"), settings.password_min_length
    everything = {name: value for name, value in vars(erin).items() if name != "hashed_password"}
    assert not holds(repr(everything), PASSWORD, is_password=True), "The store holds the password."
    common = [each for each in sorted(common_passwords()) if len(each) >= least][:1]
    weak = [PASSWORD[: least - 1], "\u00e9" * (least - 1), *common, *map(str.title, common)]
    for password in weak:
        answer = register(client, password, "mallory")
        assert answer.status_code == 422, f"{password!a}: {answer.status_code}, not 422."
        assert password not in answer.text, "The answer repeats the password (CWE-209)."
    for field in ("role", "disabled", "scopes", "hashed_password", "security_stamp"):
        answer = register(client, PASSWORD, "mallory", **{field: "superadmin"})
        assert answer.status_code == 422, f"With a field `{field}`: {answer.status_code}, not 422."
    assert users.get("mallory") is None, "A refused visitor was stored."
    register(client, PASSWORD, "carla")
    carla, address = users.get("carla"), {"email": "ERIN@example.com"}
    other = "Another bassoon + 7"
    for name, password, more in (
        ("erin", other, {}),
        ("ERIN", PASSWORD, address),  # the owner's own password, and her own address
        ("carla", PASSWORD, {}),
        ("carla", other, address),
    ):
        answer = register(client, password, name, **more)
        assert answer.status_code == 409, f"A taken name: {answer.status_code}, not 409."
    assert users.get("erin") == erin, "Who came second changed the first one's account."
    assert users.get("carla") == carla, (
        "Carla has no address. Who came second, with one, changed her account."
    )
    for name, password in (("mallory", "short"), ("erin", PASSWORD)):
        with reading() as reads:
            refused = register(client, password, name)
        send = {"json": {"username": name, "password": password}}
        for what, door in side_doors(reads, Contract(), ["true", "1", "mallory", PASSWORD]):
            how = differs(refused, client.post("/register", **with_door(send, door)))
            assert not how, f"With {what} the refusal of {name} differs: {how}"
    assert users.get("erin") == erin, "A header or a field changed somebody else's account."
    with in_place(candidate.app, get_users, Failing(users.store, "add")):
        status = client.status_of(
            "POST", "/register", json={"username": "mallory", "password": PASSWORD}
        )
    assert status >= 400, f"The store could not write, and the answer is {status}."
    with in_place(candidate.app, get_users, MemoryUserStore()) as nobody:
        assert register(client, PASSWORD, "first").status_code == 201, "The first one of all."
        first = client.run(nobody.get("first"))
    assert (first.role, first.disabled) == ("user", False), "The first one of all became more."
    answer = register(client, LETTERS[:least], "mallory", email="erin@example.com")
    assert answer.status_code == 201, (
        f"{least} small letters, and erin's address: {answer.status_code}, not 201: {answer.text}"
    )


class LookTogether(Before):
    """A store in which nobody goes on who has looked, until all three have."""

    looked = 0

    async def _after(self, name: str) -> None:
        self.looked += name == "get"
        for _ in range(50 if name == "get" else 0):
            if self.looked < 3:
                await asyncio.sleep(0.001)


@attack
@todo(2, "hash_password")
def test_many_register_at_once(candidate: Any, client: Any, users: Any, meter: Meter) -> None:
    """Who shares a variable with the next request gets the next one's password (CWE-362).

    And a hash on the event loop, which serves everybody, stops everybody (CWE-400).
    """
    from solutions.stores.users import get_users

    with twin():
        let_in(candidate, PASSWORD, candidate.hash_password(PASSWORD))
    people = {f"erin{number}": f"{PASSWORD} {number}" for number in range(3)}
    sends = [{"json": {"username": name, "password": people[name]}} for name in people]
    slow = in_place(candidate.app, get_users, Slow(users.store))  # as a database is
    with meter.counting() as hashes, slow, past_the_entrance() as past:
        answers = client.together("POST", "/register", sends)
    for (name, password), answer in zip(people.items(), answers, strict=True):
        assert answer.status_code == 201, f"Of three at once: {answer.status_code}, not 201."
        assert answer.json()["username"] == name, f"{name} is told {answer.text}."
        assert verifies(candidate, password, users.get(name).hashed_password), (
            f"{name}'s stored hash is not of {name}'s password. Three registered at once."
        )
    assert hashes and not any(run.on_event_loop for run in hashes), (
        "POST /register hashes on the event loop. `run_hashing` is there for it."
    )
    assert not past, (
        "POST /register hashes in the given threads past `run_hashing`, which bounds who waits."
    )
    sends = [{"json": {"username": "erin", "password": people[name]}} for name in people]
    with in_place(candidate.app, get_users, LookTogether(users.store)):
        answers = client.together("POST", "/register", sends)
    won = [
        send["json"]["password"]
        for send, answer in zip(sends, answers, strict=True)
        if answer.status_code == 201
    ]
    assert len(won) == 1, (
        f"One name, three visitors at once: {len(won)} were told that it is theirs."
    )
    assert verifies(candidate, won[0], users.get("erin").hashed_password), "It is another one's."
