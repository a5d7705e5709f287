"""Notes and a word list for demo 02, and its two pictures."""

import hmac
import json
import timeit
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

from lessons.harness.hostile import sign, take_apart
from stage import BAD, CALM, GOOD, ROOT, THIRD, plt, show_figure

WORDS = (ROOT / "solutions/support/common_passwords.txt").read_text("utf-8").split()
NOTES = {
    "johndoe": "buy milk",
    "alice": "the safe opens with 4711",
    "mallory": "find out what alice writes",
}
MEANING = {
    "sub": "who",
    "exp": "until when",
    "iat": "since when",
    "iss": "who issued it",
    "aud": "for whom",
    "jti": "its own name",
    "type": "for what use",
}
CARDS = 10_000_000_000  # guesses a second, assumed: half a dozen large graphics cards
MINUTE, YEAR = 60, 365.25 * 24 * 3600


def signature_of(text: str, key: str) -> str:
    """Return the signature of a token's first two parts, as the third part spells it."""
    signature = hmac.digest(key.encode(), text.encode(), "sha256")
    return urlsafe_b64encode(signature).decode().rstrip("=")


def read(token: str) -> dict[str, Any]:
    """Return the claims of a token. Nobody asks for a key."""
    return take_apart(token)[1]


def forge(claims: dict[str, Any], key: str) -> str:
    """Write a token by hand: header, claims, signature."""
    return sign(claims, key)


def draw_token(token: str) -> None:
    """Draw a token taken apart at its two dots: the letters, and what they hold."""
    head, claims, _ = (_from_base64(part) for part in token.split("."))
    header_holds = [f"{name:5}{value}" for name, value in json.loads(head).items()]
    claims_hold = [
        f"{name:5}{_shorten(value):16}{MEANING.get(name, '')}"
        for name, value in json.loads(claims).items()
    ]
    panels = [
        ("HEADER", "says how it is signed", CALM, header_holds),
        ("CLAIMS", "say who, and for how long", THIRD, claims_hold),
        (
            "SIGNATURE",
            "proves the rest is unchanged",
            GOOD,
            ["32 bytes, computed from the", "rest and the key"],
        ),
    ]
    figure = plt.figure(figsize=(10, 4.6))
    ax = figure.add_axes((0, 0, 1, 0.92))
    top = 0.0
    for part, (name, says, colour, lines) in zip(token.split("."), panels, strict=True):
        letters = [part[i : i + 36] for i in range(0, len(part), 36)]
        end = top + 1.5 + max(len(letters), len(lines))
        ax.axhspan(top, end, color=colour, alpha=0.25)
        ax.axhspan(top, end, xmax=0.012, color=colour)
        for x, title, column in ((0.03, name, letters), (0.49, says, lines)):
            ax.text(x, top + 0.75, title, weight="bold", va="center")
            for y, line in enumerate(column, 1):
                ax.text(x, top + 0.75 + y, line, size=13, va="center", family="monospace")
        top = end + 0.35
    ax.set(xlim=(0, 1), ylim=(top, 0))
    ax.axis("off")
    ax.set_title("Anyone can read a token. Only the key can sign one.")
    show_figure(figure)


def draw_guessing(token: str, on_the_list: str) -> None:
    """Draw how long mallory needs for three secrets, a row each."""
    text = token.rpartition(".")[0]
    core = 500 / min(
        timeit.repeat(lambda: [signature_of(text, word) for word in WORDS[:500]], number=1)
    )
    listed = (WORDS.index(on_the_list) + 1) / core
    letters = 26**8 / CARDS
    years = 256**32 / CARDS / YEAR
    rows = [
        (f"{on_the_list}\na word of her list", listed, f"{listed * 1000:.0f} ms, one core"),
        ("8 random letters\na to z", letters, f"{letters:.0f} seconds, graphics cards"),
        ("32 random bytes", 1e21, f"$10^{{{len(str(int(years))) - 1}}}$ years, graphics cards"),
    ]
    figure, ax = plt.subplots()
    names, times, _ = zip(*rows, strict=True)
    ax.barh(names, times, left=1e-4, color=[BAD, BAD, GOOD], edgecolor="white")
    for y, (_, time, says) in enumerate(rows):
        inside = time > 1e9
        ax.text(
            time * 2 if not inside else time / 4,
            y,
            says,
            va="center",
            ha="right" if inside else "left",
            color="white" if inside else BAD,
            weight="bold",
        )
    ax.invert_yaxis()
    ax.set(xscale="log", xlim=(1e-4, 1e21))
    ax.set_xticks(
        [1, MINUTE * 60, YEAR, 13.8e9 * YEAR],
        ["1 second", "1 hour", "1 year", "the universe's age"],
    )
    ax.minorticks_off()
    ax.set_xlabel("time to try them all (log scale; the last bar does not end here)")
    ax.set_title("A short secret can be guessed, 32 random bytes cannot")
    show_figure(figure)


def _from_base64(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _shorten(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) < 16 else text[:11] + '..."'
