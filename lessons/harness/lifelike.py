"""Texts that people type into a field for a name, as they look in real life.

A log that knows a shape by sight, and masks, cuts or mends it, does not say what was typed.
"""

from base64 import urlsafe_b64encode

_HEAD, _BODY = (
    urlsafe_b64encode(each).decode().rstrip("=")
    for each in (b'{"alg":"HS256","typ":"JWT"}', b'{"sub":"alice","exp":1}')
)
JWT = f"{_HEAD}.{_BODY}.{'Ab0_' * 10}Abc"

PEOPLE = ("alice@shop.example", "Alice Doe <alice.doe+shop@mail.example>", "mailto:a@b.example")
PEOPLE += ("alice%40shop.example", "@alice", "DOMAIN\\alice", "cn=alice,dc=shop,dc=example")
PEOPLE += (
    "O'Brien",
    "Jos\u00e9",
    "Jose\u0301",
    "M\u00fcller",
    "\u738b\u5c0f\u660e",
    "\u0410\u043d",
)
PEOPLE += ("+49 30 901820", "+1-202-555-0143", "(202) 555-0143", "0049309018200", "1990-01-31")
SECRETS = (JWT, f"Bearer {JWT}", f"bearer {'x' * 20}", "Basic YWxpY2U6c2VjcmV0", "password=secret")
SECRETS += (
    "sk" + "_live_" + "4eC39HqLyjWDarjtT1zdp7dc",
    "gh" + "p_" + "a1B2" * 9,
    "faw_" + "aB3_" * 10,
)
SECRETS += ("AK" + "IA" + "ABCD1234" * 2, "xo" + "xb-1234567890-abcdefghij", "$2b$12$" + "a" * 53)
SECRETS += (
    "https://alice:secret@shop.example/a?token=x#y",
    "postgresql://a:b@db/x",
    "trombone + seven",
)
SECRETS += (
    "-----BEGIN " + "PRIVATE KEY-----",
    "__Host-session=" + "a" * 43,
    "api_key: x",
    "pin 1234",
)
NUMBERS = ("4111 1111 1111 1111", "4111111111111111", "5500-0000-0000-0004", "078-05-1120")
NUMBERS += ("DE89 3704 0044 0532 0130 00", "0", "007", "42", "-1", "3.0", "1e9", "0x1f", "1_000")
NUMBERS += ("12345678901234567890", "20310203", "0b101", "\u0663\u0664", "Infinity", "NaN")
ADDRESSES = (
    "203.0.113.7",
    "10.0.0.1",
    "2001:db8::7",
    "::ffff:203.0.113.7",
    "2001:DB8:0::7",
    "fe80::1%eth0",
)
ADDRESSES += ("203.0.113.007", "203.0.113.7:443", "[2001:db8::7]", "00:1b:44:11:3a:b7", "localhost")
IDS = (
    "6f1c2d3e-4b5a-4c7d-8e9f-0a1b2c3d4e5f",
    "urn:uuid:6F1C2D3E",
    "0123456789abcdef" * 2,
    "ab" * 32,
)
VALUES = (
    "null",
    "true",
    "false",
    "None",
    "undefined",
    "nil",
    "",
    "[]",
    "{}",
    '""',
    "'x'",
    '{"a": "b"}',
)
VALUES += (
    '["a", null]',
    '{"outcome": "ok"}',
    "\\u0000",
    "\\x41",
    "\\n",
    "a\\",
    "%41",
    "%0a",
    "%00",
    "%",
    "%%",
)
VALUES += ("&amp;", "&#65;", "=?utf-8?q?a?=", "YWxpY2U=", "xn--mller-kva", "2031-02-03T04:05:06Z")
SIGNS = (
    "\x1b[31malice\x1b[0m",
    "\x1b]0;x\x07",
    "\x9b31m",
    "a\x08b",
    "\x7f",
    "\t a \t",
    "a  b",
    "a\u00a0b",
    "\u3000",
)
SIGNS += (
    "e\u0301",
    "\u0301",
    "\ufb01",
    "\uff21",
    "\u212b",
    "\u1e9e",
    "\u0130",
    "\u200b",
    "\u2066a\u2069",
    "\ufffd",
)
SIGNS += (
    "\ufeffa",
    "\u00ad",
    "\ufffe",
    "\U0001f468\u200d\U0001f469",
    "\U0001f1e9\U0001f1ea",
    "\U000e0001",
)
SIGNS += (
    "\udcff",
    "\ud83da",
    "a\udc00",
    "../../etc/passwd",
    "<script>",
    "' OR 1=1 --",
    "${HOME}",
    "{0}",
    "%(a)s",
)
LONG = (
    "a" * 65,
    "b1" * 64,
    "c" * 200,
    "d e " * 64,
    "e" * 256,
    "f." * 600,
    "\u00e9" * 1_025,
    "g" * 5_000,
)

TEXTS = (*PEOPLE, *SECRETS, *NUMBERS, *ADDRESSES, *IDS, *VALUES, *SIGNS, *LONG)
