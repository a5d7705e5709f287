"""Notes what is computed for a token, and makes headers that may choose another key for it."""

import binascii
import hmac
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from types import ModuleType
from typing import Any

from lessons.harness.stand_in import standing_in

NAMES = ("kid", "typ", "cty", "iss", "jku", "x5t", "use")
NOT_TO_TOUCH = ("alg", "crit", "b64", "zip", "enc")  # a token is refused for these already
NO_TEXTS = (0, 1, True)


def odd_headers(words: list[str]) -> Iterator[dict[str, Any]]:
    """Return what to write in a header: each word as a key's id, and wherever one may look."""
    names = [name for name in (*NAMES, *words) if name not in NOT_TO_TOUCH]
    for word in (*words, *NO_TEXTS):
        yield {"kid": word}
        yield dict.fromkeys(names, word)


@contextmanager
def mac_keys(module: ModuleType) -> Iterator[set[bytes]]:
    """Yield a set that fills with the keys of each HMAC computed in the block, by whatever library.

    Not seen: what a graded module computes with plain digests.
    """
    from cryptography.hazmat.primitives import hmac as of_cryptography

    used: set[bytes] = set()
    noted = _noting("key", lambda key: used.add(bytes(key)))
    owners = [(hmac, "new"), (hmac, "digest"), (hmac, "HMAC"), (of_cryptography, "HMAC")]
    with standing_in(module, [(owner, name, noted) for owner, name in owners]):
        yield used


@contextmanager
def decoded_sizes(module: ModuleType) -> Iterator[list[int]]:
    """Yield a list that fills with the sizes of what is decoded from base64 in the block."""
    sizes: list[int] = []
    noted = _noting("data", lambda text: sizes.append(len(text)))
    with standing_in(module, [(binascii, "a2b_base64", noted)]):
        yield sizes


def _noting(name: str, note: Callable[[Any], None]) -> Callable[[Callable[..., Any]], Any]:
    """Return what makes of a function one that first notes its first argument, called `name`."""

    def noted(original: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(original)
        def call(*args: Any, **kwargs: Any) -> Any:
            note(args[0] if args else kwargs[name])
            return original(*args, **kwargs)

        return call

    return noted
