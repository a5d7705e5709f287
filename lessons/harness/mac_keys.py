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

    def noted(original: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(original)
        def compute(key: Any, *args: Any, **kwargs: Any) -> Any:
            used.add(bytes(key))
            return original(key, *args, **kwargs)

        return compute

    owners = [(hmac, "new"), (hmac, "digest"), (hmac, "HMAC"), (of_cryptography, "HMAC")]
    with standing_in(module, [(owner, name, noted) for owner, name in owners]):
        yield used


@contextmanager
def decoded_sizes(module: ModuleType) -> Iterator[list[int]]:
    """Yield a list that fills with the sizes of what is decoded from base64 in the block."""
    sizes: list[int] = []

    def noted(original: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(original)
        def decode(text: Any, *args: Any, **kwargs: Any) -> Any:
            sizes.append(len(text))
            return original(text, *args, **kwargs)

        return decode

    with standing_in(module, [(binascii, "a2b_base64", noted)]):
        yield sizes
