"""Guesses for demo 10, and a listener between a browser and a server."""

import asyncio
import contextlib
import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx2
import trustme
import uvicorn
from fastapi import FastAPI

from lessons.harness.audit_lines import audit_lines
from stage import BAD, GOOD, finish, plt, show_figure

GUESSES = 20
FORM = {"username": "alice"}
WAYS: dict[str, tuple[bool, Callable[[int], dict[str, str]]]] = {
    "one by one": (False, lambda number: {}),
    "all at once": (True, lambda number: {}),
    "a new header each": (False, lambda number: {"X-Forwarded-For": f"198.51.100.{number}"}),
}
logging.getLogger("asyncio").setLevel(logging.CRITICAL)
_quiet = audit_lines()
_quiet.__enter__()  # the audit log is read in the lesson, not on the slide


def guess(app: FastAPI, way: str) -> int:
    """Send wrong passwords for alice; return how many of them were checked."""
    return finish(_guess(app, *WAYS[way]))


async def _guess(app: FastAPI, at_once: bool, headers: Callable[[int], dict[str, str]]) -> int:
    transport = httpx2.ASGITransport(app=app, client=("203.0.113.7", 50_000))
    async with httpx2.AsyncClient(transport=transport, base_url="http://demo") as client:

        async def send(number: int) -> int:
            form = FORM | {"password": f"guess {number}"}
            answer = await client.post("/token", data=form, headers=headers(number))
            return int(answer.status_code)

        if at_once:
            statuses = await asyncio.gather(*map(send, range(GUESSES)))
        else:
            statuses = [await send(number) for number in range(GUESSES)]
    return sum(status == 400 for status in statuses)


def draw_guesses(**seen: dict[str, int]) -> None:
    """Show how many guesses of each way were checked, for each app."""
    figure, axes = plt.subplots(figsize=(10, 4))
    for place, (name, checked) in enumerate(seen.items()):
        rows = [row + 0.4 * place for row in range(len(checked))]
        bars = axes.barh(rows, list(checked.values()), 0.36, color=(BAD, GOOD)[place], label=name)
        axes.bar_label(bars, padding=4)
    axes.set_yticks([row + 0.2 for row in range(len(WAYS))], list(WAYS))
    axes.invert_yaxis()
    axes.set_xlim(0, GUESSES * 1.25)
    axes.set_xlabel(f"passwords that were checked, of {GUESSES}")
    axes.legend(loc="upper right")
    show_figure(figure)


def listen(app: FastAPI, tls: bool) -> bytes:
    """Log alice in over a line on which somebody listens; return what was heard of her."""
    authority, certificate = trustme.CA(), None
    if tls:
        certificate = authority.issue_cert("localhost")
    heard = bytearray()
    with _serving(app, certificate) as port, _relay(port, heard) as ear:
        context = ssl.create_default_context()
        authority.configure_trust(context)
        url = f"{'https' if tls else 'http'}://localhost:{ear}/token"
        form = FORM | {"password": "secretalice"}
        httpx2.post(url, data=form, verify=context, trust_env=False).raise_for_status()
    return bytes(heard)


@contextmanager
def _serving(app: FastAPI, certificate: trustme.LeafCert | None) -> Iterator[int]:
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="critical", lifespan="off")
    config.load()
    if certificate:
        config.ssl = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(config.ssl)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(20)


@contextmanager
def _relay(port: int, heard: bytearray) -> Iterator[int]:
    """Hand one connection on, and keep what comes from its caller."""
    with socket.create_server(("127.0.0.1", 0)) as ear:

        def hand_on() -> None:
            with contextlib.suppress(OSError):
                caller, _ = ear.accept()
                with caller, socket.create_connection(("127.0.0.1", port)) as server:
                    back = threading.Thread(target=_copy, args=(server, caller), daemon=True)
                    back.start()
                    _copy(caller, server, heard)
                    back.join(5)

        thread = threading.Thread(target=hand_on, daemon=True)
        thread.start()
        yield ear.getsockname()[1]
    thread.join(10)


def _copy(source: socket.socket, target: socket.socket, heard: bytearray | None = None) -> None:
    with contextlib.suppress(OSError):
        while part := source.recv(65_536):
            if heard is not None:
                heard += part
            target.sendall(part)
        target.shutdown(socket.SHUT_WR)
