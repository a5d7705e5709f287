"""What the attacks on the references cannot do by requests."""

from solutions.stores.users import open_user_store
from solutions.support.settings import get_settings


async def disable(username: str) -> None:
    await open_user_store().change(username, disabled=True)


async def remove(username: str) -> None:
    await open_user_store().remove(username)


def key() -> str:
    return get_settings().signing_key
