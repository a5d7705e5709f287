"""What a hand-in's processes cannot get past: limits, and where the system allows it, walls.

A user may shut processes of their own off on most Linux systems, by way of namespaces.
"""

import contextlib
import ctypes
import os

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

ALONE = (  # a command before the command: it begins in namespaces of its own
    *("unshare", "--user", "--map-root-user", "--net", "--ipc"),
    *("--pid", "--fork", "--kill-child", "--mount", "--mount-proc"),
)
LIMITS = {  # of each process
    "AS": 4 << 30,  # bytes of addresses: 40 threads reserve a lot, and use little
    "FSIZE": 16 << 20,  # bytes in a file
    "CORE": 0,
}

# Of the Linux kernel, the same on all common processors.
MOUNT_SETATTR, READ_ONLY, PRIVATE, RECURSIVE, HERE = 442, 1, 1 << 18, 0x8000, -100
DROP_CAPABILITY, NO_NEW_PRIVILEGES, CAPABILITIES = 24, 38, 0x20080522


def shut_off(hidden: list[str]) -> None:
    """Make all files read-only but those in `tmp`, hide folders, and give up the right to do so.

    Only in a process that began `ALONE`. Raises OSError where the system does not allow it.
    """
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
    header, none = (ctypes.c_uint32 * 2)(CAPABILITIES, 0), (ctypes.c_uint32 * 6)()
    call(libc.capset(header, none))


def limit(seconds: int) -> None:
    """Limit what each process may take; `seconds` are the processor's.

    There is no limit on their number: the system would count all of the user's, and not root's.
    """
    if resource is None:
        return
    for name, most in {**LIMITS, "CPU": seconds}.items():
        with contextlib.suppress(ValueError, OSError):  # lower already; macOS has not all of them
            resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (most, most))
