"""How a random token is kept: never itself."""

import hashlib


def digest_of(token: str) -> str:
    """Return the SHA-256 of a token that was drawn from 128 random bits or more, in hex.

    A quick hash is enough for those: nobody guesses 128 bits, slowly or not. Passwords are
    guessable and need lesson 01. Comparing digests may take longer the more they agree. That tells
    mallory some of a digest, and a digest opens nothing.
    """
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
