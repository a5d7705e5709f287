"""How the service asks others: against a server on loopback that is slow, endless or elsewhere."""

import asyncio
import gzip
import time
from collections.abc import Awaitable, Callable

import httpx2
import pytest

from solutions.support import bounded_http
from solutions.support.bounded_http import MAX_ANSWER_BYTES, Bounded

Write = Callable[[bytes], Awaitable[None]]
Speak = Callable[[Write], Awaitable[None]]


def ask(speak: Speak, path: str = "/") -> httpx2.Response:
    """Start a server that says what it is told to, ask it, and return the answer."""

    async def both() -> httpx2.Response:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            async def write(data: bytes) -> None:
                writer.write(data)
                await writer.drain()

            await reader.readuntil(b"\r\n\r\n")
            try:
                await speak(write)
            except ConnectionError:
                pass
            finally:
                writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            async with httpx2.AsyncClient(transport=Bounded()) as client:
                return await client.get(f"http://127.0.0.1:{port}{path}")

    return asyncio.run(both())


def saying(*parts: bytes) -> Speak:
    async def speak(write: Write) -> None:
        for part in parts:
            await write(part)

    return speak


def test_a_small_answer_arrives_whole() -> None:
    answer = ask(saying(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n", b"{", b'"', b'"', b"}"))
    assert (answer.status_code, answer.content) == (200, b'{""}')


@pytest.mark.parametrize("head", [b"", b"Content-Length: 9999999\r\n"])
def test_an_endless_answer_is_given_up(head: bytes) -> None:
    written = 0

    async def speak(write: Write) -> None:
        nonlocal written
        await write(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n")
        while written < 100 * MAX_ANSWER_BYTES:
            await write(b"x" * 65536)
            written += 65536

    with pytest.raises(httpx2.TransportError, match="too long"):
        ask(speak)
    assert written < 50 * MAX_ANSWER_BYTES, "What the socket holds, and no more."


@pytest.mark.parametrize("begins", [b"", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_an_answer_that_drips_is_given_up(monkeypatch: pytest.MonkeyPatch, begins: bytes) -> None:
    monkeypatch.setattr(bounded_http, "SECONDS", 0.3)

    async def speak(write: Write) -> None:
        await write(begins)
        for _ in range(1000):
            await asyncio.sleep(0.05)
            await write(b"X-Part: x\r\n" if not begins else b"x")

    began = time.monotonic()
    with pytest.raises(httpx2.TimeoutException):
        ask(speak)
    assert time.monotonic() - began < 20


def test_a_packed_answer_is_refused() -> None:
    """A megabyte of blanks has a thousand bytes."""
    packed = gzip.compress(b" " * 1_000_000)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)
    with pytest.raises(httpx2.DecodingError):
        ask(saying(head, packed))


def test_no_redirect_is_followed_and_no_proxy_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    head = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n"
    assert ask(saying(head)).status_code == 302


def test_certificates_are_looked_at() -> None:
    context = bounded_http._ssl_context()
    assert context.check_hostname
    assert context.verify_mode.name == "CERT_REQUIRED"
