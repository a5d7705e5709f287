"""This app's own keys, from SIGNING_KEYS_DIR, also those that come while it runs."""

import logging
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path

from .rotate_keys import HOW_TO_DRAW_KEYS
from .settings import UnsafeSettings, get_settings
from .signing_keys import SigningKey, draw_key, read_keys

logger = logging.getLogger("uvicorn.error")

READ_AGAIN = timedelta(seconds=30)  # the rotation waits longer than that


class KeyRing:
    """The keys of a folder; without one, in development, a key of this process."""

    def __init__(self, folder: Path | None, in_production: bool) -> None:
        self._folder, self._in_production = folder, in_production
        self._keys = self._read()
        self._read_at = datetime.now(UTC)

    def keys(self) -> list[SigningKey]:
        """Return all keys in the order in which they sign: retired, current, next.

        The folder is read twice a minute. Where that fails, those that are known go on.
        """
        now = datetime.now(UTC)
        if abs(now - self._read_at) >= READ_AGAIN:
            self._read_at = now
            try:
                self._keys = self._read()
            except UnsafeSettings as error:
                logger.error("%s", str(error).replace("Not started", "Keys stay as they were"))
        return self._keys

    def _read(self) -> list[SigningKey]:
        if self._folder is None:
            return getattr(self, "_keys", None) or [draw_key()]
        keys = read_keys(self._folder, self._in_production)
        if not keys or keys[0].signs_from > datetime.now(UTC):
            raise UnsafeSettings(
                "Not started: SIGNING_KEYS_DIR has no key that signs now. "
                f"Draw one with: {HOW_TO_DRAW_KEYS}"
            )
        return keys


@lru_cache
def open_key_ring() -> KeyRing:
    """Read the keys of this process. Raises UnsafeSettings, in production also without any."""
    settings = get_settings()
    in_production = settings.environment == "production"
    if settings.signing_keys_dir is None:
        if in_production:
            raise UnsafeSettings(
                f"Not started: SIGNING_KEYS_DIR is not set. Draw a key with: {HOW_TO_DRAW_KEYS}"
            )
        logger.warning(
            "SIGNING_KEYS_DIR is not set: drew a key for this process. "
            "Tokens die with it, and other workers draw another."
        )
    return KeyRing(settings.signing_keys_dir, in_production)
