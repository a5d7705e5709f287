"""Alternative: the standard library's scrypt in a format of its own, `scrypt:<log2 N>:<p>:<salt>:
<key>`; N and p follow BCRYPT_ROUNDS along OWASP's table. Old bcrypt hashes verify and move over."""

import secrets
from base64 import b64decode, b64encode
from dataclasses import dataclass
from hashlib import scrypt
from hmac import compare_digest
from typing import Annotated, Self

from fastapi import APIRouter, Depends, HTTPException
from passlib.hash import bcrypt
from pydantic import AfterValidator, BaseModel, Field, SecretStr

from solutions.support.apps import create_app
from solutions.support.passwords import refuse_weak_password
from solutions.support.safe_route import SafeRoute
from solutions.support.settings import get_settings
from solutions.support.threads import run_hashing
from solutions.stores.users import UserInDB, UserStore, fold_username, get_users

BLOCK = 8  # scrypt's r
MAX_LOG_N = 20  # 1 GiB a hash; a damaged row cannot ask for more


def secret_bytes(password: str) -> bytes:
    """scrypt pads short passwords with NULs, so `a` and `a` + NUL would be one: no NULs."""
    try:
        raw = password.encode()
    except UnicodeEncodeError:
        raise ValueError("not Unicode text") from None
    if b"\0" in raw:
        raise ValueError("a password cannot contain NUL")
    return raw


@dataclass(frozen=True, order=True)
class Cost:
    log_n: int  # memory first, then the number of passes
    p: int

    @classmethod
    def of_today(cls) -> Self:
        rounds = get_settings().bcrypt_rounds  # 12: N=2^17, p=1; 11: 2^16, 2; 10: 2^15, 3
        return cls(min(rounds + 5, MAX_LOG_N), {11: 2, 10: 3}.get(rounds, 1))

    def derive(self, password: str, salt: bytes) -> bytes:
        n = 1 << self.log_n
        room = 128 * BLOCK * (n + self.p + 2) + (1 << 20)
        return scrypt(
            secret_bytes(password), salt=salt, n=n, r=BLOCK, p=self.p, maxmem=room, dklen=32
        )


@dataclass(frozen=True)
class Record:
    cost: Cost
    salt: bytes
    key: bytes

    def __str__(self) -> str:
        salt, key = b64encode(self.salt).decode(), b64encode(self.key).decode()
        return f"scrypt:{self.cost.log_n}:{self.cost.p}:{salt}:{key}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError for everything that `__str__` would not have written."""
        _, log_n, p, salt, key = text.split(":")
        record = cls(
            Cost(int(log_n), int(p)), b64decode(salt, validate=True), b64decode(key, validate=True)
        )
        plausible = 1 <= record.cost.log_n <= MAX_LOG_N and 1 <= record.cost.p <= 16
        if not plausible or len(record.salt) != 16 or len(record.key) != 32 or str(record) != text:
            raise ValueError("damaged record")
        return record

    def fits(self, password: str) -> bool:
        return compare_digest(self.cost.derive(password, self.salt), self.key)


def hash_password(password: str) -> str:
    cost, salt = Cost.of_today(), secrets.token_bytes(16)
    return str(Record(cost, salt, cost.derive(password, salt)))


def judge(plain: str, hashed: str) -> tuple[bool, bool]:
    """(right, outdated), and (False, False) for whatever cannot be judged."""
    try:
        if not hashed.startswith("$2"):
            record = Record.parse(hashed)
            return record.fits(plain), record.cost < Cost.of_today()
        raw = secret_bytes(plain)
        # Over 72 bytes bcrypt would have judged by the beginning alone.
        return len(raw) <= 72 and bcrypt.verify(raw, hashed), True
    except (ValueError, TypeError, AttributeError):
        return False, False


def verify_password(plain: str, hashed: str) -> bool:
    return judge(plain, hashed)[0]


def verify_and_upgrade(plain: str, hashed: str) -> tuple[bool, str | None]:
    right, outdated = judge(plain, hashed)
    return right, hash_password(plain) if right and outdated else None


def folded_or_error(name):
    folded = fold_username(name)
    if folded is None:
        raise ValueError("impossible username")
    return folded


def strong_or_error(secret):
    secret_bytes(refuse_weak_password(secret.get_secret_value()))
    return secret


class Registration(BaseModel, extra="forbid"):
    username: Annotated[str, AfterValidator(folded_or_error)]
    password: Annotated[SecretStr, AfterValidator(strong_or_error)]
    email: str | None = Field(None, max_length=254, pattern=r"^[^\s@]+@[^\s@]+$")


class PublicName(BaseModel):
    username: str
    email: str | None


router = APIRouter(route_class=SafeRoute)


@router.post("/register", status_code=201)
async def register(wish: Registration, users: UserStore = Depends(get_users)) -> PublicName:
    person = UserInDB(
        username=wish.username,
        email=wish.email,
        hashed_password=await run_hashing(hash_password, wish.password.get_secret_value()),
    )
    if not await users.add(person):
        raise HTTPException(409, detail="Somebody has this name already.")
    return PublicName(username=person.username, email=person.email)


app = create_app("Lesson 01: scrypt", router)
