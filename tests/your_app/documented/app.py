"""Breakable: what FastAPI's documentation arrives at, and how its people come and go."""

from notebooks.tutorials.documented import SECRET_KEY, app, fake_users_db, get_password_hash


def add(username: str, email: str, password: str) -> None:
    """Nobody can sign up there."""
    fake_users_db[username] = {
        "username": username,
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
