"""What a new password must be. Composition rules are absent on purpose (ASVS 6.2.5)."""

from functools import lru_cache
from pathlib import Path
from typing import Annotated

from fastapi.exceptions import RequestValidationError
from pydantic import AfterValidator, BaseModel, ConfigDict, SecretStr

from .settings import get_settings

MAX_PASSWORD_CHARACTERS = 1024  # a bound on the work, far above what people type (CWE-400)


@lru_cache
def common_passwords() -> frozenset[str]:
    """Return 3,500 of the commonest passwords of 8 characters or more, in lower case.

    ASVS 6.2.4 asks for the top 3,000 that match the policy. Where PASSWORD_MIN_LENGTH is 8, these
    are enough. At the default, 15, they are not: eleven are so long. They are the most frequent of
    the list that Django ships (`common-passwords.txt.gz`, BSD licence).
    """
    return frozenset(
        Path(__file__).with_name("common_passwords.txt").read_text("utf-8").split("\n")
    ) - {""}


def refuse_weak_password(password: str) -> str:
    """Return the password as it came: never trimmed, folded or normalised (ASVS 6.2.8).

    Raises ValueError when it is shorter than PASSWORD_MIN_LENGTH, too long or one of the commonest.
    """
    least = get_settings().password_min_length
    if len(password) < least:
        raise ValueError(f"A password has at least {least} characters.")
    if len(password) > MAX_PASSWORD_CHARACTERS:
        raise ValueError(f"A password has at most {MAX_PASSWORD_CHARACTERS} characters.")
    if password.lower() in common_passwords():
        raise ValueError("This password is among the commonest. Mallory tries those first.")
    return password


def _refuse_weak_secret(secret: SecretStr) -> SecretStr:
    refuse_weak_password(secret.get_secret_value())
    return secret


NewPassword = Annotated[SecretStr, AfterValidator(_refuse_weak_secret)]


def unfit_password(field: str) -> RequestValidationError:
    """Return the 422 for a password that cannot be hashed whole.

    The hasher's own message may quote the password, so this one replaces it (CWE-209).
    """
    message = "This password is too long, or holds a character that cannot be kept."
    return RequestValidationError([{"type": "value_error", "loc": ("body", field), "msg": message}])


class PasswordChange(BaseModel):
    """The old password, since a stolen session must not be enough (CWE-620), and the new one."""

    model_config = ConfigDict(extra="forbid")

    current_password: SecretStr
    new_password: NewPassword

    def passwords(self) -> tuple[str, str]:
        """Return the current one and the new one, to be hashed and forgotten."""
        return self.current_password.get_secret_value(), self.new_password.get_secret_value()
