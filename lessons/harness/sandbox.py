"""Runs a lesson's tests on one hand-in: limits around it, and nothing of it left at the end.

Run by path, in a fresh copy of the workbook. Standard input has the order, a line of JSON. What the
witness has to say goes to standard output, and nothing else does. This process watches, and a fork
of it runs pytest. Where the order says "shut off" it has begun `walls.ALONE`: then the hand-in has
no network, sees no other process, and can write into the copy's folder `tmp` only.
"""

import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

sys.path.insert(0, os.getcwd())

from lessons.harness.family import adopt_orphans, watch
from lessons.harness.walls import limit, shut_off


def main() -> None:
    """Obey the order."""
    order = json.loads(sys.stdin.readline())
    channel = os.dup(1)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    if order["shut off"]:
        shut_off(order["hidden"])
    limit(order["seconds"])
    if not hasattr(os, "fork"):
        run(order, channel)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    adopt_orphans()
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        run(order, channel)
    with contextlib.suppress(OSError):  # the child has done it, or it is gone
        os.setpgid(child, child)
    if not order["shut off"]:  # for whoever has to end it when this process is no more
        teller(channel, order["secret"])({"group": child})
    os.close(channel)
    os._exit(watch(child, order["seconds"]))


def run(order: dict[str, Any], channel: int) -> None:
    """Run pytest, and end the process: neither its threads nor its exit handlers have a say."""
    code = 1
    try:
        import pytest

        from lessons.harness.witness import Witness

        secret = order.pop("secret")
        witness = Witness(teller(channel, secret))
        code = int(pytest.main(order["pytest"], plugins=[witness]))
    finally:
        os._exit(code)


def teller(channel: int, secret: str) -> Callable[[dict[str, Any]], None]:
    """Return what says something to the one who gave the order."""
    write, dumps = os.write, json.dumps  # as they are now: a hand-in may put others there

    def tell(words: dict[str, Any]) -> None:
        write(channel, f"{secret} {dumps(words)}\n".encode())

    return tell


if __name__ == "__main__":
    main()
