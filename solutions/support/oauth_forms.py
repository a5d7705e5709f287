"""The forms of OAuth 2.0's token and revocation endpoints, and the answer with tokens."""

from typing import Literal

from pydantic import BaseModel, Field

from .oauth_route import OAuthError
from .seams import note
from .settings import get_settings


def access_token_seconds() -> int:
    """Return how long an access token lives by default."""
    return get_settings().access_token_expire_minutes * 60


class TokenForm(BaseModel):
    """The form that the token endpoint takes (RFC 6749 sections 4.3.2 and 6).

    A parameter without a value counts as left out (section 3.2).
    """

    grant_type: str = ""
    username: str = ""
    password: str = Field(default="", repr=False)
    refresh_token: str = Field(default="", repr=False)
    scope: str = ""

    def asked_grant(self) -> Literal["password", "refresh_token"]:
        """Return which grant this is; one without a name is a password.

        Raises OAuthError `unsupported_grant_type`, or `invalid_request` when something is missing.
        """
        match self.grant_type:
            case "password" | "" if self.username and self.password:
                return "password"
            case "refresh_token" if self.refresh_token:
                note(what="refresh")
                return "refresh_token"
            case "password" | "" | "refresh_token":
                raise OAuthError("invalid_request", "A parameter is missing")
            case _:
                raise OAuthError("unsupported_grant_type", "Use password or refresh_token")


class RevocationForm(BaseModel):
    """The form that the revocation endpoint takes (RFC 7009 section 2.1)."""

    token: str = Field(default="", repr=False)
    token_type_hint: str = ""

    def asked_token(self) -> str:
        """Return the token to end. Raises OAuthError `invalid_request` without one."""
        if not self.token:
            raise OAuthError("invalid_request", "A parameter is missing")
        return self.token


class Tokens(BaseModel):
    """A successful answer of the token endpoint (RFC 6749 section 5.1)."""

    access_token: str = Field(repr=False)
    token_type: Literal["bearer"] = "bearer"
    expires_in: int = Field(default_factory=access_token_seconds)
    refresh_token: str = Field(repr=False)
    scope: str  # what was granted, which may be less than was asked for
