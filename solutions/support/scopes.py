"""What a token may be used for, as words: `"me items"`."""

from collections.abc import Sequence

from .oauth_route import OAuthError

SCOPES = {"me": "See who you are", "items": "See your items"}


def split_scopes(text: str) -> list[str]:
    """Return the words of a scope. Only a space separates them (RFC 6749 section 3.3)."""
    return [word for word in text.split(" ") if word]


def grant_scopes(asked: str, allowed: Sequence[str]) -> list[str]:
    """Return those of the scopes asked for that are allowed; all allowed ones if none was.

    Raises OAuthError `invalid_scope` when none of them is allowed (RFC 6749 section 3.3).
    """
    words = split_scopes(asked)
    granted = [scope for scope in allowed if not words or scope in words]
    if words and not granted:
        raise OAuthError("invalid_scope", "None of these scopes can be granted")
    return granted
