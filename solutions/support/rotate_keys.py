"""Rotates the signing keys of a folder: `python -m solutions.support.rotate_keys FOLDER`.

The first key signs at once. Each later one is published for six minutes before it signs, so that
whoever keeps our key set for five has it by then. Call it every few weeks, by a timer.
"""

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

from .key_sets import CACHE_SECONDS, PAUSE_SECONDS
from .settings import UnsafeSettings
from .signing_keys import draw_key, read_keys, signs_from, write_key

HOW_TO_DRAW_KEYS = f"python -m {__name__} FOLDER"
LEAD = timedelta(seconds=CACHE_SECONDS + PAUSE_SECONDS)
LONGEST_TOKEN = timedelta(days=1)  # the most that ACCESS_TOKEN_EXPIRE_MINUTES can be


def rotate(folder: Path, withdraw: str = "") -> list[str]:
    """Add the next key, remove those whose tokens are all over; return what was done.

    With `withdraw` the key of that `kid` goes at once, and its tokens with it: for a key that was
    stolen. A new one then signs at once, too. Raises UnsafeSettings or LookupError.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    now = datetime.now(UTC).replace(microsecond=0)
    keys, done = read_keys(folder, in_production=True), []
    paths = sorted(folder.glob("*.pem"))
    if withdraw:
        path = next(path for path, key in zip(paths, keys, strict=True) if key.kid == withdraw)
        path.unlink()
        keys = [key for key in keys if key.kid != withdraw]
        done.append(f"withdrew  {withdraw}")
    waiting = [key for key in keys if key.signs_from > now]
    if waiting and not withdraw:
        raise LookupError(f"A key waits already. It signs from {_shown(waiting[0].signs_from)}.")
    has_current = any(key.signs_from <= now for key in keys)
    if not (withdraw and has_current):
        key = draw_key(now + LEAD if has_current else now)
        write_key(folder, key)
        done.append(f"added     {key.kid}  signs from {_shown(key.signs_from)}")
    for path, follower in pairwise(paths):
        if path.exists() and signs_from(follower) < now - LONGEST_TOKEN:
            path.unlink()
            done.append(f"removed   {path.stem}, whose tokens are over")
    return done


def _shown(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="rotate_keys", description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="what SIGNING_KEYS_DIR names")
    parser.add_argument("--withdraw", metavar="KID", default="", help="end a stolen key at once")
    chosen = parser.parse_args(arguments)
    try:
        print("\n".join(rotate(chosen.folder, chosen.withdraw)))
    except StopIteration:
        print("There is no key of that kid.", file=sys.stderr)
        return 1
    except (UnsafeSettings, LookupError, OSError) as error:
        print(str(error).removeprefix("Not started: "), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
