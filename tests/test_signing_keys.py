"""Signing keys: their files, how they are rotated, and when an app does not start."""

import logging
import os
import re
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from joserfc.jwk import ECKey, OKPKey

from lessons.harness.key_server import encoded
from solutions.key_rotation import living_keys
from solutions.support import rotate_keys
from solutions.support.key_ring import KeyRing, open_key_ring
from solutions.support.key_sets import checked_address, import_keys, kid_of
from solutions.support.rotate_keys import LEAD, main, rotate
from solutions.support.settings import UnsafeSettings
from solutions.support.signing_keys import SigningKey, draw_key, read_keys, write_key
from tests.processes import refuse_to_start

NOW = datetime.now(UTC).replace(microsecond=0)
HOUR = timedelta(hours=1)
posix_only = pytest.mark.skipif(os.name != "posix", reason="There are no such permissions here.")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "hidden-place"
    path.mkdir(mode=0o700)
    return path


@pytest.fixture
def key(folder: Path) -> SigningKey:
    key = draw_key(NOW - HOUR)
    write_key(folder, key)
    return key


def kids(ring: KeyRing) -> list[str]:
    keys = ring.keys()
    return [each.kid for each in keys]


def refused(folder: Path) -> str:
    """Return the sentence with which a folder is refused. It names no path."""
    with pytest.raises(UnsafeSettings) as error:
        KeyRing(folder, in_production=True)
    said = str(error.value)
    assert said.startswith("Not started: ")
    assert folder.name not in said
    assert ".pem" not in said
    return said


# --- files ----------------------------------------------------------------------------------


def test_a_key_comes_back_from_its_file(folder: Path, key: SigningKey) -> None:
    write_key(folder, draw_key(NOW - 2 * HOUR))
    first, second = read_keys(folder, in_production=True)
    assert (second.kid, second.signs_from) == (key.kid, key.signs_from)
    assert first.signs_from < second.signs_from
    assert "d" not in second.public_jwk()
    assert "private" not in repr(second)


@posix_only
def test_a_file_is_for_its_owner_from_the_first_moment(folder: Path) -> None:
    before = os.umask(0)
    try:
        path = write_key(folder, draw_key(NOW))
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in folder.iterdir()] == [path.name]


def test_no_file_takes_another_one_s_place(folder: Path) -> None:
    path = write_key(folder, draw_key(NOW))
    kept = path.read_bytes()
    with pytest.raises(FileExistsError):
        write_key(folder, draw_key(NOW))
    assert path.read_bytes() == kept
    assert len([*folder.iterdir()]) == 1


@posix_only
@pytest.mark.parametrize("mode", [0o604, 0o644, 0o602, 0o660, 0o601, 0o777])
def test_what_others_may_read_does_not_start(folder: Path, key: SigningKey, mode: int) -> None:
    (path,) = folder.iterdir()
    path.chmod(mode)
    assert "chmod 600" in refused(folder)
    assert len(read_keys(folder, in_production=False)) == 1
    path.chmod(0o640)  # a group that may read: how platforms mount secrets
    assert KeyRing(folder, in_production=True).keys()[0].kid == key.kid


@posix_only
@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702])
def test_a_folder_that_others_may_write_to_does_not_start(
    folder: Path, key: SigningKey, mode: int
) -> None:
    folder.chmod(mode)
    assert "chmod 700" in refused(folder)


def test_one_key_in_two_files_does_not_start(folder: Path, key: SigningKey) -> None:
    write_key(folder, SigningKey(key.private, NOW))
    assert "twice" in refused(folder)


@pytest.mark.parametrize("content", [b"", b"secret", b"-----BEGIN PRIVATE KEY-----\n"])
def test_what_is_no_key_does_not_start(folder: Path, key: SigningKey, content: bytes) -> None:
    path = folder / "20200101T000000Z.pem"
    path.write_bytes(content)
    path.chmod(0o600)
    said = refused(folder)
    assert "no P-256 private key" in said
    assert "secret" not in said


def test_another_kind_of_key_does_not_start(folder: Path, key: SigningKey) -> None:
    for other in (ECKey.generate_key("P-384"), OKPKey.generate_key("Ed25519")):
        path = folder / "20200101T000000Z.pem"
        path.write_bytes(other.as_pem(private=True))
        path.chmod(0o600)
        refused(folder)
    path.write_bytes(key.private.as_pem(private=False))
    refused(folder)


@pytest.mark.parametrize("name", ["current.pem", "20261399T000000Z.pem", "2026.pem"])
def test_a_name_that_is_no_moment_does_not_start(folder: Path, key: SigningKey, name: str) -> None:
    path = folder / name
    path.write_bytes(draw_key().private.as_pem(private=True))
    path.chmod(0o600)
    assert "called by the moment" in refused(folder)


def test_a_key_may_wait_for_ever(folder: Path, key: SigningKey) -> None:
    """The last moment that a name can say: no sum of it and a lifetime is a moment."""
    last = draw_key(datetime.max.replace(microsecond=0, tzinfo=UTC))
    write_key(folder, last)
    assert living_keys(KeyRing(folder, in_production=True).keys())[-1].kid == last.kid
    assert rotate(folder, withdraw=key.kid)
    assert last.kid in kids(KeyRing(folder, in_production=True))


def test_a_folder_without_a_key_for_now_does_not_start(folder: Path) -> None:
    assert "rotate_keys FOLDER" in refused(folder)
    write_key(folder, draw_key(NOW + HOUR))
    assert "no key that signs now" in refused(folder)
    assert "cannot be read" in refused(folder / "none")


# --- while it runs --------------------------------------------------------------------------


def test_what_comes_is_seen_within_half_a_minute(folder: Path, key: SigningKey) -> None:
    ring = KeyRing(folder, in_production=True)
    other = draw_key(NOW + HOUR)
    write_key(folder, other)
    with time_machine.travel(datetime.now(UTC) + timedelta(seconds=31)):
        assert kids(ring) == [key.kid, other.kid]


def test_what_is_wrong_later_changes_nothing(
    folder: Path, key: SigningKey, caplog: pytest.LogCaptureFixture
) -> None:
    ring = KeyRing(folder, in_production=True)
    (folder / "spoilt.pem").write_text("secret")
    with time_machine.travel(datetime.now(UTC) + timedelta(minutes=1)), caplog.at_level("ERROR"):
        for _ in range(3):
            assert kids(ring) == [key.kid]
    assert len(caplog.records) == 1
    assert caplog.text.count("Keys stay as they were") == 1
    assert folder.name not in caplog.text
    assert "spoilt" not in caplog.text


def test_development_draws_a_key_and_says_so(
    development: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        ring = open_key_ring()
    assert "SIGNING_KEYS_DIR is not set" in caplog.text
    (drawn,) = ring.keys()
    with time_machine.travel(datetime.now(UTC) + HOUR):
        assert ring.keys()[0].kid == drawn.kid


@posix_only
def test_an_app_that_may_not_start_says_so_in_a_sentence(folder: Path, key: SigningKey) -> None:
    production = {
        "ENVIRONMENT": "production",
        "JWT_SECRET": "x" * 31 + "y",
        "JWT_ISSUER": "https://shop.example",
        "JWT_AUDIENCE": "shop",
    }
    app = "solutions.key_rotation:app"
    assert "SIGNING_KEYS_DIR is not set" in refuse_to_start(app, **production)
    next(folder.iterdir()).chmod(0o644)
    said = refuse_to_start("solutions.main:app", **production, SIGNING_KEYS_DIR=str(folder))
    assert said == "Not started: Others may read a key in SIGNING_KEYS_DIR: chmod 600."


# --- rotation -------------------------------------------------------------------------------


def moments(folder: Path) -> list[datetime]:
    return [each.signs_from for each in read_keys(folder, in_production=True)]


def test_the_first_key_signs_at_once_and_the_next_one_waits(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "keys"
    with time_machine.travel(NOW, tick=False):
        rotate(folder)
        assert moments(folder) == [NOW]
        rotate(folder)
        assert moments(folder) == [NOW, NOW + LEAD]
        with pytest.raises(LookupError, match="waits already"):
            rotate(folder)
    assert timedelta(minutes=6) <= LEAD <= timedelta(minutes=10)


def test_a_key_whose_tokens_are_over_is_removed(folder: Path) -> None:
    for days in (9, 6, 3):
        with time_machine.travel(NOW - timedelta(days=days), tick=False):
            rotate(folder)
    assert len(moments(folder)) == 2  # the first one went with the third
    with time_machine.travel(NOW, tick=False):
        done = rotate(folder)
    assert len(moments(folder)) == 2
    assert sum(line.startswith("removed") for line in done) == 1


def test_a_key_whose_tokens_live_stays(folder: Path) -> None:
    for ago in (72 * HOUR, HOUR):
        with time_machine.travel(NOW - ago, tick=False):
            rotate(folder)
    with time_machine.travel(NOW, tick=False):
        rotate(folder)
    assert len(moments(folder)) == 3  # the first one retired an hour ago


def test_a_stolen_key_goes_at_once(folder: Path) -> None:
    with time_machine.travel(NOW - HOUR, tick=False):
        rotate(folder)
    (stolen,) = read_keys(folder, in_production=True)
    with time_machine.travel(NOW, tick=False):
        done = rotate(folder, withdraw=stolen.kid)
    left = read_keys(folder, in_production=True)
    assert stolen.kid not in [each.kid for each in left]
    assert [each.signs_from for each in left] == [NOW]
    assert stolen.kid in done[0]


def test_a_retired_key_that_was_stolen_goes_alone(folder: Path) -> None:
    with time_machine.travel(NOW - 2 * HOUR, tick=False):
        rotate(folder)
        rotate(folder)
    first, second = read_keys(folder, in_production=True)
    with time_machine.travel(NOW, tick=False):
        rotate(folder, withdraw=first.kid)
    assert [each.kid for each in read_keys(folder, in_production=True)] == [second.kid]


def test_the_command_says_what_it_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(tmp_path / "keys")
    assert main([folder]) == 0
    assert capsys.readouterr().out.startswith("added     ")
    assert main([folder]) == 0
    assert main([folder]) == 1
    told = capsys.readouterr().err
    assert re.fullmatch(r"A key waits already\. It signs from [-\d]+ [:\d]+ UTC\.\n", told)
    assert main([folder, "--withdraw", "nobody's"]) == 1
    assert capsys.readouterr().err == "There is no key of that kid.\n"
    next(Path(folder).iterdir()).chmod(0o666)
    assert main([folder]) == 1
    assert "chmod 600" in capsys.readouterr().err
    assert rotate_keys.HOW_TO_DRAW_KEYS == "python -m solutions.support.rotate_keys FOLDER"


# --- key sets -------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Key size should be")
def test_a_private_or_short_key_is_no_key() -> None:
    from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

    key = draw_key()
    modulus = generate_private_key(65537, 1024).public_key().public_numbers().n
    short = {"kty": "RSA", "e": "AQAB", "n": encoded(modulus.to_bytes(128, "big"))}
    public = key.public_jwk()
    assert [*import_keys([public])] == [key.kid]
    for entry in (
        key.private.as_dict(private=True, kid=key.kid),
        public | {"key_ops": ["sign"]},
        public | {"use": "enc"},
        public | {"alg": "ES384"},
        public | {"kid": ""},
        {**short, "kid": "short"},
    ):
        assert import_keys([entry]) == {}
        assert [*import_keys([entry, public | {"kid": "other"}])] == ["other"]
    assert len(import_keys([public | {"kid": str(n)} for n in range(1000)])) == 100


@pytest.mark.parametrize(
    "address",
    ["http://login.example/keys", "ftp://login.example/keys", "login.example", "", "file:///keys"],
)
def test_a_key_set_has_an_address_that_others_cannot_answer_for(address: str) -> None:
    with pytest.raises(ValueError, match="https"):
        checked_address(address)
    for good in ("https://login.example/keys", "http://127.0.0.1:8000/k", "http://[::1]/k"):
        assert checked_address(good) == good


@pytest.mark.parametrize(
    "token", ["", ".", "e30.e30.", "bnVsbA..", "\ud800.a.b", "a" * 9000, "=.="]
)
def test_a_token_without_a_kid_has_none(token: str) -> None:
    assert kid_of(token) == ""


@pytest.mark.parametrize(
    "name", ["kid", "use", "key_ops", "alg", "kty", "crv", "x", "y", "n", "e", "d", "x5c", "ext"]
)
def test_no_member_of_an_entry_harms_the_other_keys(name: str) -> None:
    good, other = draw_key().public_jwk(), draw_key().public_jwk()
    strange: tuple[Any, ...] = (None, 5, 1.5, True, [], [[]], {}, "", "\0", "\ud800", "a" * 9000)
    for value in strange:
        keys = import_keys([other | {name: value}, good])
        assert good["kid"] in keys, f"{name}: {value!r}"
    for kind in ("EC", "OKP", "RSA", "oct"):
        for value in strange:
            assert good["kid"] in import_keys([{"kid": "odd", "kty": kind, name: value}, good])
