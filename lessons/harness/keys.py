"""Single keys from the terminal, for as long as nothing else reads from it."""

import os
import select
from typing import Any

try:
    import termios
    import tty
except ImportError:  # Windows has no such terminals: no keys there
    termios = None  # type: ignore[assignment]

TERMINAL = 0  # standard input


class Keys:
    """Keys as they are pressed, without Enter. Where no terminal is, there are none."""

    def __init__(self) -> None:
        has_terminal = termios and os.isatty(TERMINAL)
        self._as_it_was: list[Any] | None = termios.tcgetattr(TERMINAL) if has_terminal else None

    @property
    def are_there(self) -> bool:
        return self._as_it_was is not None

    def begin(self) -> None:
        """Take keys from now on. What was typed until now was not meant for us."""
        if self._is_ours():
            self._listen()
            termios.tcflush(TERMINAL, termios.TCIFLUSH)

    def pressed(self) -> str:
        """Return the key that was pressed since the last look, or an empty text.

        Several at once are a paste, or an arrow, and no key; one that is held down is one.
        """
        if not self._is_ours():
            return ""
        self._listen()  # again: Ctrl-Z and `fg` bring back the shell's way
        if not select.select([TERMINAL], [], [], 0)[0]:
            return ""
        typed = set(os.read(TERMINAL, 1024).decode("ascii", "replace"))
        return typed.pop() if len(typed) == 1 else ""

    def end(self) -> None:
        """Leave the terminal as it was, for a debugger or for the shell."""
        if self._is_ours():
            termios.tcsetattr(TERMINAL, termios.TCSANOW, self._as_it_was or [])

    def _listen(self) -> None:
        tty.setcbreak(TERMINAL, termios.TCSANOW)

    def _is_ours(self) -> bool:
        """Whether we stand in the foreground. In the background a look would stop us."""
        try:
            return self.are_there and os.tcgetpgrp(TERMINAL) == os.getpgrp()
        except OSError:  # it is somebody else's, or gone
            return False
