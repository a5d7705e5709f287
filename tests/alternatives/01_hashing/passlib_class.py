"""Alternative: passlib, as the lesson has it, but as one class whose bound methods carry the
contract's names. The cost is read at every call; passlib itself decides what is outdated."""

from fastapi import APIRouter, Depends, HTTPException
from passlib.context import CryptContext
from pydantic import BaseModel, Field, SecretStr, field_validator

from solutions.support.apps import create_app
from solutions.support.passwords import refuse_weak_password
from solutions.support.safe_route import SafeRoute
from solutions.support.settings import get_settings
from solutions.support.threads import run_hashing
from solutions.stores.users import UserInDB, UserStore, fold_username, get_users


class PasswordKeeper:
    LIMIT = 72

    def __init__(self, rounds):
        self._rounds = rounds  # a callable, so that the operator's setting always counts
        self._contexts: dict[int, CryptContext] = {}

    @property
    def context(self) -> CryptContext:
        rounds = self._rounds()
        if rounds not in self._contexts:
            self._contexts[rounds] = CryptContext(
                ["bcrypt"], bcrypt__default_rounds=rounds, bcrypt__min_rounds=rounds
            )
        return self._contexts[rounds]

    def readable(self, password: str) -> bytes:
        """The bytes, provided that bcrypt reads all of them."""
        try:
            raw = password.encode("utf-8")
        except UnicodeEncodeError:
            raise ValueError("not writable in UTF-8") from None  # the original quotes the password
        if len(raw) > self.LIMIT or 0 in raw:
            raise ValueError("bcrypt would not read this password to its end")
        return raw

    def make(self, password: str) -> str:
        return self.context.hash(self.readable(password))

    def check(self, plain: str, hashed: str) -> bool:
        return self.check_and_renew(plain, hashed, renew=False)[0]

    def check_and_renew(self, plain: str, hashed: str, renew=True) -> tuple[bool, str | None]:
        if not isinstance(plain, str) or not isinstance(hashed, str):
            return False, None
        try:
            raw = self.readable(plain)
            if renew:
                return self.context.verify_and_update(raw, hashed)
            return self.context.verify(raw, hashed), None
        except (ValueError, TypeError):
            return False, None


keeper = PasswordKeeper(lambda: get_settings().bcrypt_rounds)
hash_password = keeper.make
verify_password = keeper.check


def verify_and_upgrade(plain: str, hashed: str) -> tuple[bool, str | None]:
    return keeper.check_and_renew(plain, hashed)


class NewAccount(BaseModel, extra="forbid"):
    username: str
    password: SecretStr
    email: str | None = Field(None, max_length=254, pattern=r"^[^@\s]+@[^@\s]+$")

    @field_validator("username")
    @classmethod
    def name_is_possible(cls, name):
        if (folded := fold_username(name)) is None:
            raise ValueError("not a possible username")
        return folded

    @field_validator("password")
    @classmethod
    def password_is_good(cls, password):
        keeper.readable(refuse_weak_password(password.get_secret_value()))
        return password


class Account(BaseModel):
    username: str
    email: str | None


router = APIRouter(route_class=SafeRoute, tags=["passwords"])


@router.post("/register", status_code=201, response_model=Account)
async def register(new: NewAccount, store: UserStore = Depends(get_users)):
    hashed = await run_hashing(hash_password, new.password.get_secret_value())
    if not await store.add(UserInDB(username=new.username, email=new.email, hashed_password=hashed)):
        raise HTTPException(409, "That name is taken")
    return Account(username=new.username, email=new.email)


app = create_app("Registration (passlib, class)", router)
