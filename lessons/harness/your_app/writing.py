"""Writes `your_app.toml`: what could be told, and what is for the owner to fill in."""

import json
import re
from typing import Any

from lessons.harness.your_app.description import Action
from lessons.harness.your_app.reading import Guess

ASKED = {  # what an owner may know, and what it is good for
    "refresh": "what turns a refresh token into new tokens",
    "logout": "what ends a session",
    "password": "what changes a password",
    "forgot": "what sends a mail to whoever forgot a password",
    "delete": "what deletes the own account",
    "patch": "what edits the own account",
}
EXAMPLES = {
    "register": (
        'route = "POST /register"\njson = { username = "{username}", password = "{password}" }'
    ),
    "refresh": (
        'route = "POST /refresh"\njson = { refresh_token = "{refresh}" }\n'
        'from = "refresh_token"     # where the answer to the login has it\n'
        'token = "access_token"     # where the answer to this has the new token'
    ),
    "logout": 'route = "POST /logout"',
    "password": (
        'route = "POST /password"\n'
        'json = { current_password = "{password}", new_password = "{new_password}" }'
    ),
    "forgot": 'route = "POST /forgot-password"\njson = { email = "{email}" }',
    "delete": 'route = "DELETE /users/me"',
    "patch": 'route = "PATCH /users/me"\njson = { full_name = "Mallory" }',
}
FIRST = """\
# Where things are in your app. `pytest lessons/your_app` wrote it; it is yours to correct.
# All keys: lessons/your_app/README.md. In texts {username}, {email}, {password}, {new_password},
# {token}, {refresh} and {id} are filled in."""
TO_FILL_IN = "# TO FILL IN: "


def as_toml(found: Guess, host: str | None = None) -> str:
    """Return a description as text, with comments for what is not in it."""
    parts = [FIRST]
    parts += [f"# {note}" for note in found.notes]
    if host:
        parts.append(f"host = {_value(host)}")
    parts += _login(found)
    if found.register:
        parts.append(_table("register", found.register))
    elif not found.person:
        if found.refused:
            table = _table("register", found.refused).splitlines()
            parts.append("\n".join(f"# {line}" for line in table))
        else:
            parts.append(_comment("register", "what makes an account, if anybody may"))
        parts.append(
            f"{TO_FILL_IN}two people without special rights, or [register], or a hook `add`\n"
            + "\n".join('[[accounts]]\nusername = ""\npassword = ""\n' for _ in range(2)).rstrip()
        )
    if found.refresh:
        note = "" if found.was_tried else "# read in the document, not tried\n"
        parts.append(note + _table("refresh", found.refresh))
    else:
        parts.append(_comment("refresh", ASKED["refresh"]))
    for name in ("logout", "password", "forgot", "delete", "patch"):
        action = found.actions.get(name)
        if action is None:
            parts.append(_comment(name, ASKED[name]))
        else:
            parts.append("# read in the document, not tried\n" + _table(name, action))
    parts += _admin(found)
    parts += _things(found)
    parts.append(_policy(found))
    parts.append(
        "# Functions of yours for what no request can do (disable, remove, activate ...):\n"
        '# [hooks]\n# module = "attack_hooks"'
    )
    return "\n\n".join(parts) + "\n"


def _login(found: Guess) -> list[str]:
    if found.login is None:
        return [
            f"{TO_FILL_IN}the login, and a request that only its token opens\n"
            '[login]\nroute = ""                # "POST /token"\n'
            'form = { username = "{username}", password = "{password}" }   # or json\n'
            'token = "access_token"    # where the answer has it; or "cookie:session"',
            '[use]\nheader = "Authorization: Bearer {token}"     # or: cookie = "session"',
            '[me]\nroute = ""                # "GET /users/me"',
        ]
    parts = [_table("login", found.login)]
    if found.use:
        header = found.use.header
        how = f"header = {_value(header)}" if header else f"cookie = {_value(found.use.cookie)}"
        parts.append(f"[use]\n{how}")
        parts.append(
            _table("me", found.me)
            if found.me
            else f"{TO_FILL_IN}a request that only the token opens\n"
            '[me]\nroute = ""    # "GET /users/me"'
        )
    else:
        parts += [
            '# not tried; or: cookie = "session"\n[use]\nheader = "Authorization: Bearer {token}"',
            f"# not tried\n{_table('me', found.me)}"
            if found.me
            else f"{TO_FILL_IN}a request that only the token opens\n"
            '[me]\nroute = ""    # "GET /users/me"',
        ]
    return parts


def _admin(found: Guess) -> list[str]:
    parts = [f"# read in the document\n[[admin]]\nroute = {_value(each)}" for each in found.admin]
    if not parts:
        parts.append(
            "# A table for each request that only administrators may make:\n"
            '# [[admin]]\n# route = "GET /admin/users"'
        )
    if found.unsafe_admin:
        routes = "\n".join(f"#   {each}" for each in found.unsafe_admin[:20])
        parts.append(
            f"# These change something, so they are not tried unless you add them:\n{routes}"
        )
    return parts


def _things(found: Guess) -> list[str]:
    parts = ["# What belongs to one person, and is tried by another:"]
    examples = found.things or [("POST /items", ["GET /items/{id}", "DELETE /items/{id}"])]
    for make, touch in examples[:5]:
        parts[0] += (
            f"\n# [[thing]]\n# make = {{ route = {_value(make)}, json = {{ }} }}\n"
            f'# id = "id"\n# touch = {json.dumps(touch)}'
        )
    return parts


def _policy(found: Guess) -> str:
    lines = ["[policy]"]
    if found.public:
        lines.append("# These answer everybody. Take out what should not.")
    lines.append(f"public = {_value(found.public)}")
    if found.doubtful:
        lines.append(
            "# These answer everybody too, and do not look as if they should. "
            "Those that should go into `public`:"
        )
        lines += [f"#   {each}" for each in found.doubtful]
    lines.append('# registration_tells_names = "why it may say that a name is taken"')
    lines.append("# token_hours = 24          # how long a token may live")
    lines.append('# accept = ["no-attempt-limit: our proxy counts"]')
    return "\n".join(lines)


def _table(name: str, action: Action) -> str:
    content = action.model_dump(by_alias=True, exclude_defaults=True)
    if name in ("login", "refresh"):
        content["token"] = action.model_dump()["token"]
    if name == "refresh":
        content["from"] = action.model_dump()["source"]
    return "\n".join([f"[{name}]", *(f"{_key(key)} = {_value(content[key])}" for key in content)])


def _comment(name: str, what: str) -> str:
    lines = EXAMPLES[name].splitlines()
    return "\n".join([f"# {what}:", f"# [{name}]", *(f"# {line}" for line in lines)])


def _key(key: str) -> str:
    return key if re.fullmatch(r"[\w-]+", key, re.ASCII) else json.dumps(key)


def _value(value: Any) -> str:
    if isinstance(value, dict):
        inner = ", ".join(f"{_key(key)} = {_value(value[key])}" for key in value)
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, (list, tuple)):
        if sum(len(str(each)) for each in value) > 80:
            return "[\n" + "".join(f"    {_value(each)},\n" for each in value) + "]"
        return f"[{', '.join(map(_value, value))}]"
    return json.dumps(value)
