"""A route whose 422 leaves out the values that a caller sent."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute

MAX_ERRORS = 10  # a body of a million unknown fields must not become a longer answer (CWE-400)


class SafeRoute(APIRoute):
    """Answers 422 without the input that was wrong (CWE-209).

    FastAPI's own answer repeats it: a password typed into the wrong field comes back, and
    goes into the logs on the way. A lone surrogate or a NaN in it even ends in a 500.
    Of an unknown field up to 32 characters of the name stay. Use it as
    `APIRouter(route_class=SafeRoute)`.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_safely(request: Request) -> Response:
            try:
                return await handle(request)
            except RequestValidationError as error:
                detail = [
                    {"type": each["type"], "loc": _printable(each["loc"]), "msg": _message(each)}
                    for each in error.errors()[:MAX_ERRORS]
                ]
                return JSONResponse({"detail": detail}, status_code=422)

        return handle_safely


def _printable(loc: tuple[str | int, ...]) -> list[str | int]:
    # The name of an unknown field is input too: keep it short, and encodable.
    return [part if isinstance(part, int) else ascii(part[:32])[1:-1] for part in loc]


def _message(error: dict[str, Any]) -> str:
    # A UnicodeError that a validator let through quotes the text that it could not encode.
    if isinstance(error.get("ctx", {}).get("error"), UnicodeError):
        return "Not a valid text"
    return str(error["msg"])
