"""Two services for demo 11, tokens made and checked by hand, and its pictures."""

import base64
import hashlib
import hmac
import json
import os
import timeit
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import time_machine
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, OKPKey

from lessons.harness.people import PASSWORDS
from solutions.key_rotation import living_keys, sign_token
from solutions.support.signing_keys import SigningKey, draw_key
from stage import CALM, GOOD, GREY, Server, plt, show_figure

KEY_SET = "/.well-known/jwks.json"
MINUTE = timedelta(minutes=1)
WAITS, SIGNS, CHECKS_ONLY = "published, waits", "signs", "retired: checks only"
COLOURS = {WAITS: CALM, SIGNS: GOOD, CHECKS_ONLY: GREY}


class Two:
    """The app, and a second service that has the address of its key set. Two processes."""

    def __init__(self) -> None:
        self._app = Server("solutions.key_rotation:app")
        os.environ["KEY_SET"] = self._app.address + KEY_SET
        self._service = Server("lessons.harness.second_service:app")

    def log_in(self, name: str) -> str:
        """Return an access token of the app."""
        form = {"username": name, "password": PASSWORDS[name]}
        return str(self._app.visitor.http.post("/token", data=form).json()["access_token"])

    def key(self) -> dict[str, str]:
        """Return the public key, as everybody may read it."""
        return dict(self._app.visitor.http.get(KEY_SET).json()["keys"][0])

    def ask(self, token: str) -> str:
        """Return what the second service says of a token."""
        headers = {"Authorization": f"Bearer {token}"}
        answer = self._service.visitor.http.get("/who", headers=headers)
        said = answer.json()
        return f"{answer.status_code} {said.get('username') or said['detail']}"


def pem_of(key: dict[str, str]) -> bytes:
    """Return a public key as most programs keep it."""
    return ECKey.import_key(dict(key)).as_pem(private=False)


def unpack(part: str) -> dict[str, object]:
    """Read a part of a token, as anybody can."""
    return dict(json.loads(_decoded(part)))


def mac(header: dict[str, object], claims: dict[str, object], secret: bytes) -> str:
    """Make a token by HS256."""
    signed = ".".join(_encoded(json.dumps(each).encode()) for each in (header, claims))
    return f"{signed}.{_encoded(_hmac(signed, secret))}"


def _hmac_fits(signed: str, signature: bytes, secret: bytes) -> bool:
    return hmac.compare_digest(signature, _hmac(signed, secret))


def _ecdsa_fits(signed: str, signature: bytes, pem: bytes) -> bool:
    numbers = (int.from_bytes(half, "big") for half in (signature[:32], signature[32:]))
    key = load_pem_public_key(pem)
    assert isinstance(key, ec.EllipticCurvePublicKey)
    try:
        key.verify(encode_dss_signature(*numbers), signed.encode(), ec.ECDSA(SHA256()))
    except InvalidSignature:
        return False
    return True


FITS: dict[str, Callable[[str, bytes, bytes], bool]] = {"HS256": _hmac_fits, "ES256": _ecdsa_fits}


def fits(algorithm: str, signed: str, signature: str, key: bytes) -> bool:
    """Tell whether a signature is right by an algorithm."""
    return FITS[algorithm](signed, _decoded(signature), key)


def _hmac(signed: str, secret: bytes) -> bytes:
    return hmac.new(secret, signed.encode(), hashlib.sha256).digest()


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


# --- pictures -------------------------------------------------------------------------------


def draw_a_day() -> None:
    """Move the clock, and ask at each minute which key signs, and which are believed."""
    start = datetime(2030, 1, 1, 9, tzinfo=UTC)
    keys = [draw_key(start + minutes * MINUTE) for minutes in (-60, 40, 100)]
    added = [start - 66 * MINUTE, start + 34 * MINUTE, start + 94 * MINUTE]
    spans: list[list[tuple[int, str]]] = [[] for _ in keys]
    for minute in range(150):
        now = start + minute * MINUTE
        there = [key for key, since in zip(keys, added, strict=True) if since <= now]
        with time_machine.travel(now, tick=False):
            for number, state in _states(there).items():
                spans[number].append((minute, state))
    figure, axes = plt.subplots(figsize=(10, 3.6))
    for number, span in enumerate(spans):
        for state, colour in COLOURS.items():
            minutes = [minute for minute, each in span if each == state]
            if minutes:
                axes.barh(number, len(minutes), left=minutes[0], color=colour, height=0.55)
    for state, colour in COLOURS.items():
        axes.barh(0, 0, color=colour, label=state)
    axes.set_yticks(range(len(keys)), [f"key {letter}" for letter in "ABC"])
    axes.invert_yaxis()
    axes.set_xlabel("minutes")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, fontsize=13)
    show_figure(figure)


def _states(keys: list[SigningKey]) -> dict[int, str]:
    """Return the state of each key that lives, by its place."""
    kid = unpack(sign_token({}, keys).partition(".")[0])["kid"]
    living = living_keys(keys)
    signer = next(number for number, key in enumerate(keys) if key.kid == kid)
    states = (WAITS if n > signer else SIGNS if n == signer else CHECKS_ONLY for n in range(9))
    return {
        n: state for n, state in zip(range(len(keys)), states, strict=False) if keys[n] in living
    }


def draw_costs() -> None:
    """Measure what a signature and a check take, by three algorithms."""
    keys = {
        "HS256": OctKey.import_key(os.urandom(32)),
        "ES256": ECKey.generate_key("P-256"),
        "Ed25519": OKPKey.generate_key("Ed25519"),
    }
    signing, checking = [], []
    for name, key in keys.items():
        claims = {"sub": "alice", "exp": 4_000_000_000}

        def sign(name: str = name, key: object = key, claims: object = claims) -> str:
            return jwt.encode({"alg": name}, claims, key, algorithms=[name])

        token = sign()

        def check(name: str = name, key: object = key, token: str = token) -> object:
            return jwt.decode(token, key, algorithms=[name])

        signing.append(_microseconds(sign))
        checking.append(_microseconds(check))
    figure, axes = plt.subplots(figsize=(10, 4))
    for shift, label, costs, colour in (
        (-0.2, "sign", signing, GOOD),
        (0.2, "check", checking, CALM),
    ):
        places = [number + shift for number in range(len(keys))]
        axes.bar_label(
            axes.bar(places, costs, 0.38, color=colour, label=label), fmt="%.0f", padding=2
        )
    axes.set_xticks(range(len(keys)), list(keys))
    axes.set_ylabel("microseconds")
    axes.legend()
    show_figure(figure)


def _microseconds(work: Callable[[], object]) -> float:
    return min(timeit.repeat(work, number=50, repeat=9)) / 50 * 1e6
