"""Runs a lesson's tests on one hand-in: limits around it, and nothing of it left at the end.

Run by path, in a fresh copy of the workbook. Standard input has the order, a line of JSON. What the
witness has to say goes to standard output, and nothing else does. This process watches, and a fork
of it runs pytest. It begins alone in namespaces of its own where the order says "shut off": then
it has no network, sees no other process, and can write into the copy's folder `tmp` only.
"""

import contextlib
import ctypes
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

MEMORY = 1 << 30  # bytes, of all its processes together
PROCESSES = 32
LIMITS = {  # of each process
    "AS": 4 << 30,  # bytes of addresses: 40 threads reserve a lot, and use little
    "FSIZE": 16 << 20,  # bytes in a file
    "CORE": 0,
}
TOO_LONG, TOO_BIG, TOO_MANY = 121, 122, 123  # exit codes; 124 is limit.GAVE_UP
TICK = 0.02  # seconds between two looks

# Of the Linux kernel, the same on all common processors.
MOUNT_SETATTR, READ_ONLY, PRIVATE, RECURSIVE, HERE = 442, 1, 1 << 18, 0x8000, -100
CHILD_SUBREAPER, DROP_CAPABILITY, NO_NEW_PRIVILEGES = 36, 24, 38


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
    if sys.platform == "linux":  # orphans become children of this process
        ctypes.CDLL(None).prctl(CHILD_SUBREAPER, 1, 0, 0, 0)
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


def shut_off(hidden: list[str]) -> None:
    """Make all files read-only but those in `tmp`, hide folders, and give the right to it up."""
    libc = ctypes.CDLL(None, use_errno=True)

    def call(result: int) -> None:
        if result:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    attributes = (ctypes.c_uint64 * 4)(READ_ONLY, 0, PRIVATE, 0)
    call(libc.syscall(MOUNT_SETATTR, HERE, b"/", RECURSIVE, attributes, 32))
    call(libc.mount(b"tmpfs", os.path.abspath("tmp").encode(), b"tmpfs", 0, b"size=64m,mode=700"))
    for folder in hidden:
        call(libc.mount(b"tmpfs", os.fsencode(folder), b"tmpfs", READ_ONLY, b"size=4k"))
    for capability in range(64):
        libc.prctl(DROP_CAPABILITY, capability, 0, 0, 0)
    call(libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0))
    header, none = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    call(libc.capset(header, none))


def limit(seconds: int) -> None:
    """Limit what each process may take. There is none on the number of processes:

    the system counts those of the whole user, and not root's. `watch` counts.
    """
    for name, most in {**LIMITS, "CPU": seconds}.items() if resource else ():
        with contextlib.suppress(ValueError, OSError):  # lower already; macOS has not all of them
            resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (most, most))


def run(order: dict[str, Any], channel: int) -> None:
    """Run pytest, and end the process: neither its threads nor its exit handlers have a say."""
    code = 1
    try:
        import pytest

        sys.path.insert(0, os.getcwd())
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


def watch(child: int, seconds: int) -> int:
    """Wait for the child's end or for too much of something; end what is left. Return the code."""
    end, code = time.monotonic() + seconds, None
    while code is None:
        time.sleep(TICK)
        code = reap().get(child)
        family = list(descendants(os.getpid()))
        if time.monotonic() > end:
            code = TOO_LONG
        elif len(family) > PROCESSES:
            code = TOO_MANY
        elif sum(map(memory_of, family)) > MEMORY:
            code = TOO_BIG
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    while family := list(descendants(os.getpid())):  # what has left the group
        for process in family:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        reap()
    return code if code >= 0 else 128 - code


def reap() -> dict[int, int]:
    """Return the exit codes of the children, own and adopted, that have ended."""
    codes = {}
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            codes[ended[0]] = os.waitstatus_to_exitcode(ended[1])
    return codes


def descendants(process: int) -> Iterator[int]:
    """Yield the children of a process, and theirs. None where the system has no /proc."""
    for file in Path(f"/proc/{process}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, file.read_text().split()):
                yield child
                yield from descendants(child)


def memory_of(process: int) -> int:
    """Return the bytes that a process has in memory."""
    try:
        pages = Path(f"/proc/{process}/statm").read_text().split()[1]
    except OSError:  # it has just ended
        return 0
    return int(pages) * resource.getpagesize()


if __name__ == "__main__":
    main()
