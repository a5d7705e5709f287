"""How clients of OAuth 2.0 are refused."""

from collections.abc import Callable, Coroutine
from typing import Any, Literal

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

ErrorCode = Literal["invalid_request", "invalid_grant", "invalid_scope", "unsupported_grant_type"]

TRY_LATER = (413, 429, 503)  # nothing is wrong with the grant: keep the status


class OAuthError(Exception):
    """A refusal that OAuth clients understand (RFC 6749 section 5.2).

    `description` is for the client's developer: ASCII, and nothing that tells mallory more.
    """

    def __init__(self, error: ErrorCode, description: str) -> None:
        super().__init__(description)
        self.error = error
        self.description = description


class OAuthRoute(APIRoute):
    """Answers an OAuthError as RFC 6749 section 5.2 has it, and lets nobody cache an answer."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_oauth(request: Request) -> Response:
            try:
                await _refuse_odd_forms(request)
                response = await handle(request)
            except OAuthError as error:
                response = _refusal(error)
            except RequestValidationError:
                response = _refusal(OAuthError("invalid_request", "Not a form of this endpoint"))
            except HTTPException as error:
                response = _other_refusal(error)
            response.headers["Cache-Control"] = "no-store"
            return response

        return handle_oauth


async def _refuse_odd_forms(request: Request) -> None:
    # Never multipart: its parser believes any charset, and some of them take it seconds (CWE-400).
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise OAuthError("invalid_request", "Not a form of this endpoint")
    # RFC 6749 section 3.2: two of a kind could mean one thing here and another behind a proxy.
    form = await request.form()
    if len(form) < len(form.multi_items()):
        await form.close()
        raise OAuthError("invalid_request", "A parameter is repeated")


def _refusal(error: OAuthError) -> JSONResponse:
    content = {"error": error.error, "error_description": error.description}
    return JSONResponse(content, status_code=400)


def _other_refusal(error: HTTPException) -> JSONResponse:
    if error.status_code not in TRY_LATER:
        return _refusal(OAuthError("invalid_request", "Not a form of this endpoint"))
    # In the same two fields: some clients take an answer without `error` for a token.
    content = {"error": "temporarily_unavailable", "error_description": error.detail}
    return JSONResponse(content, status_code=error.status_code, headers=error.headers)
