"""Breakable on purpose: the password travels in the address, and no route asks for the token."""

from notebooks.tutorials.address import SECRET_KEY, app, fake_users_db


def remove(username: str) -> None:
    del fake_users_db[username]


def key() -> str:
    return SECRET_KEY


__all__ = ["app"]
