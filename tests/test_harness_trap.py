"""The trap finds a secret wherever and however it is written, and nothing else."""

import asyncio
import base64
import hashlib
import json
import logging
import os
import secrets
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lessons.harness.hostile import sign
from lessons.harness.spelling import Text
from lessons.harness.trap import Trap, holds, listening, spellings, told_apart

TOKEN = secrets.token_urlsafe(32)
KEY = secrets.token_hex(16)
PASSWORD = " Trombone + 7 "
ODD = 'Gr\u00fc\u00df "Gott" %20'
JWT = sign({"sub": "johndoe", "stamp": secrets.token_urlsafe(16), "exp": 1}, "k" * 32)
LINES = ["GET /token HTTP/1.1 200", "johndoe johndoe@example.com logged in after 0.0123 s"] * 20

log = logging.getLogger("learner")


@pytest.fixture
def trap() -> Iterator[Trap]:
    with listening() as trap:
        yield trap


# --- spelling -------------------------------------------------------------------------------


@pytest.mark.parametrize("frame", ["{}", "token=[{}] ok", '{{"t": "{}"}}', "'{}',"])
@pytest.mark.parametrize("name", spellings("x"))
def test_each_spelling_is_found(name: str, frame: str) -> None:
    for secret, is_password in ((TOKEN, False), (KEY, False), (PASSWORD, True), (ODD, True)):
        text = "\n".join([*LINES, frame.format(spellings(secret)[name])])
        assert holds(text, secret, is_password), f"{name}: {spellings(secret)[name]}"


@pytest.mark.parametrize("name", ["in hex", "in base64", "in url-safe base64"])
def test_letters_before_and_behind_hide_nothing(name: str) -> None:
    for before in ("", "x", "xx", "xxx"):
        for behind in ("", "y", "yy"):
            assert holds(before + spellings(TOKEN)[name] + behind, TOKEN)


def test_a_part_is_found() -> None:
    part = TOKEN[17:27]
    for text in (part, part[::-1], part.encode().hex(), base64.b32encode(part.encode()).decode()):
        assert holds(text, TOKEN), text
    assert holds(base64.b64encode(b"it is " + part.encode() + b"!").decode(), TOKEN)
    assert not holds(TOKEN[17:26], TOKEN)
    assert holds(TOKEN[:10] + "...", TOKEN) == "a part of it"
    assert holds("key ending in " + KEY[-10:], KEY)


def test_a_half_of_a_password_is_found() -> None:
    assert holds("it is Trombo****", PASSWORD, True) == "its first half"
    assert holds("it is ****ne + 7 ", PASSWORD, True) == "its second half"
    assert not holds("it is Tro****", PASSWORD, True)


def test_an_unsalted_digest_of_a_password_is_found() -> None:
    for weak in (hashlib.md5, hashlib.sha1, hashlib.sha256):
        digest = weak(PASSWORD.encode()).digest()
        for text in (digest.hex(), digest.hex()[:12], base64.b64encode(digest).decode()):
            assert "digest" in (holds(f"login {text}", PASSWORD, True) or "")
    assert not holds(hashlib.sha256(TOKEN.encode()).hexdigest(), TOKEN), "A digest may be kept."
    assert not holds(hashlib.sha256(b"salt" + PASSWORD.encode()).hexdigest(), PASSWORD, True)


def test_the_bytes_of_a_token_are_found() -> None:
    made_of = base64.urlsafe_b64decode(TOKEN + "=")
    assert holds(made_of.hex(), TOKEN) == "its bytes, in hex"
    assert holds(repr(made_of), TOKEN)
    assert holds(base64.b64encode(bytes.fromhex(KEY)).decode(), KEY)


def test_what_others_share_is_no_part_of_a_jwt() -> None:
    header, claims, signature = JWT.split(".")
    assert not holds(header, JWT)
    assert not holds(json.dumps({"sub": "johndoe", "exp": 1}), JWT)
    other = sign({"sub": "johndoe", "stamp": secrets.token_urlsafe(16), "exp": 1}, "k" * 32)
    assert not holds(f"{header} {other.split('.')[2]}", JWT)
    assert holds(JWT, JWT)
    assert holds(f"x{signature[:20]}", JWT) == "its signature"
    assert holds(claims[20:41], JWT) == "its claims"
    assert not holds(signature[:18], JWT)  # of 19 letters, now and then 15 bytes are read


def test_a_short_secret_counts_as_a_word() -> None:
    assert holds("password=secret", "secret", True)
    assert holds("{'password': 'SECRET'}", "secret", True)
    for text in ("JWT_SECRET", "secretalice", "SecretStr('***')", "secrets"):
        assert not holds(text, "secret", True), text


def test_harmless_lines_hold_nothing() -> None:
    text = Text("\n".join(LINES * 5 + [secrets.token_hex(16), secrets.token_urlsafe(40), JWT]))
    for _ in range(200):
        assert not text.find(secrets.token_urlsafe(32))
        assert not text.find(secrets.token_hex(12))
    assert not text.find("bassoon + 9", True)


# --- the trap -------------------------------------------------------------------------------


def _raise_and_log() -> None:
    try:
        raise ValueError(f"bad token {TOKEN}")
    except ValueError:
        log.info("refused", exc_info=True)


def _deaf(logger: logging.Logger) -> logging.Logger:
    logger.propagate = False
    logger.setLevel(logging.CRITICAL + 1)
    logger.handlers = [logging.NullHandler()]
    return logger


def _hidden_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
    warnings.warn(f"odd token {TOKEN}", DeprecationWarning, stacklevel=1)


def _in_a_thread() -> None:
    thread = threading.Thread(target=lambda: log.debug("%s", TOKEN))
    thread.start()
    thread.join()


def _in_a_forgotten_task() -> None:
    async def fail() -> None:
        raise ValueError(TOKEN)

    async def main() -> None:
        asyncio.get_running_loop().call_exception_handler({"message": "x", "exception": None})
        task = asyncio.ensure_future(fail())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_exception_handler(
            {"message": "lost", "exception": task.exception()}
        )

    asyncio.run(main())


WRITERS: dict[str, tuple[str, Callable[[], Any]]] = {
    "message": ("The log holds the token, as it is.", lambda: log.warning(f"got {TOKEN}")),
    "argument": ("The log holds the token", lambda: log.debug("got %s", TOKEN)),
    "object": ("An argument of", lambda: log.debug("got something", {"token": TOKEN})),
    "extra": (
        "The field `token` of a log record holds the token, in hex.",
        lambda: log.info("got", extra={"token": TOKEN.encode().hex()}),
    ),
    "nested": ("The field `request`", lambda: log.info("x", extra={"request": {"t": [TOKEN]}})),
    "traceback": ("A traceback in the log holds", _raise_and_log),
    "deaf": ("The log holds", lambda: _deaf(logging.getLogger("deaf.one")).debug(TOKEN)),
    "name": ("The name of a logger", lambda: logging.getLogger(f"auth.{TOKEN}").debug("x")),
    "misfit": ("An argument of", lambda: _silently(lambda: log.debug("no place", TOKEN))),
    "thread": ("The log holds", _in_a_thread),
    "task": ("A traceback in the log", _in_a_forgotten_task),
    "warning": ("A warning holds the token", _hidden_warning),
    "print": ("The output holds the token", lambda: print("a", TOKEN, sep="")),
    "pieces": ("The output holds the token", lambda: print(TOKEN[:9], TOKEN[9:], sep="")),
    "error": ("The error output holds", lambda: print(TOKEN[::-1], file=sys.stderr)),
}


def _silently(call: Callable[[], None]) -> None:
    before, logging.raiseExceptions = logging.raiseExceptions, False
    try:
        call()
    finally:
        logging.raiseExceptions = before


@pytest.mark.parametrize("where", WRITERS)
def test_each_place_is_looked_at(where: str, trap: Trap) -> None:
    sentence, write = WRITERS[where]
    write()
    with pytest.raises(AssertionError) as caught:
        trap.refuse({"password": PASSWORD, "token": TOKEN})
    assert str(caught.value).startswith(sentence), caught.value
    assert str(caught.value).isascii() and TOKEN[:6] not in str(caught.value)
    trap.refuse({"password": PASSWORD})


def test_what_a_filter_blackens_or_keeps_back_is_in_no_log(trap: Trap) -> None:
    def blacken(record: logging.LogRecord) -> bool:
        record.msg, record.args = record.getMessage().replace(TOKEN, "..."), ()
        return "never" not in record.msg

    log.addFilter(blacken)
    log.info("asked with %s", TOKEN)
    log.info("never said: %s", TOKEN)
    log.removeFilter(blacken)
    trap.refuse({"token": TOKEN})
    log.info("asked with %s", TOKEN)
    with pytest.raises(AssertionError, match="The log holds the token"):
        trap.refuse({"token": TOKEN})


def test_the_log_of_the_system_is_heard() -> None:
    syslog = pytest.importorskip("syslog")
    with listening() as trap:
        syslog.syslog(syslog.LOG_DEBUG, f"asked with {TOKEN}")
    with pytest.raises(AssertionError, match="The syslog holds the token"):
        trap.refuse({"token": TOKEN})


def test_a_line_that_depends_on_a_secret_is_told_from_one_that_changes() -> None:
    def digest(secret: str) -> None:
        log.info("refused %s", hashlib.blake2s(secret.encode(), digest_size=6).hexdigest())

    def moment(secret: str) -> None:
        log.info("refused %s, %d letters", secrets.token_hex(4), len(secret))

    assert told_apart(digest, "bassoon", "trumpet")
    assert told_apart(moment, "bassoon", "trumpet") is None


def test_with_capfd_what_goes_past_sys_stdout_is_seen(capfd: pytest.CaptureFixture[str]) -> None:
    with listening(capfd) as trap:
        os.write(1, f"got {TOKEN}\n".encode())
        with pytest.raises(AssertionError, match="What was printed holds the token"):
            trap.refuse({"token": TOKEN})
        with pytest.raises(AssertionError, match="What was printed holds the token"):
            trap.refuse({"token": TOKEN})


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("httpx2", f"HTTP Request: GET https://there.example/me?access_token={TOKEN} 200"),
        ("httpx", f"HTTP Request: GET https://erin:{TOKEN}@there.example/me"),
        ("authlib.integrations.base_client.sync_app", f"Using code_verifier: {TOKEN!r}"),
    ],
    ids=["httpx2", "httpx", "authlib"],
)
def test_what_a_library_logs_is_a_log(name: str, line: str) -> None:
    with listening(addresses=True) as trap:
        logging.getLogger(name).debug(line)
    with pytest.raises(AssertionError, match="holds the token"):
        trap.refuse({"token": TOKEN})


def test_what_is_harmless_passes(trap: Trap) -> None:
    log.info("johndoe logged in", extra={"username": "johndoe", "address": "10.0.0.1"})
    log.debug("digest %s", hashlib.sha256(TOKEN.encode()).hexdigest())
    logging.getLogger("httpx2").info(f"HTTP Request: GET https://there.example/keys?key={TOKEN}")
    trap.refuse({"password": PASSWORD, "token": TOKEN, "access token": JWT})


def test_a_megabyte_costs_little(trap: Trap) -> None:
    log.debug("%s", "a" * 1_000_000)
    assert sum(len(text) for _, text in trap.pieces) < 100_000


def test_nothing_stays_behind(caplog: pytest.LogCaptureFixture) -> None:
    before = logging.Logger.handle, logging.Logger.isEnabledFor, sys.stdout.write
    deaf = _deaf(logging.getLogger("deaf.two"))
    with listening():
        deaf.debug("nobody handles this")
        log.warning("somebody handles this")
    after = logging.Logger.handle, logging.Logger.isEnabledFor, sys.stdout.write
    assert before == after
    assert [record.getMessage() for record in caplog.records] == ["somebody handles this"]
