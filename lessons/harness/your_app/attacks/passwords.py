"""Lesson 01: what a password check makes of odd passwords, and what its hashes cost."""

import re
import secrets

from lessons.harness.primitives import Hash
from lessons.harness.your_app.attacks import attack
from lessons.harness.your_app.findings import NotTried, Success
from lessons.harness.your_app.routes import plain_gets
from lessons.harness.your_app.site import Visit, good, said

HASHES = re.compile(
    r"\$2[abxy]?\$\d\d\$[./A-Za-z0-9]{20}|\$(argon2(id|i|d)|scrypt|pbkdf2[\w-]*)\$"
    r"|\$[156]\$[./A-Za-z0-9]{4,16}\$|(pbkdf2|scrypt):[\w:]+\$|pbkdf2_sha256\$"
)
MEGABYTE = 1_000_000
HEAD = 8_000  # what servers take in an address
LEAST = {  # OWASP's and ASVS's least costs
    "bcrypt": 10,
    "argon2": 7168 * 5,  # KiB times passes: OWASP's cheapest row
    "scrypt": 2**13 * 8 * 10,
    "pbkdf2-sha1": 1_300_000,
    "pbkdf2-sha256": 600_000,
    "pbkdf2-sha512": 210_000,
}


@attack(
    "nul-in-password",
    "a NUL in the password crashes the login, or tells who has an account",
    lesson="01",
    level="leak",
    authority="CWE-626",
)
def nul_in_password(visit: Visit) -> Success | None:
    person = visit.known()
    stranger = visit.new_person()
    plain = [visit.try_login(each, "Wrong-" + secrets.token_hex(8)) for each in (person, stranger)]
    if any(each.status_code >= 500 for each in plain):
        raise NotTried(f"a plain wrong password already ends in {said(plain[0])}")
    # Not a NUL alone: HMAC, and so PBKDF2 and scrypt, cannot tell it from the end.
    known = visit.try_login(person, person.password + "\0x")
    unknown = visit.try_login(stranger, stranger.password + "\0x")
    if (ticket := visit.ticket(person, known)) and visit.opens(ticket):
        return Success("what comes after a NUL does not count: it logs in")
    if known.status_code != unknown.status_code and plain[0].status_code == plain[1].status_code:
        return Success(
            f"{known.status_code} for who has an account, {unknown.status_code} for nobody"
        )
    return Success(f"a {said(known)}", "hardening") if known.status_code >= 500 else None


@attack(
    "password-cut-short",
    "what a password has after 72 bytes does not count",
    lesson="01",
    level="hardening",
    authority="ASVS 6.2.8",
)
def password_cut_short(visit: Visit) -> Success | None:
    visit.known()
    if not visit.site.can_make_people:
        raise NotTried("it needs an account with a long password: describe [register]")
    start = f"Tr0mbone-{secrets.token_hex(40)}"[:72]
    person = visit.new_person(start + "-one")
    if visit.about.register_ is not None:
        answer = visit.register(person)
        if answer.status_code >= 500:
            return Success(f"a {said(answer)} for a password of 76 bytes")
        if answer.status_code >= 400:
            return None
        visit.site.made.append(person.username)
        if visit.site.hooks.activate is not None:
            visit.hook("activate", visit.login_name(person))
    else:
        person = visit.make_somebody(person.password)
    visit.log_in(person)
    ticket = visit.ticket(person, visit.try_login(person, start + "-two"))
    return Success("another password with the same 72 bytes logs in") if ticket else None


@attack(
    "huge-password",
    "a password of a megabyte breaks the login, or is hashed",
    lesson="01",
    level="leak",
    authority="CWE-400",
)
def huge_password(visit: Visit) -> Success | None:
    person = visit.known()
    in_the_address = "{password}" in repr(visit.about.login.query) + visit.about.login.path
    size = HEAD if in_the_address else MEGABYTE
    if visit.site.meter is None:
        answer = visit.try_login(person, "a" * size)
    else:
        with visit.counting() as hashes:
            answer = visit.try_login(person, "a" * size)
        # bcrypt reads 72 bytes of it.
        if any(len(run.password) >= MEGABYTE and run.kind != "bcrypt" for run in hashes):
            return Success("the whole megabyte goes into the hash", "hardening")
    if answer.status_code < 500:
        return None
    return Success(said(answer), None if answer.extensions.get("hang") else "hardening")


@attack(
    "cheap-hash",
    "passwords are hashed so cheaply that a stolen table gives them away",
    lesson="01",
    level="hardening",
    authority="ASVS 11.4.2",
)
def cheap_hash(visit: Visit) -> Success | None:
    with visit.counting() as hashes:
        visit.log_in(visit.somebody())
    _some(hashes)
    cheap = sorted({str(run) for run in hashes if _is_cheap(run)})
    return Success(", ".join(cheap)) if cheap else None


def _is_cheap(run: Hash) -> bool:
    cost = dict(run.cost)
    if run.kind == "argon2":
        return cost["m"] * cost["t"] < LEAST["argon2"]
    if run.kind == "scrypt":
        return cost["n"] * cost["r"] * cost["p"] < LEAST["scrypt"]
    return run.kind in LEAST and next(iter(cost.values())) < LEAST[run.kind]


def _some(hashes: list[Hash]) -> None:
    if not hashes:
        raise NotTried(
            "the meter saw no hash at the login: it knows bcrypt, argon2, scrypt and PBKDF2. "
            "A quick hash, or none, is a break-in by itself: look at it"
        )


@attack(
    "blocked-loop",
    "one login stops everybody else",
    lesson="01",
    level="leak",
    authority="CWE-400",
)
def blocked_loop(visit: Visit) -> Success | None:
    person = visit.known()
    with visit.counting() as hashes:
        visit.try_login(person, "Wrong-" + secrets.token_hex(8))
    _some(hashes)
    if any(run.on_event_loop for run in hashes):
        return Success("the hash runs on the event loop, where all requests wait for it")
    return None


@attack(
    "hash-in-answer",
    "an answer has a password, or the hash of one",
    lesson="01",
    level="leak",
    authority="ASVS 15.3.1",
)
def hash_in_answer(visit: Visit) -> Success | None:
    person = visit.new_person() if visit.site.can_make_people else visit.somebody()
    answers = {}
    if visit.about.register_ is not None:
        answer = visit.register(person)
        if answer.status_code < 400:
            answers[visit.about.register_.route] = answer
            visit.site.made.append(person.username)
    person = visit.somebody()
    ticket = visit.log_in(person)
    answers[visit.about.login.route] = ticket.answer
    answers[visit.about.me.route] = visit.me(ticket)
    paths = [*visit.guarded(), *(each.path for each in visit.about.admin if each.method == "GET")]
    for path in dict.fromkeys(paths):
        answers[f"GET {path}"] = visit.get(path, ticket)
    for path in plain_gets(visit.site.document):
        if path not in paths:
            answers[f"GET {path}"] = visit.get(path)
    if chief := visit.administrator():
        for action in visit.about.admin:
            if action.method == "GET":
                answers[f"{action.route} as an administrator"] = visit.ask(action, chief)
    for route, answer in answers.items():
        if found := HASHES.search(answer.text):
            return Success(f"{route} shows a hash: {found[0]}...")
        if person.password in answer.text and good(answer):
            return Success(f"{route} shows the password")
    return None
