"""PostgreSQL as Debian has it, in a folder of its own, for the tests of lesson 12."""

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.everyday import start_servers
from tests.processes import PATIENCE, free_port

PASSWORD = "its own: kept/out@of#logs"
IN_A_URL = "its%20own%3A%20kept%2Fout%40of%23logs"
READY = "database system is ready to accept connections"
TAKEN = "could not create any TCP/IP sockets"
IN_USE = "pre-existing shared memory block"  # by processes of a server that was killed
QUICK = {"fsync": "off", "max_connections": "200"}  # nobody pulls the plug in these tests


def programs() -> Path:
    """Return the folder of PostgreSQL's programs. Skips without it, or fails if it is required."""
    newest = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=_version)
    found = shutil.which("postgres") or (newest[-1] if newest else None)
    start_servers(found, "There is no PostgreSQL: install one (Debian: apt install postgresql).")
    return Path(str(found)).resolve().parent


def _version(program: Path) -> int:
    return int(program.parts[-3]) if program.parts[-3].isdigit() else 0


class Postgres:
    """A server that is running, or has been. All its programs belong to one ordinary user."""

    def __init__(self, folder: Path, **settings: str) -> None:
        """Make an empty server in a folder that is its own; `settings` go to its command line."""
        self.folder, self.port = folder, free_port()
        self._programs, self._settings = programs(), settings
        self._process: subprocess.Popen[bytes] | None = None
        self._dropped: dict[str, Any] = {}
        if os.geteuid() == 0:  # PostgreSQL refuses root
            user = pwd.getpwnam(_ordinary_user())
            os.chown(folder, user.pw_uid, user.pw_gid)
            self._dropped = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        password = folder / "password"
        password.write_text(PASSWORD)
        password.chmod(0o644)  # the folder is closed
        options = ["--username=workbook", f"--pwfile={password}", "--auth=scram-sha-256"]
        subprocess.run(
            [self._programs / "initdb", "-N", *options, "-D", folder / "data", "-E", "UTF8"],
            check=True,
            capture_output=True,
            cwd=folder,
            timeout=PATIENCE,
            **self._dropped,
        )

    @property
    def pid(self) -> int:
        """The number of the first process. Its children are in groups of their own."""
        assert self._process
        return self._process.pid

    @property
    def log(self) -> str:
        """What it has said since its last start."""
        return (self.folder / "log").read_text()

    def url(self, database: str = "postgres") -> str:
        """Return what DATABASE_URL says of a database."""
        return f"postgresql://workbook:{IN_A_URL}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start it, and wait until it answers. Its port stays the same once it has been up."""
        was_up = self._process is not None
        deadline = time.monotonic() + PATIENCE
        while not self._is_up(deadline):
            assert time.monotonic() < deadline, self.log
            if not was_up:
                self.port = free_port()

    def _is_up(self, deadline: float) -> bool:
        """Start it; False when its port, or its memory, is somebody's."""
        fixed = {"port": str(self.port), "listen_addresses": "127.0.0.1"}
        fixed["unix_socket_directories"] = ""
        words = [f"-c{name}={value}" for name, value in (fixed | self._settings).items()]
        with (self.folder / "log").open("wb") as output:
            self._process = subprocess.Popen(
                [self._programs / "postgres", "-D", self.folder / "data", *words],
                stdout=output,
                stderr=output,
                cwd=self.folder,
                start_new_session=True,  # so that nobody's Ctrl-C ends it
                **self._dropped,
            )
        while self._process.poll() is None and time.monotonic() < deadline:
            if READY in self.log:
                return True
            time.sleep(0.02)
        self.kill()
        assert TAKEN in self.log or IN_USE in self.log, self.log
        time.sleep(0.1)
        return False

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it: by SIGINT it hangs up on everybody, by SIGQUIT without tidying up first."""
        if self._process and self._process.poll() is None:
            self._process.send_signal(how)
            try:
                self._process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """End all its processes at once, in the middle of whatever they do: `kill -9`."""
        self.signal_all(signal.SIGKILL)
        if self._process:
            self._process.wait(PATIENCE)

    def signal_all(self, number: signal.Signals) -> None:
        """Send all its processes a signal, as SIGSTOP for a server that stands still."""
        if not self._process or self._process.poll() is not None:
            return
        for pid in [self.pid, *_children_of(self.pid)]:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run one statement as its owner, and return the rows if there are any."""
        import psycopg

        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def new_database(self, template: str = "template0") -> str:
        """Make a database, empty or like another one that nobody uses; return its URL."""
        name = f"w{secrets.token_hex(6)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.url(name)


def _ordinary_user() -> str:
    names = {user.pw_name for user in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


def _children_of(parent: int) -> list[int]:
    children = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # gone since
            after_the_name = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(after_the_name[1]) == parent:
                children.append(int(folder.name))
    return children


@contextmanager
def postgres(**settings: str) -> Iterator[Postgres]:
    """Run a server until the block ends; `settings` as in `fsync="off"`."""
    folder = Path(tempfile.mkdtemp(prefix="workbook-postgres-"))  # pytest's own are root's alone
    try:
        server = Postgres(folder, **settings)
        try:
            server.start()
            yield server
        finally:
            server.signal_all(signal.SIGCONT)
            server.stop(signal.SIGQUIT)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def migrated_postgres() -> Iterator[tuple[Postgres, str]]:
    """Run a quick server; yield it, and the name of a database that has all tables."""
    import asyncio

    from solutions.stores.sql.migrate import migrate
    from solutions.stores.sql.opening import open_database

    async def bring_up(url: str) -> None:
        async with open_database(url, 1) as database:
            await migrate(database)

    with postgres(**QUICK) as server:
        url = server.new_database()
        asyncio.run(bring_up(url))
        yield server, url.rpartition("/")[2]
