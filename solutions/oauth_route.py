"""How clients of OAuth 2.0 ask for tokens, and how they are refused."""

from collections.abc import Callable, Coroutine
from typing import Any, Literal

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

ErrorCode = Literal["invalid_request", "invalid_grant", "invalid_scope", "unsupported_grant_type"]


class OAuthError(Exception):
    """A refusal that OAuth clients understand (RFC 6749 section 5.2).

    `description` is for the client's developer: ASCII, and nothing that tells mallory more.
    """

    def __init__(self, error: ErrorCode, description: str) -> None:
        super().__init__(description)
        self.error = error
        self.description = description


class TokenForm(BaseModel):
    """The form that the token endpoint takes (RFC 6749 sections 4.3.2 and 6).

    A parameter without a value counts as left out (section 3.2).
    """

    grant_type: str = ""
    username: str = ""
    password: str = Field(default="", repr=False)
    refresh_token: str = Field(default="", repr=False)
    scope: str = ""


class RevocationForm(BaseModel):
    """The form that the revocation endpoint takes (RFC 7009 section 2.1)."""

    token: str = Field(default="", repr=False)
    token_type_hint: str = ""


class OAuthRoute(APIRoute):
    """Answers an OAuthError as RFC 6749 section 5.2 has it, and lets nobody cache an answer."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_oauth(request: Request) -> Response:
            try:
                await _refuse_repeated_parameters(request)
                response = await handle(request)
            except OAuthError as error:
                response = _refusal(error)
            except (RequestValidationError, HTTPException):
                response = _refusal(OAuthError("invalid_request", "Not a form of this endpoint"))
            response.headers["Cache-Control"] = "no-store"
            return response

        return handle_oauth


async def _refuse_repeated_parameters(request: Request) -> None:
    # RFC 6749 section 3.2: two of a kind could mean one thing here and another behind a proxy.
    try:
        form = await request.form()
    except Exception:  # a charset that nobody knows is enough to raise almost anything
        raise OAuthError("invalid_request", "Not a form of this endpoint") from None
    if len(form) < len(form.multi_items()):
        await form.close()
        raise OAuthError("invalid_request", "A parameter is repeated")


def _refusal(error: OAuthError) -> JSONResponse:
    content = {"error": error.error, "error_description": error.description}
    return JSONResponse(content, status_code=400)
