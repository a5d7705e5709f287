"""How a random token is kept: never itself."""

import hashlib


def digest_of(token: str) -> str:
    """Return the SHA-256 of a token that was drawn from 128 random bits or more, in hex.

    A quick hash is enough for those: nobody guesses 128 bits, slowly or not. Passwords are
    guessable and need lesson 01. Equal digests need no comparison in constant time: to steer a
    digest bit by bit, mallory would have to invert the hash.
    """
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
