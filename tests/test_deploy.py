"""solutions/deploy, as far as it can be tried without containers: by hand, with its own files."""

import json
import os
import re
import secrets
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme

from tests.judge import ROOT
from tests.postgres import Postgres, postgres
from tests.processes import PATIENCE, free_port
from tests.servers import program, redis, running

DEPLOY = ROOT / "solutions" / "deploy"
NOBODY = 65532  # the image's user
HOST = "shop.example"
ERIN = {"username": "erin", "password": "trombone + seven"}


def lines_of(name: str) -> list[str]:
    return (DEPLOY / name).read_text("utf-8").splitlines()


def test_the_compose_file_is_one() -> None:
    command = ["check-jsonschema", "--builtin-schema", "vendor.compose-spec", "compose.yaml"]
    beside = Path(sys.executable).parent / command[0]
    done = subprocess.run(
        [beside, *command[1:]], cwd=DEPLOY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_secret_has_a_default() -> None:
    text = (DEPLOY / "compose.yaml").read_text("utf-8")
    assert not re.search(r"\$\{[A-Z_]+:?-", text)
    assert not re.search(r"(SECRET|PASSWORD|DATABASE_URL): ", text)


def test_what_the_image_installs_is_pinned() -> None:
    pinned = {
        line.partition("==")[0].lower()
        for line in (ROOT / "constraints.txt").read_text().split("\n")
    }
    wanted = {re.sub(r"\[.*", "", line) for line in lines_of("requirements.txt")[1:]}
    assert wanted <= pinned


def python_for_anybody() -> str:
    """Return an interpreter that the image's user may run, too: root's own is for root."""
    for each in (sys.executable, "/usr/bin/python3"):
        asks = [each, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]
        with suppress(OSError):
            if subprocess.run(asks, check=False, cwd="/", **as_nobody()).returncode == 0:
                return each
    pytest.fail("Nobody but root may run this Python, and there is no other: apt install python3.")


def as_nobody() -> dict[str, Any]:
    return {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}


def build(folder: Path) -> Path:
    """Do what the Containerfile does, in a folder in the place of /app; nobody may write there."""
    text = (DEPLOY / "Containerfile").read_text("utf-8")
    app = folder / "app"
    uv = [sys.executable, "-m", "uv"]
    subprocess.run([*uv, "venv", "-q", "-p", python_for_anybody(), app / "venv"], check=True)
    where = ["-p", app / "venv" / "bin" / "python", "-c", ROOT / "constraints.txt"]
    what = ["--only-binary=:all:", "-r", DEPLOY / "requirements.txt"]
    subprocess.run([*uv, "pip", "install", "-q", *where, *what], check=True)
    for source, target in re.findall(r"^COPY (solutions\S*) (/app\S*)$", text, re.MULTILINE):
        for each in ROOT.glob(source):
            place = folder / target[1:]
            if each.is_dir():
                shutil.copytree(each, place, dirs_exist_ok=True)
            else:
                place.mkdir(parents=True, exist_ok=True)
                shutil.copy(each, place)
    subprocess.run(
        [app / "venv/bin/python", "-m", "compileall", "-q", app / "solutions"], check=True
    )
    for path in [app, *app.rglob("*")]:
        if not path.is_symlink():
            path.chmod(path.stat().st_mode & ~0o222)
    return app


def command_in_the_image() -> list[str]:
    text = (DEPLOY / "Containerfile").read_text("utf-8").replace("\\\n", "")
    (words,) = re.findall(r"^CMD (\[.*\])$", text, re.MULTILINE)
    found: list[str] = json.loads(words)
    return found


def hashes_do_not_give_way(site: Path) -> Path:
    """Return a place for PYTHONPATH. Beside these tests, which keep each core busy, none ended."""
    site.mkdir(exist_ok=True)
    (site / "sitecustomize.py").write_text("import os\nos.setpriority = lambda *_: None\n")
    return site


class Image:
    """The app as the image has it: as nobody, with nothing but the environment of the image."""

    def __init__(self, app: Path, env: dict[str, str]) -> None:
        self.app = app
        self.env = {
            "PATH": f"{app}/venv/bin:/usr/bin:/bin",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUNBUFFERED": "1",
            "PYTHONPATH": str(hashes_do_not_give_way(app.parent / "site")),
            **env,
        }
        self.popen: dict[str, Any] = {"cwd": app, "env": self.env, **as_nobody()}

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        command = [shutil.which(words[0], path=self.env["PATH"]) or "", *words[1:]]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=PATIENCE, check=False, **self.popen
        )

    @contextmanager
    def serve(self, port: int) -> Iterator[None]:
        """Run what the image runs, on a port of ours."""
        words = [str(port) if each == "8000" else each for each in command_in_the_image()]
        words = ["127.0.0.1" if each == "0.0.0.0" else each for each in words]
        with (Path(self.env["TMPDIR"]) / "log").open("wb") as log:
            server = subprocess.Popen(
                [f"{self.app}/venv/bin/{words[0]}", *words[1:]],
                stdout=log,
                stderr=log,
                **self.popen,
            )
        try:
            yield
        finally:
            server.terminate()
            server.wait(PATIENCE)

    def is_ready(self, port: int) -> bool:
        """Ask as compose.yaml does."""
        text = (DEPLOY / "compose.yaml").read_text("utf-8")
        (probe,) = re.findall(r'\[CMD, python, -c, "(.*)"\]', text)
        return self.run("python", "-c", probe.replace("8000", str(port))).returncode == 0


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder that anybody may enter; pytest's own are for their owner."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture(scope="module")
def database() -> Iterator[Postgres]:
    with postgres(fsync="off") as server:
        yield server


def draw_secrets(folder: Path, database: Postgres) -> dict[str, str]:
    """Draw them as the README says, make the role with the script, and return both texts."""
    subprocess.run(["sh", DEPLOY / "draw_secrets.sh", folder / "secrets"], check=True)
    before = {each.name: each.read_text() for each in (folder / "secrets").iterdir()}
    assert len({*before.values()}) == 4
    subprocess.run(["sh", DEPLOY / "draw_secrets.sh", folder / "secrets"], check=True)
    assert {each.name: each.read_text() for each in (folder / "secrets").iterdir()} == before
    at = httpx.URL(database.url())
    env = {
        "PATH": os.environ["PATH"],
        "POSTGRES_USER": at.username,
        "PGPASSWORD": at.password,
        "PGHOST": "127.0.0.1",
        "PGPORT": str(database.port),
        "SECRETS": str(folder / "secrets"),
    }
    subprocess.run(["sh", DEPLOY / "roles.sh"], env=env, check=True, capture_output=True)
    here = f"127.0.0.1:{database.port}"
    url = before["database_url"].replace("database:5432", here)
    return {"JWT_SECRET": before["jwt_secret"], "DATABASE_URL": url}


@contextmanager
def front(folder: Path, app: int, chain: bytes) -> Iterator[int]:
    """Run nginx with the deployment's own file, but for addresses and paths."""
    public, plain, probe = free_port(), free_port(), free_port()
    (folder / "chain.pem").write_bytes(chain)
    text = (DEPLOY / "nginx.conf").read_text("utf-8")
    for before, after in {
        "/tmp/": f"{folder}/",
        "/run/secrets/tls_chain": f"{folder}/chain.pem",
        "/run/secrets/tls_key": f"{folder}/chain.pem",
        "app:8000": f"127.0.0.1:{app}",
        "listen 8443": f"listen 127.0.0.1:{public}",
        "listen 8080": f"listen 127.0.0.1:{plain}",
        "127.0.0.1:8081": f"127.0.0.1:{probe}",
    }.items():
        assert before in text
        text = text.replace(before, after)
    user = "user root;\n" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(f"daemon off;\n{user}{text}")
    command = [
        program("nginx", "nginx-light"),
        "-e",
        "stderr",
        "-p",
        str(folder),
        "-c",
        "nginx.conf",
    ]
    tested = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
    assert "test is successful" in tested.stderr and "warn" not in tested.stderr, tested.stderr
    with running(command, public, folder):
        answer = httpx.get(f"http://127.0.0.1:{probe}/healthz", trust_env=False)
        assert answer.status_code == 200
        sent_on = httpx.get(f"http://127.0.0.1:{plain}/login?next=/x", trust_env=False)
        assert sent_on.headers["location"] == "https://127.0.0.1/login?next=/x"
        assert httpx.post(f"http://127.0.0.1:{plain}/token", trust_env=False).status_code == 403
        yield public


def test_it_works_by_hand(folder: Path, database: Postgres) -> None:
    """Image, secrets, roles, migrations, workers, health checks, nginx; and what becomes of them.

    The app is nobody, cannot write where its code lies, and is no superuser of the database.
    """
    authority = trustme.CA()
    for name in ("redis", "nginx", "tmp"):
        (folder / name).mkdir()
    (folder / "tmp").chmod(0o1777)
    port = free_port()
    beside = f"http://127.0.0.1:{port}"
    with redis(folder / "redis") as counters:
        env = draw_secrets(folder, database) | {
            "ENVIRONMENT": "production",
            "JWT_ISSUER": f"https://{HOST}",
            "JWT_AUDIENCE": HOST,
            "PUBLIC_URL": f"https://{HOST}",
            "ALLOWED_HOSTS": HOST,
            "TRUSTED_PROXIES": "127.0.0.1",
            "LIMITS_URL": counters.url,
            "TMPDIR": str(folder / "tmp"),
        }
        image = Image(build(folder), env)
        assert image.run("python", "-m", "pip", "--version").returncode != 0
        assert image.run("python", "-c", "open('here', 'w')").returncode != 0 or os.geteuid() != 0
        chain = authority.issue_cert(HOST).private_key_and_cert_chain_pem.bytes()
        with image.serve(port):
            wait_until(lambda: "Not started" in (folder / "tmp" / "log").read_text())
        assert not image.is_ready(port)  # it is not even there: the tables are missing
        for said in ("0002_sessions.up.sql", "Nothing to do."):
            migrated = image.run("python", "-m", "solutions.stores.sql.migrate")
            assert said in migrated.stdout, migrated.stderr
        with image.serve(port), front(folder / "nginx", port, chain) as public:
            wait_until(lambda: image.is_ready(port))
            with client_at(public, authority) as client:
                use(client)
                database.signal_all(signal.SIGSTOP)
                try:
                    began = time.monotonic()
                    answer = httpx.get(
                        f"http://127.0.0.1:{port}/readyz", trust_env=False, timeout=60
                    )
                    assert time.monotonic() - began < 15
                    assert (answer.status_code, answer.json()) == (503, {"status": "unavailable"})
                    alive = httpx.get(f"{beside}/healthz", trust_env=False)
                    assert alive.status_code == 200
                finally:
                    database.signal_all(signal.SIGCONT)
                wait_until(lambda: image.is_ready(port))
                counters.process.kill()
                wait_until(lambda: not image.is_ready(port))
    said = (folder / "tmp" / "log").read_text()
    assert "Traceback" not in said
    assert not any(each in said for each in (env["JWT_SECRET"], env["DATABASE_URL"]))


def wait_until(condition: Any) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "It does not happen."
        time.sleep(0.1)


def client_at(public: int, authority: trustme.CA) -> httpx.Client:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return httpx.Client(
        base_url=f"https://127.0.0.1:{public}", verify=context, timeout=60, trust_env=False
    )


def use(client: httpx.Client) -> None:
    """Register, log in, and try what strangers must not."""
    options: dict[str, Any] = {"extensions": {"sni_hostname": HOST}, "headers": {"Host": HOST}}
    assert client.post("/register", json=ERIN, **options).status_code == 201
    tokens = client.post("/token", data=ERIN, **options)
    assert tokens.status_code == 200, tokens.text
    assert "strict-transport-security" in tokens.headers
    for path in ("/healthz", "/readyz", "/docs"):
        assert client.get(path, **options).status_code == 404
    options["headers"] = {"Host": "elsewhere.example"}
    assert client.get("/login", **options).status_code == 400


@pytest.mark.usefixtures("fresh_settings")  # a secret in the environment goes before a file's
def test_secrets_come_from_files(folder: Path) -> None:
    """What compose.yaml puts into /run/secrets has the names that the settings look for."""
    from solutions.support.settings import Settings

    place = folder / "run"
    place.mkdir()
    secret = secrets.token_urlsafe(32)
    (place / "jwt_secret").write_text(secret + "\n")
    settings = Settings(_secrets_dir=place, environment="development")
    assert settings.signing_key == secret
    text = (DEPLOY / "compose.yaml").read_text("utf-8")
    (names,) = re.findall(r"secrets: \[(jwt_secret.*?)\]", text)
    assert {*names.split(", ")} <= {*Settings.model_fields}
