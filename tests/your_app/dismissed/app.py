"""Breakable on purpose: nobody reads `disabled`, and the token outlives its user."""

from notebooks.tutorials.dismissed import SECRET_KEY, app, fake_users_db, pwd_context


def add(username: str, email: str, password: str) -> None:
    """Nobody can sign up there."""
    fake_users_db[username] = {
        "username": username,
        "hashed_password": pwd_context.hash(password),
        "disabled": False,
    }


def disable(username: str) -> None:
    fake_users_db[username]["disabled"] = True


def remove(username: str) -> None:
    del fake_users_db[username]


def key() -> str:
    return SECRET_KEY


__all__ = ["app"]
