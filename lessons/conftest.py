"""Whose code is graded, and what the tests ask for. The parts are in `harness/`."""

import logging
import os
import secrets
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from lessons.harness import pages
from lessons.harness.candidate import (
    SETTINGS,
    Candidate,
    Recorded,
    clear_caches,
    clear_state,
    crash_line,
)
from lessons.harness.catalogue import Lesson, lesson_of
from lessons.harness.client import Client
from lessons.harness.escapes import Interrupted, contained, no_way_out
from lessons.harness.limit import Endless, Limit
from lessons.harness.login_form import spare_the_login_form_a_thread
from lessons.harness.loop import Loop
from lessons.harness.meter import Meter
from lessons.harness.people import PASSWORDS
from lessons.harness.refusals import note_refusals
from lessons.harness.screen import (
    WIDTH,
    Outcome,
    colours_of,
    is_green,
    lesson_screen,
    progress_table,
)
from lessons.harness.stores import Waiting
from lessons.harness.transcript import Transcript
from lessons.harness.verdicts import (
    BROKEN,
    OPEN,
    WRONG,
    BrokenCandidate,
    Unwritten,
    verdict_of,
)
from lessons.harness.view import View, whose


def draw_settings() -> dict[str, str]:
    """Draw settings of which none is its default or equal to another, anew in each run.

    So code that has a default written out, or takes one setting for another, shows. They are those
    of production, where copied code runs; the meter makes its hashes cheap.
    """
    drawn = secrets.SystemRandom()
    return {
        "ENVIRONMENT": "production",
        "JWT_SECRET": secrets.token_urlsafe(48),
        "JWT_ISSUER": f"https://issuer-{secrets.token_hex(4)}.example",
        "JWT_AUDIENCE": f"audience-{secrets.token_hex(4)}",
        "ACCESS_TOKEN_EXPIRE_MINUTES": str(drawn.randint(13, 29)),
        "REFRESH_TOKEN_EXPIRE_DAYS": str(drawn.choice([4, 5, 6, 8, 9, 10])),
        "BCRYPT_ROUNDS": str(drawn.choice([10, 11])),
        "PASSWORD_MIN_LENGTH": str(drawn.randint(9, 12)),
        "MAX_BODY_BYTES": str(drawn.randint(70_000, 90_000)),
        "PUBLIC_URL": f"https://p-{secrets.token_hex(4)}.shop.example:{drawn.randint(2000, 6000)}",
        "SESSION_IDLE_MINUTES": str(drawn.randint(41, 58)),
        "SESSION_HOURS": str(drawn.choice([3, 4, 5])),
        "OIDC_ISSUER": f"https://login-{secrets.token_hex(4)}.example/realm",
        **{
            f"{name}_CLIENT_{kind}": f"{name.lower()}-{kind.lower()}-{secrets.token_hex(8)}"
            for name in ("GOOGLE", "GITHUB", "OIDC")
            for kind in ("ID", "SECRET")
        },
        "TRUSTED_PROXIES": f"10.{drawn.randint(1, 200)}.0.0/16 fd{secrets.token_hex(1)}::/112",
        "ALLOWED_HOSTS": f"workbook.test api-{secrets.token_hex(4)}.example",
        "CORS_ORIGINS": f"https://app-{secrets.token_hex(4)}.example https://localhost:3000",
        "ATTEMPTS_PER_LOGIN": str(drawn.choice([3, 4])),
        "ATTEMPTS_PER_ADDRESS": str(drawn.randint(10, 12)),
        "ATTEMPTS_PER_NAME": str(drawn.randint(14, 16)),
        "ATTEMPTS_MINUTES": str(drawn.randint(17, 29)),
        "SIGNING_KEYS_DIR": f"{tempfile.gettempdir()}/keys-{secrets.token_hex(8)}",  # not made yet
        "DATABASE_URL": f"sqlite:///{tempfile.gettempdir()}/never-{secrets.token_hex(8)}.db",
    }


TEST_SETTINGS = draw_settings()

_limit = Limit()
_transcript = Transcript()
_meter = Meter()
_candidates: dict[Lesson, Candidate] = {}
_hashes: dict[Lesson, dict[str, str]] = {}
_older_hashes: dict[Lesson, dict[str, str]] = {}


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(View(_limit, _transcript, _meter, _candidate))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.option.database and {lesson_of(item.path).number for item in items} == {"12"}:
        raise pytest.UsageError(
            "--database is for the other lessons: lesson 12 has two workers on a file of its own."
        )


def _candidate(config: pytest.Config, lesson: Lesson) -> Candidate:
    if lesson not in _candidates:
        chosen = whose(config)
        file = {"solutions": lesson.reference, "naive": lesson.naive}.get(chosen, lesson.starter)
        if config.option.candidate:
            file = (config.invocation_params.dir / config.option.candidate).resolve()
        _candidates[lesson] = Candidate(lesson, file, mine=chosen == "mine")
    return _candidates[lesson]


@pytest.fixture(scope="session", autouse=True)
def _environment() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.upper() in SETTINGS]:
            patch.delenv(name)
        for name, value in TEST_SETTINGS.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="session", autouse=True)
def _database(_environment: None, request: pytest.FixtureRequest) -> Iterator[None]:
    if not request.config.option.database:
        yield
        return
    from lessons.harness.in_database import NotOurs, stores_in_database

    try:
        with stores_in_database(request.config.option.database):
            yield
    except NotOurs as error:
        pytest.exit(str(error), 4)


@pytest.fixture(scope="session")
def loop() -> Iterator[Loop]:
    """The event loop on which the apps run."""
    loop = Loop()
    yield loop
    if not _limit.struck:  # a thread that never ends would be waited for
        loop.close()


@pytest.fixture(autouse=True)
def _fresh() -> None:
    _transcript.clear()
    clear_state()


@pytest.fixture
def note() -> Callable[[str], None]:
    """Write down what happens in a test beside its calls and requests."""
    return _transcript.note


@pytest.fixture
def meter() -> Meter:
    """Counts password hashing."""
    return _meter


@pytest.fixture
def candidate(request: pytest.FixtureRequest, loop: Loop) -> Recorded:
    """The graded module. Its functions can be called; each call goes into the transcript."""
    graded = _candidate(request.config, lesson_of(request.path))
    graded.renew()
    graded.load()
    return Recorded(graded, _transcript, loop.run)


@pytest.fixture
def users(candidate: Recorded, loop: Loop, request: pytest.FixtureRequest) -> Waiting:
    """The app's store, with the demo people in it. Above lesson 01 they can log in."""
    from solutions.stores.users import demo_people, open_user_store

    store = open_user_store()
    hashes = _cheap_hashes(_candidate(request.config, lesson_of(request.path)))

    async def fill() -> None:
        for person in demo_people():
            hashed = hashes.get(person.username, person.hashed_password)
            await store.add(person.model_copy(update={"hashed_password": hashed}))

    loop.run(fill())
    return Waiting(store, loop.run, _transcript)


@pytest.fixture
def settings(candidate: Recorded) -> Any:
    """The settings that the app runs under, drawn for this run."""
    from solutions.support.settings import get_settings

    return get_settings()


@pytest.fixture
def refresh_store(candidate: Recorded, loop: Loop) -> Waiting:
    """The app's refresh tokens."""
    from solutions.stores.refresh_tokens import open_refresh_store

    return Waiting(open_refresh_store(), loop.run, _transcript)


@pytest.fixture
def key_store(candidate: Recorded, loop: Loop) -> Waiting:
    """The app's API keys."""
    from solutions.stores.api_keys import open_key_store

    return Waiting(open_key_store(), loop.run, _transcript)


@pytest.fixture
def session_store(candidate: Recorded, loop: Loop) -> Waiting:
    """The app's sessions."""
    from solutions.stores.sessions import open_session_store

    return Waiting(open_session_store(), loop.run, _transcript)


@pytest.fixture
def flow_store(candidate: Recorded, loop: Loop) -> Waiting:
    """The app's logins that are under way at a provider."""
    from solutions.stores.flows import open_flow_store

    return Waiting(open_flow_store(), loop.run, _transcript)


@pytest.fixture
def identity_store(candidate: Recorded, loop: Loop) -> Waiting:
    """The app's people at providers."""
    from solutions.stores.identities import open_identity_store

    return Waiting(open_identity_store(), loop.run, _transcript)


@pytest.fixture
def town(candidate: Recorded, users: Waiting, loop: Loop) -> Any:
    """The app's tenants, and the ways to make some."""
    from lessons.harness.tenancy import Town

    return Town(loop.run, users)


@pytest.fixture
def later() -> Callable[[timedelta], AbstractContextManager[None]]:
    """Move the clock on: `with later(timedelta(days=3)):`."""

    @contextmanager
    def move(span: timedelta) -> Iterator[None]:
        import time_machine

        if span:
            _transcript.note(f"{span} after the beginning")
        with time_machine.travel(span):
            yield

    return move


def _cheap_hashes(graded: Candidate) -> dict[str, str]:
    lesson = graded.lesson
    if lesson not in _hashes and "solutions.hashing" in sys.modules and lesson.slug != "hashing":
        _hashes[lesson] = _hash_passwords(graded)
    return _hashes.get(lesson, {})


def _hash_passwords(graded: Candidate) -> dict[str, str]:
    from solutions.hashing import hash_password

    try:
        return {name: hash_password(PASSWORDS[name]) for name in PASSWORDS}
    except NotImplementedError as error:
        raise graded.unfinished(error) from None


@pytest.fixture
def older_hashes(candidate: Recorded, request: pytest.FixtureRequest) -> dict[str, str]:
    """The demo people's hashes of a time when fewer rounds were enough. Ask before `users`."""
    graded = _candidate(request.config, lesson_of(request.path))
    if graded.lesson not in _older_hashes:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("ENVIRONMENT", "development")  # where any number of rounds will do
            patch.setenv("BCRYPT_ROUNDS", str(int(os.environ["BCRYPT_ROUNDS"]) - 1))
            clear_caches()
            if graded.earlier:  # the learner's own hashing may read settings when it is imported
                graded.load()
            _older_hashes[graded.lesson] = _hash_passwords(graded)
        clear_caches()
        graded.load()
    return _older_hashes[graded.lesson]


@pytest.fixture
def client(
    candidate: Recorded,
    users: Any,
    request: pytest.FixtureRequest,
    loop: Loop,
) -> Iterator[Client]:
    """A client for the candidate's app."""
    graded = _candidate(request.config, lesson_of(request.path))
    client = Client(candidate.app, _transcript, loop, graded)
    if pages.MODULE in sys.modules:
        pages.load_pages()
    yield client
    client.close()


@pytest.fixture
def workers(candidate: Recorded, users: Waiting, request: pytest.FixtureRequest) -> Iterator[Any]:
    """Two workers of the candidate's app, on one database with the demo people in it."""
    from lessons.harness.workers import Workers, fill
    from solutions.stores.sql import sqlite

    folder = tempfile.TemporaryDirectory()
    path = Path(folder.name, "workbook.db")
    fill(path, users.everyone())
    both = Workers(path, _candidate(request.config, lesson_of(request.path)), _transcript)
    with pytest.MonkeyPatch.context() as patch:  # what a learner prints is to be seen, and no more
        patch.setattr(logging.getLogger("audit"), "handlers", [logging.NullHandler()])
        patch.setattr(sqlite, "PRAGMAS", (*sqlite.PRAGMAS, "synchronous = OFF"))
        yield both
    both.close()
    folder.cleanup()


@pytest.fixture
def configure(candidate: Recorded, request: pytest.FixtureRequest) -> Iterator[Callable[..., None]]:
    """Change settings for one test: `configure(BCRYPT_ROUNDS="5")`. Ask for it before `users`."""
    graded = _candidate(request.config, lesson_of(request.path))
    _cheap_hashes(graded)  # with the usual settings
    with pytest.MonkeyPatch.context() as patch:

        def change(**settings: str) -> None:
            for name, value in settings.items():
                patch.setenv(name, value)
            clear_caches()
            graded.load()

        yield change
    clear_caches()
