"""Settings: production by default, and no start with a bad secret."""

import logging
import os
import re
import secrets
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from passlib.context import CryptContext

from lessons.harness.candidate import clear_caches
from lessons.harness.catalogue import ROOT
from solutions.support.settings import Settings, UnsafeSettings, get_settings

GOOD = secrets.token_urlsafe(32)
NAMES = {"JWT_ISSUER": "https://shop.example", "JWT_AUDIENCE": "shop"}
PUBLISHED = [
    # Written in halves, so that nobody's secret stands in the tree.
    "09d25e094faa6ca2556c818166b7a956" + "3b93f7099f6f0f4caa6cf63b88e8d3e7",
    "a-string-secret-" + "at-least-256-bits-long",
    "your-secret-key-" + "change-in-production",
]


@pytest.fixture(autouse=True)
def _fresh(fresh_settings: pytest.MonkeyPatch) -> None:
    """No settings but those that a test sets."""


def set_production(patch: pytest.MonkeyPatch, **settings: str) -> None:
    patch.setenv("ENVIRONMENT", "production")
    for name, value in {**NAMES, **settings}.items():
        patch.setenv(name, value)


def refusal() -> str:
    clear_caches()
    with pytest.raises(UnsafeSettings) as refused:
        get_settings()
    sentence = str(refused.value)
    assert sentence.startswith("Not started: ")
    assert "\n" not in sentence
    return sentence


def test_production_is_the_default() -> None:
    assert Settings.model_fields["environment"].default == "production"
    names = {"jwt_issuer": "shop", "jwt_audience": "shop"}
    settings = Settings(_env_file=None, jwt_secret=GOOD, **names)
    assert settings.environment == "production"


def test_the_workbook_s_own_folder_is_development() -> None:
    assert get_settings().environment == "development"


def test_the_environment_wins_over_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    set_production(monkeypatch, JWT_SECRET=GOOD)
    assert get_settings().environment == "production"


def test_production_needs_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    set_production(monkeypatch)
    sentence = refusal()
    assert "JWT_SECRET is not set" in sentence
    assert "secrets.token_urlsafe(32)" in sentence
    monkeypatch.setenv("JWT_SECRET", GOOD)
    assert get_settings().signing_key == GOOD


@pytest.mark.parametrize("environment", ["production", "development"])
@pytest.mark.parametrize("secret", ["", "secret", "x" * 31])
def test_a_short_secret_is_refused(
    monkeypatch: pytest.MonkeyPatch, environment: str, secret: str
) -> None:
    set_production(monkeypatch, ENVIRONMENT=environment, JWT_SECRET=secret)
    sentence = refusal()
    assert f"JWT_SECRET has {len(secret)} bytes" in sentence
    assert not secret or f"'{secret}'" not in sentence
    monkeypatch.setenv("JWT_SECRET", secret + "y" * (32 - len(secret)))
    assert get_settings()


def test_blanks_and_quotes_do_not_lengthen_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    set_production(monkeypatch, JWT_SECRET=" " * 40)
    assert "JWT_SECRET has 0 bytes" in refusal()
    for disguise in (f"'{PUBLISHED[0]}'", f"{PUBLISHED[0]}\n", PUBLISHED[0].upper()):
        monkeypatch.setenv("JWT_SECRET", disguise)
        assert "published sample" in refusal()


def test_a_secret_that_is_no_text_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    set_production(monkeypatch, JWT_SECRET=os.fsdecode(b"\xff" * 40))
    assert "JWT_SECRET is not UTF-8" in refusal()


def test_the_length_counts_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    set_production(monkeypatch, JWT_SECRET="\u00e9" * 16)
    assert get_settings().signing_key == "\u00e9" * 16


@pytest.mark.parametrize("environment", ["production", "development"])
@pytest.mark.parametrize("secret", PUBLISHED)
def test_a_published_secret_is_refused(
    monkeypatch: pytest.MonkeyPatch, environment: str, secret: str
) -> None:
    set_production(monkeypatch, ENVIRONMENT=environment, JWT_SECRET=secret)
    sentence = refusal()
    assert "published sample" in sentence
    assert secret not in sentence


def test_development_draws_a_secret_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        settings = get_settings()
        assert not caplog.text  # whoever signs with other keys loses nothing
        drawn = settings.signing_key
        assert settings.signing_key == drawn
    assert len(drawn.encode()) >= 32
    assert caplog.text.count("JWT_SECRET is not set") == 1
    assert drawn not in caplog.text
    assert get_settings().signing_key == drawn
    clear_caches()
    assert get_settings().signing_key != drawn


def test_development_has_a_name_and_production_wants_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With one name for all, two products that share a key would take each other's tokens."""
    assert get_settings().jwt_issuer == get_settings().jwt_audience == "fastapi-auth-workbook"
    for name in NAMES:
        set_production(monkeypatch, JWT_SECRET=GOOD)
        monkeypatch.delenv(name)
        assert f"{name} is not set" in refusal()


def test_a_dev_env_counts_in_the_workbook_only(tmp_path: Path) -> None:
    """One that lies beside a copy's folder, or comes along with a whole deployment, does not."""
    shutil.copytree(ROOT / "solutions", tmp_path / "shop" / "auth")
    (tmp_path / "shop" / "dev.env").write_text("ENVIRONMENT=development\n")
    code = "from shop.auth.support.settings import get_settings; get_settings()"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={}, capture_output=True, text=True
    )
    assert "UnsafeSettings: Not started: JWT_SECRET is not set" in done.stderr


def test_production_refuses_cheap_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    set_production(monkeypatch, JWT_SECRET=GOOD, BCRYPT_ROUNDS="9")
    assert "BCRYPT_ROUNDS is 9" in refusal()
    monkeypatch.setenv("BCRYPT_ROUNDS", "10")
    assert get_settings().bcrypt_rounds == 10


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ENVIRONMENT", "prod"),
        ("JWT_ALGORITHM", "none"),
        ("JWT_ALGORITHM", "RS256"),
        ("ACCESS_TOKEN_EXPIRE_MINUTES", "soon"),
        ("ACCESS_TOKEN_EXPIRE_MINUTES", "0"),
        ("ACCESS_TOKEN_EXPIRE_MINUTES", "5000000000"),
        ("JWT_ISSUER", ""),
        ("JWT_AUDIENCE", ""),
        ("BCRYPT_ROUNDS", "99"),
        ("PASSWORD_MIN_LENGTH", "7"),
        ("MAX_BODY_BYTES", "0"),
        ("SESSION_IDLE_MINUTES", "0"),
        ("SESSION_HOURS", "0"),
        ("SESSION_HOURS", "100000"),
        ("PUBLIC_URL", "shop.example"),
        ("PUBLIC_URL", "https://shop.example/login"),
        ("PUBLIC_URL", "https://erin@shop.example"),
        ("PUBLIC_URL", "https://shop.example?x"),
        ("PUBLIC_URL", "null"),
        ("PUBLIC_URL", "*"),
        ("PUBLIC_URL", "ftp://shop.example"),
    ],
)
@pytest.mark.asvs("6.2.1")
def test_a_bad_value_is_one_sentence_that_names_it(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    set_production(monkeypatch, JWT_SECRET=GOOD)
    monkeypatch.setenv(name, value)
    assert name in refusal()


@pytest.mark.parametrize(
    ("typed", "origin"),
    [
        ("https://shop.example", "https://shop.example"),
        ("https://Shop.Example/", "https://shop.example"),
        ("https://shop.example:443", "https://shop.example"),
        ("https://shop.example:8443", "https://shop.example:8443"),
        ("https://[::1]:8443", "https://[::1]:8443"),
        ("", ""),
    ],
)
def test_the_public_address_is_spelled_as_browsers_do(
    monkeypatch: pytest.MonkeyPatch, typed: str, origin: str
) -> None:
    set_production(monkeypatch, JWT_SECRET=GOOD, PUBLIC_URL=typed)
    assert get_settings().public_url == origin


def test_production_is_not_on_plain_http(monkeypatch: pytest.MonkeyPatch) -> None:
    set_production(monkeypatch, JWT_SECRET=GOOD, PUBLIC_URL="http://shop.example")
    assert "PUBLIC_URL needs https" in refusal()


def test_the_secret_shows_in_no_repr(monkeypatch: pytest.MonkeyPatch) -> None:
    set_production(monkeypatch, JWT_SECRET=GOOD)
    assert GOOD not in repr(get_settings())
    assert GOOD not in str(get_settings().model_dump())


def test_the_default_hash_is_strong() -> None:
    """The one test that hashes at the strength that is shipped."""
    from solutions.hashing import hash_password

    rounds = re.match(r"\$2b\$(\d\d)\$", hash_password("correct horse battery"))
    assert rounds is not None
    assert int(rounds[1]) == Settings.model_fields["bcrypt_rounds"].default
    assert int(rounds[1]) >= 12


def test_the_demo_people_are_hashed_as_strongly() -> None:
    from solutions.stores.users import demo_people

    passwords = {"johndoe": "secret", "alice": "secretalice"}
    passwords |= {"carol": "secretcarol", "bob": "secretbob"}
    context = CryptContext(schemes=["bcrypt"])
    for person in demo_people():
        assert person.hashed_password.startswith("$2b$12$")
        assert context.verify(passwords[person.username], person.hashed_password)


def test_each_setting_has_a_row_in_the_table() -> None:
    text = (ROOT / "README.md").read_text("utf-8").partition("\n## Settings\n")[2]
    rows = [row.split("|")[1:3] for row in text.partition("\n## ")[0].splitlines() if "`" in row]
    named = {name: row[1] for row in rows for name in re.findall(r"`([A-Z_]+)`", row[0])}
    fields = Settings.model_fields
    theirs = {"jwt_algorithm", "forwarded_allow_ips"}  # one value alone; the server's
    assert {name.lower() for name in named} == fields.keys() - theirs
    for name, defaults in named.items():
        default = fields[name.lower()].default
        if isinstance(default, int):
            assert re.search(rf"\b{default}\b", defaults), name
        elif name != "ENVIRONMENT":
            assert default is None or not str(default), name
            assert "none" in defaults, name
