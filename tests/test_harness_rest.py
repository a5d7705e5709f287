"""What rests is told from what can still go on, on a busy machine too."""

import subprocess
import sys

import pytest

from lessons.harness.catalogue import ROOT
from lessons.harness.rest import IS_TOLD

SCRIPT = """
import asyncio, hashlib, queue, threading, time
from concurrent.futures import ThreadPoolExecutor
from lessons.harness.rest import is_at_rest

opened = threading.Event()

async def look():
    loop = asyncio.get_running_loop()
    {beside}
    for _ in range(50):
        await asyncio.sleep(0)
    looks = [await is_at_rest() for _ in range(20)]
    opened.set()
    return looks

print(any(asyncio.run(look())))
"""
RESTS = {
    "nothing else": "pass",
    "a thread that waits for another": "threading.Thread(target=opened.wait).start()",
    "an idle pool": "ThreadPoolExecutor(2).submit(int).result()",
    "a pool that waits": "[ThreadPoolExecutor(2).submit(opened.wait) for _ in range(2)]",
    "a request that waits": "waits = asyncio.create_task(asyncio.Event().wait())",
    "a time limit that was kept": "loop.call_later(9, int).cancel()",
}
GOES_ON = {
    "a thread that computes": "while not opened.is_set(): sum(range(100))",
    "a thread that hashes": "while not opened.is_set(): hashlib.sha256(bytes(10**7)).digest()",
    "a thread that sleeps": "time.sleep(1)",
    "a thread that looks now and then": "while not opened.wait(0.0001): pass",
}


@pytest.mark.skipif(not IS_TOLD, reason="No system but Linux tells of its threads.")
@pytest.mark.parametrize("beside", RESTS)
def test_at_rest(beside: str) -> None:
    assert _is_at_rest(RESTS[beside])


@pytest.mark.parametrize("beside", GOES_ON)
def test_a_thread_that_can_go_on_is_not_at_rest(beside: str) -> None:
    body = "\n        ".join(GOES_ON[beside].split("; "))
    start = f"def run():\n        {body}\n    threading.Thread(target=run).start()"
    assert not _is_at_rest(start)


def test_a_task_that_can_go_on_is_not_at_rest() -> None:
    assert not _is_at_rest("sleeps = asyncio.create_task(asyncio.sleep(9))")
    assert not _is_at_rest(
        "async def turn():\n        while True: await asyncio.sleep(0)\n"
        "    turns = asyncio.create_task(turn())"
    )


def _is_at_rest(beside: str) -> bool:
    """Tell whether a process with this beside it is ever seen at rest."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(beside=beside)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout == "True\n"
