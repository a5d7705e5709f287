"""Near misses of a live secret, an origin or an address: none opens what the right one opens."""

from string import ascii_lowercase, ascii_uppercase, digits

ALPHABETS = (digits, ascii_lowercase, ascii_uppercase, "-_", "+/")
BASE64 = ascii_uppercase + ascii_lowercase + digits
ADDED = {
    "a blank": " ",
    "a tab": "\t",
    "a line end": "\n",
    "a NUL": "\0",
    "=": "=",
    "==": "==",
    "a dot": ".",
    "a hard space": "\u00a0",
    "a letter": "x",
}

# What a program may take for itself at home: any page that alice opens there is one of these.
LOCAL_ORIGINS = (
    *(f"{scheme}://{host}" for scheme in ("http", "https") for host in ("localhost", "127.0.0.1")),
    *("http://[::1]", "https://[::1]:8000", "http://localhost:8000", "https://localhost:3000"),
    *("http://127.0.0.1:8000", "http://0.0.0.0:8000", "http://app.localhost:8000"),
)


def flips(secret: str) -> dict[str, str]:
    """Return near misses by name: each letter changed, one at a time, then the whole."""
    half = len(secret) // 2
    near = {f"its letter {at + 1} changed": changed for at, changed in enumerate(_each(secret))}
    near |= {f"its last letter {each[-1]}": each for each in _spare(secret)}
    near |= {
        "in capitals": secret.upper(),
        "in small letters": secret.lower(),
        "its letters with the case changed": secret.swapcase(),
        "without its last letter": secret[:-1],
        "without its first letter": secret[1:],
        "its first half": secret[:half],
        "its second half": secret[half:],
        "backwards": secret[::-1],
        "twice": secret * 2,
        "with _ for - and - for _": secret.translate(str.maketrans("-_", "_-")),
        "with + for - and / for _": secret.translate(str.maketrans("-_", "+/")),
        "in quotes": f'"{secret}"',
    }
    for name, added in ADDED.items():
        near[f"with {name} behind"] = secret + added
        near[f"with {name} before"] = added + secret
        near[f"with {name} inside"] = secret[:half] + added + secret[half:]
    return {name: each for name, each in near.items() if each not in ("", secret)}


def origins_near(origin: str) -> dict[str, str]:
    """Return origins by name that whoever does not compare the whole takes for this one.

    It needs a port, and a name with two dots and a dash, to have them all.
    """
    scheme, _, rest = origin.partition("://")
    host, _, port = rest.partition(":")
    first, _, others = host.partition(".")
    changed = {
        "with a dash for a dot": f"{first}-{others}",
        "with a letter for the last dot": "x".join(host.rsplit(".", 1)),
        "with a dot for a dash": host.replace("-", ".", 1),
        "without its dots": host.replace(".", ""),
        "with a letter changed": _neighbour(host[0]) + host[1:],
        "without its first letter": host[1:],
        "without its last letter": host[:-1],
        "without its first name": others,
        "with a letter before": f"x{host}",
        "with a letter behind": f"{host}x",
        "with a name before": f"mallory.{host}",
        "with a name behind": f"{host}.mallory.example",
    }
    near = {f"our host {what}": f"{scheme}://{each}:{port}" for what, each in changed.items()}
    return near | {
        "our host over http": f"http://{rest}",
        "our host without the port": f"{scheme}://{host}",
        "another port": f"{scheme}://{host}:{_neighbour(port[0])}{port[1:]}",
        "the beginning of our port": origin[:-1],
        "a port that begins like ours": f"{origin}0",
        "our host and port as a user": f"{origin}@mallory.example",
        "a user at our host": f"{scheme}://mallory@{rest}",
        "our host with a dot behind": f"{scheme}://{host}.:{port}",
        "our host in capitals": f"{scheme}://{host.upper()}:{port}",
        "our host without a scheme": rest,
        "our host of another scheme": f"app://{rest}",
        "ours and another": f"{origin} https://mallory.example",
        "another and ours": f"https://mallory.example {origin}",
    }


def addresses_near(address: str) -> dict[str, str]:
    """Return other people's addresses by name, which a loose comparison takes for this one.

    It needs a name that begins with é, has an i and a dot, and ends with e.
    """
    name, _, host = address.partition("@")
    first, rest, stem = address[0], address[1:], name[:-1]
    half = len(name) // 2
    return {
        "with a letter of full width": f"{stem}\uff45@{host}",
        "with an i without its dot": address.replace("i", "\u0131", 1),
        "with a raised letter": f"{stem}\u1d49@{host}",
        "with a Cyrillic letter": f"{stem}\u0435@{host}",
        "without its accent": f"e{rest}",
        "with an accent that is a letter by itself": f"e\u0301{rest}",
        "with a letter that nobody sees": f"{name}\u200b@{host}",
        "with a soft hyphen": f"{name[:half]}\u00ad{name[half:]}@{host}",
        "with a tag": f"{name}+shop@{host}",
        "with a tag by a dash": f"{name}-shop@{host}",
        "without its dot": f"{name.replace('.', '')}@{host}",
        "with one more dot": f"{first}.{rest}",
        "with another letter for its dot": address.replace(".", "x", 1),
        "with a dot behind": f"{address}.",
        "with a blank behind": f"{address} ",
        "with a blank before": f" {address}",
        "with a line end behind": f"{address}\n",
        "without its last letter": address[:-1],
        "without its first letter": rest,
        "with a letter behind": f"{address}x",
        "with a letter before": f"x{address}",
        "of the same name elsewhere": f"{name}@mallory.example",
        "of the same host": f"mallory@{host}",
        "of a host of that host": f"{name}@mail.{host}",
        "with another end": f"{address.rpartition('.')[0]}.org",
        "in quotes": f'"{name}"@{host}',
        "with a comment": f"{name}(shop)@{host}",
        "in brackets": f"Erin <{address}>",
        "with another one behind": f"{address},mallory@{host}",
        "with % for its name": f"%@{host}",
        "with _ for a letter": f"_{rest}",
        "with * for its name": f"*@{host}",
        "percent-encoded": address.replace("@", "%40"),
        "backwards": address[::-1],
    }


def _each(secret: str) -> list[str]:
    return [secret[:at] + _neighbour(letter) + secret[at + 1 :] for at, letter in enumerate(secret)]


def _neighbour(letter: str) -> str:
    """Return the next letter of the same alphabet, so that the secret keeps its form."""
    for alphabet in ALPHABETS:
        if letter in alphabet:
            return alphabet[(alphabet.index(letter) + 1) % len(alphabet)]
    return "a" if letter != "a" else "b"


def _spare(secret: str) -> list[str]:
    """Return the spellings whose base64 decodes to the same bytes.

    The last letter of 43 has two bits that say nothing, and decoders ignore them.
    """
    spare = {2: 4, 3: 2}.get(len(secret) % 4, 0)
    for alphabet in (BASE64 + "-_", BASE64 + "+/"):
        if spare and set(secret) <= set(alphabet):
            value = alphabet.index(secret[-1])
            return [secret[:-1] + alphabet[value ^ other] for other in range(1, 2**spare)]
    return []
