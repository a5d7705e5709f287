"""pytest from a process that is warm: it has imported all libraries, and each run is a fork of it.

So every run starts clean, and early.
"""

import json
import os
import select
import subprocess
import sys
from pathlib import Path
from typing import Any

WARM = Path(__file__).with_name("warm.py")


class WarmPytest:
    """A warm process, and the pipes to it."""

    def __init__(self, **popen: Any) -> None:
        orders, self._orders = os.pipe()
        self._answers, answers = os.pipe()
        self._process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-P", str(WARM), str(orders), str(answers)],
            pass_fds=(orders, answers),
            **popen,
        )
        os.close(orders)
        os.close(answers)

    def order(self, *arguments: str) -> None:
        """Begin a run of pytest; one that is under way ends."""
        os.write(self._orders, json.dumps(arguments).encode() + b"\n")

    def wait(self, seconds: float) -> int | None:
        """Return the run's exit code, or None when it has not ended by then."""
        if not select.select([self._answers], [], [], seconds)[0]:
            return None
        answer = os.read(self._answers, 100)
        return int(answer) if answer else None

    def close(self) -> None:
        """End the run and the process."""
        os.close(self._orders)
        self._process.wait()
        os.close(self._answers)
