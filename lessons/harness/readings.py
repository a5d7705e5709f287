"""Reads a text as if it, or a stretch of it, were encoded.

Each reading costs a search by regular expression, and decodes only what fits. What does not fit
well becomes rubbish, in which nobody's secret is found.
"""

import base64
import html
import re
from collections.abc import Callable, Iterator
from urllib.parse import unquote

HEX = re.compile(r"(?:[0-9a-fA-F]{2}[ :,-]?){5,}[0-9a-fA-F]{2}|(?:0x[0-9a-fA-F]{2},? ?){6,}")
BASE64 = re.compile(r"(?=[a-z_-]*[A-Z0-9+/])[A-Za-z0-9+/_-]{8,}")  # not each word
BASE32 = re.compile(r"(?<![A-Za-z0-9])(?:[A-Z2-7]{10,}|[a-z2-7]{16,})(?![A-Za-z0-9])")
NUMBERS = re.compile(r"\d{1,3}(?:(?:, ?| )\d{1,3}){5,}")
INTEGER = re.compile(r"\d{15,}")
ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))")
PLAIN = {"n": "\n", "r": "\r", "t": "\t", "0": "\0"}


def read(text: str) -> Iterator[tuple[str, str]]:
    """Name each spelling that the text may be in, and what it then says."""
    for name, mark, decode in (
        ("percent-encoded", "%", lambda line: unquote(line, errors="surrogateescape")),
        ("percent-encoded", "+", lambda line: unquote(line.replace("+", " "))),
        ("with backslashes", "\\", _unescape),
        ("as HTML", "&", html.unescape),
    ):
        if mark in text:
            yield name, "\n".join(decode(line) for line in text.splitlines() if mark in line)
    for name, shape, decode_run in _ENCODINGS:
        if runs := shape.findall(text):
            yield name, decode_run(runs)


def _unescape(line: str) -> str:
    return ESCAPE.sub(_meant, line)


def _meant(escape: re.Match[str]) -> str:
    number = escape[1] or escape[2] or escape[3]
    if number:
        code = int(number, 16)
        return chr(code) if code < 0x110000 else ""
    return PLAIN.get(escape[4], escape[4])


def _from_hex(runs: list[str]) -> str:
    bare = [re.sub("0x|[^0-9a-fA-F]", "", run) for run in runs]
    shifted = [run[start:] for run in bare for start in (0, 1)]
    return "\n".join(_text(bytes.fromhex(run[: len(run) // 2 * 2])) for run in shifted)


def _from_base64(runs: list[str]) -> str:
    plain = [run.replace("-", "+").replace("_", "/") for run in runs]
    return "\n".join(_from_base64_at(plain, start) for start in range(4))


def _from_base64_at(runs: list[str], start: int) -> str:
    # One call for all: each run is filled up to a multiple of four, and a NUL or more follows.
    filled = [f"{run[start:]}{'A' * (4 - len(run[start:]) % 4)}" for run in runs]
    return _text(base64.b64decode("".join(filled)))


def _from_base32(runs: list[str]) -> str:
    said = []
    for run in runs:
        for start in range(min(8, len(run))):
            part = run[start:].upper()
            said.append(_text(base64.b32decode(part[: len(part) // 8 * 8])))
            rest = part[len(part) // 8 * 8 :]
            said[-1] += _text(base64.b32decode(rest + "A" * (8 - len(rest))))
    return "\n".join(said)


def _from_numbers(runs: list[str]) -> str:
    numbers = ([int(number) for number in re.findall(r"\d+", run)] for run in runs)
    return "\n".join(_text(bytes(each for each in run if each < 256)) for run in numbers)


def _from_integers(runs: list[str]) -> str:
    said = []
    for run in runs:
        number = int(run[:4000])
        data = number.to_bytes((number.bit_length() + 7) // 8, "big")
        said += [_text(data), _text(data[::-1])]
    return "\n".join(said)


def _text(data: bytes) -> str:
    return data.decode("latin-1")


_ENCODINGS: tuple[tuple[str, re.Pattern[str], Callable[[list[str]], str]], ...] = (
    ("in hex", HEX, _from_hex),
    ("in base64", BASE64, _from_base64),
    ("in base32", BASE32, _from_base32),
    ("as numbers", NUMBERS, _from_numbers),
    ("as one number", INTEGER, _from_integers),
)
