"""nginx and Redis, as Debian has them, for the tests of lesson 10. Each in a folder of its own."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.everyday import start_servers
from tests.processes import PATIENCE, free_port

NGINX = """\
daemon off;
{user}
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {folder}/chain.pem;
        ssl_certificate_key {folder}/chain.pem;
        location {prefix}/ {{
            proxy_pass http://127.0.0.1:{app}/;
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
        }}
    }}
}}
"""


def program(name: str, package: str) -> str:
    """Return a program's path. Skips the test without it, or fails where it is required."""
    path = shutil.which(name) or shutil.which(f"/usr/sbin/{name}")
    start_servers(path, f"There is no {name}: install one (Debian: apt install {package}).")
    return str(path)


@contextmanager
def running(command: list[str], port: int, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start a program and wait until somebody listens on its port; end it afterwards."""
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=output)
        try:
            _wait_for(port, process, folder)
            yield process
        finally:
            process.kill()
            process.wait(PATIENCE)


def _wait_for(port: int, process: subprocess.Popen[bytes], folder: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        assert process.poll() is None, (folder / "output").read_text()
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise AssertionError("It does not listen.")


@contextmanager
def nginx(folder: Path, app: int, chain: bytes, prefix: str = "") -> Iterator[int]:
    """Run nginx with TLS before the app at a port; yield its own port."""
    command, port = program("nginx", "nginx-light"), free_port()
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "chain.pem").write_bytes(chain)
    text = NGINX.format(folder=folder, user=user, port=port, app=app, prefix=prefix)
    (folder / "nginx.conf").write_text(text)
    start = [command, "-e", str(folder / "error.log"), "-p", str(folder), "-c", "nginx.conf"]
    with running(start, port, folder):
        yield port


@dataclass
class Redis:
    """A running Redis."""

    port: int
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"


@contextmanager
def redis(folder: Path, port: int = 0) -> Iterator[Redis]:
    """Run a Redis that keeps nothing on disk."""
    command, port = program("redis-server", "redis-server"), port or free_port()
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with running([command, *options], port, folder) as process:
        yield Redis(port, process)
