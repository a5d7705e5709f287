"""Starts an app under a real uvicorn on a free port of this machine, and ends it again."""

import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from lessons.harness.catalogue import Lesson
from tests.judge import ENVIRONMENT, ROOT

PATIENCE = 120  # seconds
# A hash gives way to all else. Beside these tests, which keep each core busy, it would never end.
# And the socket that several workers share lacks TCP_NODELAY, which uvloop would set: each answer
# on a connection that stays open would take 40 ms.
UVICORN = """
import os, socket, uvicorn
os.setpriority = lambda *_: None
bind = uvicorn.Config.bind_socket
def bind_without_delay(config):
    end = bind(config)
    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return end
uvicorn.Config.bind_socket = bind_without_delay
uvicorn.main()
"""


def free_port() -> int:
    """Return the number of a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serve(
    app: str,
    log: Path,
    folder: Path = ROOT,
    port: int = 0,
    options: Sequence[str] = (),
    **env: str,
) -> Iterator[httpx.Client]:
    """Yield a client for the running app. `log`, complete at the end, has what it printed.

    `options` are uvicorn's; with "--ssl-..." among them the client is one of plain http still.
    """
    server, port = _begin([app, *options], port, log, cwd=folder, env=ENVIRONMENT | env)
    try:
        # uvicorn closes a connection after a 500, so none is used twice.
        limits = httpx.Limits(max_keepalive_connections=0)
        address = f"http://127.0.0.1:{port}"
        with httpx.Client(
            base_url=address, timeout=PATIENCE, limits=limits, trust_env=False
        ) as client:
            yield client
    finally:
        server.terminate()
        server.wait(PATIENCE)


def _begin(
    command: list[str], port: int, log: Path, **popen: Any
) -> tuple[subprocess.Popen[bytes], int]:
    """Return a server that runs, and its port: another one where somebody else was quicker."""
    while True:
        number = port or free_port()
        with log.open("wb") as output:
            server = subprocess.Popen(
                [sys.executable, "-c", UVICORN, *command, "--port", str(number)],
                stdout=output,
                stderr=output,
                **popen,
            )
        if _is_up(server, log):
            return server, number
        assert not port, f"Port {port} is taken."


def _is_up(server: subprocess.Popen[bytes], log: Path) -> bool:
    """Wait until a server listens; False when its port is taken. Whoever answers may be another."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        said = log.read_text()
        if "Uvicorn running on" in said:
            return True
        if server.poll() is not None:
            assert "address already in use" in said, f"It did not start:\n{said}"
            return False
        time.sleep(0.05)
    server.kill()
    raise AssertionError(f"It does not listen:\n{log.read_text()}")


def tables_for(lesson: Lesson, folder: Path) -> dict[str, str]:
    """Make the tables that a lesson's app wants, and return the settings that name them."""
    if lesson.slug != "database":
        return {}
    secret = secrets.token_urlsafe(32)
    named = {"DATABASE_URL": f"sqlite:///{folder}/workbook.db", "JWT_SECRET": secret}
    command = [sys.executable, "-m", "solutions.stores.sql.migrate"]
    subprocess.run(command, cwd=ROOT, env=ENVIRONMENT | named, check=True, capture_output=True)
    return named


def refuse_to_start(app: str, folder: Path = ROOT, workers: str = "1", **env: str) -> str:
    """Start an app that must end by itself, and return the one sentence that says why."""
    done = subprocess.run(
        [sys.executable, "-m", "uvicorn", app, "--port", "0", "--workers", workers],
        cwd=folder,
        env=ENVIRONMENT | env,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    printed = done.stdout + done.stderr
    assert "Traceback" not in printed, printed
    assert done.returncode != 0 or workers != "1", printed
    sentences = {line.partition("ERROR:")[2].strip() for line in printed.splitlines()}
    (sentence,) = [each for each in sentences if each.startswith("Not started")]
    return sentence
