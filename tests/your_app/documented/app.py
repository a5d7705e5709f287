"""Breakable: what FastAPI's documentation arrives at, with two people in it."""

from notebooks.tutorials.documented import SECRET_KEY, app, fake_users_db, get_password_hash

PASSWORDS = {"alice": "trombone-7-plum-tree", "bob": "umbrella-4-salt-mine"}


def prepare() -> None:
    """Nobody can sign up there."""
    for name, password in PASSWORDS.items():
        fake_users_db[name] = {
            "username": name,
            "hashed_password": get_password_hash(password),
            "disabled": False,
        }


def disable(username: str) -> None:
    fake_users_db[username]["disabled"] = True


def remove(username: str) -> None:
    del fake_users_db[username]


def key() -> str:
    return SECRET_KEY


__all__ = ["app"]
