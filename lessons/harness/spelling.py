"""Finds a secret in a text, however it is spelled, and parts of it too.

Not the secret is spelled in many ways, but the text is read in many: decoded from hex, base64,
escapes and so on, also twice over. So the base64 of a piece of a token in the middle of a line is
found like the token itself. A text is read once, however many secrets are looked for.
"""

import base64
import codecs
import hashlib
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property

from lessons.harness.readings import read

RUN = 10  # letters of a random secret in a row are too many
RUN_OF_JWT = 20  # of a JWT's claims, since other tokens begin alike
RUN_OF_BYTES = 8  # of what a token is made of
CUT = 6  # bytes of a digest, at its start or end, as many logs shorten it
LONG = 20  # letters; of a shorter secret each half counts, not each run
HALF = 6  # letters that such a half has at least
SHORT = 8  # letters; a shorter secret counts where it is a word of its own
WEAK = ("md5", "sha1", "sha256")  # for passwords: unsalted, they are guessed at once
JWT = re.compile(r"[\w-]{8,}\.[\w-]{8,}\.[\w-]{8,}")
PRINTABLE = re.compile(r"[ -~]{8,}")
# But for a-z, 0-9, and U+00A0 to U+FFFF. To say it that way round takes ten times as long.
NO_LETTER = re.compile(r"[\x00-/:-`{-\x9f\U00010000-\U0010ffff]+")


@dataclass(frozen=True)
class Piece:
    """What gives a secret away: each `run` letters of `letters`, or all if there are no more."""

    name: str
    letters: str
    run: int

    def is_in(self, text: str) -> bool:
        """Tell whether a run is in the text. Each run holds a block of half its length."""
        last = len(self.letters) - self.run
        if last == 0:
            return self.letters in text
        block = self.run // 2
        for at in range(0, len(self.letters) - block + 1, block):
            if self.letters[at : at + block] in text:
                starts = range(max(0, at + block - self.run), min(at, last) + 1)
                if any(self.letters[start : start + self.run] in text for start in starts):
                    return True
        return False


class Text:
    """A text in which secrets are looked for."""

    def __init__(self, text: str) -> None:
        self._text = text

    @cached_property
    def _readings(self) -> list[tuple[str, str]]:
        """Name each spelling that the text may be in, and what it then says."""
        first = list(read(self._text))
        twice = [
            (f"{outer}, {inner}", said)
            for outer, decoded in first
            for inner, said in read("\n".join(PRINTABLE.findall(decoded)))
        ]
        return [(name, said.lower()) for name, said in [("", self._text), *first, *twice]]

    @cached_property
    def _all(self) -> str:
        return "\n".join(said for _, said in self._readings)

    @cached_property
    def _bare(self) -> str:
        return "\n".join(NO_LETTER.sub("", said) for _, said in self._readings)

    def find(self, secret: str, is_password: bool = False) -> str | None:
        """Say how the text holds the secret ("in hex", "a part of it"), or None if it does not."""
        if len(secret) < SHORT:
            return self._find_word(secret)
        for piece in pieces(secret, is_password):
            if piece.is_in(self._all):
                spelling = next((name for name, said in self._readings if piece.is_in(said)), "")
                return ", ".join(filter(None, (piece.name, spelling))) or self._letters(secret)
        bare = NO_LETTER.sub("", secret.lower())
        if len(bare) >= SHORT and bare in self._bare:
            return "with something between the letters"
        return None

    def _letters(self, secret: str) -> str:
        return "as it is" if secret in self._text else "in capitals or small letters"

    def _find_word(self, secret: str) -> str | None:
        small = secret.lower()
        word = re.compile(rf"(?<![a-z0-9_]){re.escape(small)}(?![a-z0-9_])")
        for spelling, said in self._readings:
            if small in said and word.search(said):
                return spelling or "as it is"
        return None


def holds(text: str, secret: str, is_password: bool = False) -> str | None:
    """Say how a text holds a secret, or None: for a body, the headers, the dump of a store."""
    return Text(text).find(secret, is_password)


def pieces(secret: str, is_password: bool = False) -> Iterator[Piece]:
    """Return what gives a secret away, the plainest first, in small letters."""
    forms = dict(_forms(secret))
    for name, form in forms.items():
        yield Piece(name, form.lower(), len(form))
    for part_name, part, run in _parts(secret, is_password):
        for name, form in _forms(part):
            label = ", ".join(filter(None, (part_name, name)))
            yield Piece(label, form.lower(), min(run, len(form)))
    run = RUN_OF_JWT * 3 // 4 if JWT.fullmatch(secret) else RUN_OF_BYTES
    for name, made_of in _bytes(secret, is_password):
        yield Piece(name, made_of.decode("latin-1").lower(), min(run, len(made_of)))


def _forms(secret: str) -> Iterator[tuple[str, str]]:
    yield "", secret
    yield "backwards", secret[::-1]
    yield "in rot13", codecs.encode(secret, "rot13")
    if not secret.isascii():
        yield "in UTF-8", secret.encode("utf-8", "surrogatepass").decode("latin-1")


def _parts(secret: str, is_password: bool) -> Iterator[tuple[str, str, int]]:
    half = len(secret) // 2
    if JWT.fullmatch(secret):
        _, claims, signature = secret.split(".")
        yield "its signature", signature, RUN_OF_JWT
        yield "its claims", claims, RUN_OF_JWT
    elif not is_password and len(secret) >= LONG:
        yield "a part of it", secret, RUN
    elif half >= HALF:
        yield "its first half", secret[:half], half
        yield "its second half", secret[half:], len(secret) - half


def _bytes(secret: str, is_password: bool) -> Iterator[tuple[str, bytes]]:
    if is_password:
        for name in WEAK:
            encoded = secret.encode("utf-8", "surrogatepass")
            digest = hashlib.new(name, encoded, usedforsecurity=False).digest()
            yield f"as its {name.upper()} digest", digest[:CUT]
            yield f"as its {name.upper()} digest", digest[-CUT:]
        return
    random = secret.rpartition(".")[2]  # of a JWT the signature
    if len(random) >= LONG:
        yield from (("its bytes", made_of) for made_of in _bytes_behind(random))


def _bytes_behind(random: str) -> Iterator[bytes]:
    with suppress(ValueError):
        yield bytes.fromhex(random)
    with suppress(ValueError):
        yield base64.b64decode(random + "=" * (-len(random) % 4), "-_", validate=True)
