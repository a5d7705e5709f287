"""A secret in many spellings: to send them, or to try whether a search finds them."""

import base64
import codecs
import json
from urllib.parse import quote


def spellings(secret: str) -> dict[str, str]:
    """Return a secret's spellings, by name."""
    data = secret.encode("utf-8", "surrogatepass")
    later = [base64.b64encode(b"." * shift + data).decode() for shift in range(3)]
    return {
        "as it is": secret,
        "backwards": secret[::-1],
        "in capitals": secret.upper(),
        "in small letters": secret.lower(),
        "in hex": data.hex(),
        "in capital hex": data.hex().upper(),
        "in hex with colons": data.hex(":"),
        "in base64": later[0],
        "in base64 without padding": later[0].rstrip("="),
        "in base64, one byte later": later[1],
        "in base64, two bytes later": later[2],
        "in url-safe base64": base64.urlsafe_b64encode(data).decode().rstrip("="),
        "in base32": base64.b32encode(data).decode(),
        "percent-encoded": quote(data, safe=""),
        "percent-encoded, all of it": "".join(f"%{byte:02X}" for byte in data),
        "in hex with backslashes": "".join(f"\\x{byte:02x}" for byte in data),
        "as repr": repr(secret),
        "as repr of bytes": repr(data),
        "as ASCII": ascii(secret),
        "as JSON": json.dumps(secret),
        "as HTML": "".join(f"&#{ord(letter)};" for letter in secret),
        "in rot13": codecs.encode(secret, "rot13"),
        "as numbers": str(list(data)),
        "as one number": str(int.from_bytes(data, "big")),
        "letter by letter": str(list(secret)),
        "in hex of base64": later[0].encode().hex(),
    }
