"""`your_app.toml`: where things are in an app, as request templates.

Every action is a request with places to fill in: `{username}`, `{email}`, `{password}`,
`{new_password}`, `{token}`, `{refresh}`, `{id}`, `{cookie:NAME}`. A first run writes what it can
tell; what it cannot tell is for the app's owner to write. All of it, with the defaults:

    host = "localhost:8000"         # what requests say in Host
    https = false                   # true: as a proxy that speaks https would hand them on
    secret_env = "JWT_SECRET"       # the variable with the signing key, for twins of good tokens

    [env]                           # set before the app is imported
    DATABASE_URL = "sqlite:///attacked.db"

    [login]
    route = "POST /token"
    form = { username = "{username}", password = "{password}" }   # or json, or query
    token = "access_token"          # where the answer has it: data.token, or cookie:session
    page = "GET /login"             # a page with a form: its hidden fields are sent along

    [use]                           # how a request presents the token: one of both
    header = "Authorization: Bearer {token}"
    cookie = "session"

    [me]                            # any request that answers only who has logged in
    route = "GET /users/me"

    [register]                      # also [logout], [password], [forgot], [delete], [patch]
    route = "POST /register"
    json = { username = "{username}", email = "{email}", password = "{password}" }

    [refresh]
    route = "POST /refresh"
    json = { refresh_token = "{refresh}" }    # or form, headers, cookies
    from = "refresh_token"          # where the answer to the login has the refresh token
    token = "access_token"          # where the answer to this has the new access token

    [[admin]]                       # each request that only administrators may make
    route = "GET /admin/users"

    [[thing]]                       # what belongs to one person
    make = { route = "POST /items", json = { title = "a secret" } }
    id = "id"                       # where the answer has the number or name of the new thing
    touch = ["GET /items/{id}", "DELETE /items/{id}"]
    shared = false                  # true: everybody may read it, and only its owner change it

    [[accounts]]                    # two people without special rights, where nobody can register
    username = "alice"
    password = "..."
    email = "alice@example.com"     # also: admin = true, for somebody who is an administrator

    [policy]
    public = ["GET /health"]        # open to everybody, and meant to be
    registration_tells_names = "names are public here"    # the reason
    token_hours = 24                # how long an access token may live
    accept = ["no-attempt-limit: our proxy counts"]       # an attack's name, and the reason

    [hooks]
    module = "attack_hooks"         # a module of yours, with any of the functions in HOOKS
"""

import re
import string
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

FILE = "your_app.toml"
UNKNOWN = "extra_forbidden"  # as pydantic calls it
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")
PLACES = ("username", "email", "password", "new_password", "token", "refresh", "id")
HOOKS = {  # what each is called with, and for; any may be `async`
    "prepare": "(app) once after the import: make tables, keep mails from being sent",
    "add": "(username, email, password) where nobody can register: make this person",
    "activate": "(username) after each registration, as the link in the mail would",
    "disable": "(username) lock this account",
    "remove": "(username) delete this account",
    "rights": "(username) make an administrator of this person",
    "key": "() return the key that signs tokens",
}


class BadDescription(Exception):
    """The description cannot be used. The message is one sentence with the key."""


def _route(text: str) -> str:
    method, _, path = text.partition(" ")
    if method not in METHODS or not path.startswith("/"):
        raise ValueError('give a method and a path, as in "POST /token"')
    return text


def _where(text: str) -> str:
    if not text or not re.fullmatch(r"(cookie:)?[^\s:]+", text):
        raise ValueError('give a place in the answer, as in "access_token" or "cookie:session"')
    return text


def _header(text: str) -> str:
    name, colon, value = text.partition(":")
    if not name or not colon or "{token}" not in value:
        raise ValueError('give a header with {token}, as in "Authorization: Bearer {token}"')
    return text


def _accepted(text: str) -> str:
    name, colon, reason = text.partition(":")
    if not name.strip() or not colon or not reason.strip():
        raise ValueError("give an attack's name, a colon and the reason")
    return text


def _host(text: str) -> str:
    if not re.fullmatch(r"[a-zA-Z0-9.-]+(:\d{1,5})?|\[[0-9a-fA-F:]+\](:\d{1,5})?", text):
        raise ValueError('give a name, and a port if any, as in "shop.example"')
    return text


def _known_places(value: Any) -> Any:
    """Return a template. Raises ValueError for a place that nothing fills."""
    if isinstance(value, dict):
        for each in value.values():
            _known_places(each)
    elif isinstance(value, list):
        for each in value:
            _known_places(each)
    elif isinstance(value, str):
        for place in re.findall(r"\{(\w+)\}", value):
            if place not in PLACES:
                known = ", ".join(f"{{{name}}}" for name in PLACES)
                raise ValueError(f"nothing fills {{{place}}}; there are {known}")
    return value


def _an_action(value: Any) -> Any:
    return {"route": value} if isinstance(value, str) else value


Route = Annotated[str, AfterValidator(_route), AfterValidator(_known_places)]
Where = Annotated[str, AfterValidator(_where)]
Template = Annotated[dict[str, Any], AfterValidator(_known_places)]


class Part(BaseModel):
    """A part of the description. An unknown key is a mistake, and is named."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Action(Part):
    """A request, with places to fill in."""

    route: Route
    form: Template | None = None
    body: Template | None = Field(default=None, alias="json")
    query: Template | None = None
    headers: Annotated[dict[str, str], AfterValidator(_known_places)] = {}
    cookies: Annotated[dict[str, str], AfterValidator(_known_places)] = {}
    page: Route | None = None

    @model_validator(mode="after")
    def has_one_body(self) -> Self:
        """Refuse two bodies."""
        if self.form is not None and self.body is not None:
            raise ValueError("a request has one body: form or json")
        return self

    @property
    def method(self) -> str:
        return self.route.partition(" ")[0]

    @property
    def path(self) -> str:
        return self.route.partition(" ")[2]

    @property
    def places(self) -> set[str]:
        """The places that are to be filled in."""
        parts = (self.path, self.form, self.body, self.query, self.headers, self.cookies)
        return set(re.findall(r"\{(\w+)\}", repr(parts)))


class Login(Action):
    """The request that turns a name and a password into a token."""

    token: Where = "access_token"

    @model_validator(mode="after")
    def takes_a_password(self) -> Self:
        """Refuse a login without a place for the password."""
        if "password" not in self.places:
            raise ValueError("say where the password goes: form, json or query with {password}")
        return self


class Refresh(Action):
    """The request that turns a refresh token into new tokens."""

    source: Where = Field(default="refresh_token", alias="from")
    token: Where = "access_token"


class Use(Part):
    """How a request presents a token."""

    header: Annotated[str, AfterValidator(_header)] | None = None
    cookie: str | None = None

    @model_validator(mode="after")
    def says_one(self) -> Self:
        """Refuse both, and none."""
        if (self.header is None) == (self.cookie is None):
            raise ValueError("give header or cookie")
        return self


class Thing(Part):
    """What belongs to one person, and the requests that touch it."""

    make: Annotated[Action, BeforeValidator(_an_action)]
    id: Where = "id"
    touch: list[Annotated[Action, BeforeValidator(_an_action)]] = Field(min_length=1)
    shared: bool = False


class Account(Part):
    """Somebody who can log in already."""

    username: str = Field(min_length=1)
    password: str = Field(min_length=1)
    email: str = ""
    admin: bool = False


class Policy(Part):
    """What is meant to be as it is, each with its reason."""

    public: list[Route] = []
    registration_tells_names: str = ""
    token_hours: float | None = Field(default=None, gt=0)
    accept: list[Annotated[str, AfterValidator(_accepted)]] = []

    @property
    def accepted(self) -> dict[str, str]:
        """The attacks that may succeed, by name, and why."""
        pairs = (each.partition(":") for each in self.accept)
        return {name.strip(): reason.strip() for name, _, reason in pairs}


class Hooks(Part):
    """A module of the owner's, for what no request can do."""

    module: str = Field(min_length=1)


class Start(Part):
    """What an app needs to start: all that may be written before a first run."""

    host: Annotated[str, AfterValidator(_host)] | None = None
    https: bool = False
    secret_env: str = ""
    env: dict[str, str] = {}
    hooks: Hooks | None = None


class Description(Start):
    """An app, as far as the attacks need to know it."""

    login: Login
    use: Use = Use(header="Authorization: Bearer {token}")
    me: Action
    register_: Action | None = Field(default=None, alias="register")
    refresh: Refresh | None = None
    logout: Action | None = None
    password: Action | None = None
    forgot: Action | None = None
    delete: Action | None = None
    patch: Action | None = None
    admin: list[Action] = []
    thing: list[Thing] = []
    accounts: list[Account] = []
    policy: Policy = Policy()

    @model_validator(mode="after")
    def can_log_somebody_in(self) -> Self:
        """Refuse a description in which nobody can ever log in."""
        if self.register_ is None and not self.accounts and self.hooks is None:
            raise ValueError("give [register], two [[accounts]], or [hooks] that add people")
        return self


def read(path: Path) -> Description | Start:
    """Read a description, or what is written down before there is one.

    Raises BadDescription with one sentence: where, and what to write.
    """
    if not path.exists():
        return Start()
    try:
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise BadDescription(f"{path.name}: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise BadDescription(f"{path.name} is not UTF-8: save it as such.") from None
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadDescription(f"{path.name} is no TOML: {error}.") from None
    try:
        begun = content.keys() <= Start.model_fields.keys()
        return (Start if begun else Description).model_validate(content)
    except ValidationError as error:
        raise BadDescription(f"{path.name}: {_one_sentence(error)}") from None


def _one_sentence(error: ValidationError) -> str:
    # A key that is spelled wrong first: what is missing is often only that.
    found = sorted(error.errors(include_url=False), key=lambda each: each["type"] != UNKNOWN)
    first = found[0]
    place = _place(first["loc"])
    if first["type"] == "missing":
        return f"{place} is missing."
    if first["type"] == UNKNOWN:
        return f"there is no key {place}; there are {_keys(first['loc'][:-1])}."
    if first["type"] in ("string_too_short", "too_short"):
        return f"{place} is still to be filled in."
    if first["type"] == "string_type":
        return f'{place}: give a text, as in "{first["input"]}".'
    said = first["msg"].removeprefix("Value error, ")
    said = said[0].lower() + said[1:]
    return f"{place}: {said}." if place else f"{said}."


def _place(steps: tuple[int | str, ...]) -> str:
    """Return a key as TOML spells it: login.route, accounts[2].password."""
    text = ""
    for step in steps:
        text += f"[{step + 1}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def _keys(steps: tuple[int | str, ...]) -> str:
    """Return the keys that a part of the description may have."""
    model: Any = Description
    for step in steps:
        if isinstance(step, int):
            continue
        fields = {each.alias or name: each for name, each in model.model_fields.items()}
        model = _parts_of(fields[step].annotation)[0]
    return ", ".join(each.alias or name for name, each in model.model_fields.items())


def _parts_of(annotation: Any) -> list[type[Part]]:
    if isinstance(annotation, type) and issubclass(annotation, Part):
        return [annotation]
    found: list[type[Part]] = []
    for inner in getattr(annotation, "__args__", ()):
        found += _parts_of(inner)
    return found
