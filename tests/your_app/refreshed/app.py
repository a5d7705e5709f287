"""Breakable on purpose: tokens for refreshing are made like the others."""

from fastapi import FastAPI

from notebooks.tutorials.refreshed import SECRET_KEY, app, fake_users_db, pwd_context

PASSWORDS = {"alice": "trombone-7-plum-tree", "bob": "umbrella-4-salt-mine"}


def prepare(app: FastAPI) -> None:
    """Nobody can sign up there: two people are there from the start."""
    for name, password in PASSWORDS.items():
        fake_users_db[name] = {"username": name, "hashed_password": pwd_context.hash(password)}


def key() -> str:
    return SECRET_KEY


__all__ = ["app"]
