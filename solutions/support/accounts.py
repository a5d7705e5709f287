"""What administrators see and change of an account."""

from typing import Self

from pydantic import BaseModel, ConfigDict, StrictBool, model_validator

from .roles import Role


class Account(BaseModel):
    """What an administrator sees of an account."""

    username: str
    email: str | None
    full_name: str | None
    disabled: bool
    role: str


class AccountChange(BaseModel):
    """What an administrator may change: nothing else passes (CWE-915)."""

    model_config = ConfigDict(extra="forbid")

    role: Role | None = None
    disabled: StrictBool | None = None

    @model_validator(mode="after")
    def refuse_nothing(self) -> Self:
        """Refuse a change of nothing."""
        if self.role is None and self.disabled is None:
            raise ValueError("Give a role, or disabled.")
        return self

    def keeps_superadmin(self) -> bool:
        """Tell whether a superadmin is still an enabled one after this change."""
        return self.role in (None, Role.SUPERADMIN) and not self.disabled


class Permissions(BaseModel):
    """What the caller may do."""

    role: str
    scopes: list[str]
