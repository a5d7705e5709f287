"""Tells what makes a file no text that Python reads, in words for whoever saved it."""

import codecs
import re

UTF_8 = "Save it as UTF-8"
WIDE = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
CODING = re.compile(rb"^[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)", re.M)  # from PEP 263


def fault_of(content: bytes) -> str | None:
    """Return the end of a sentence whose subject is the file, or None for good content."""
    if content.startswith(WIDE):
        return f"is saved as UTF-16, which Python does not read. {UTF_8}: your editor can."
    if b"\0" in content:
        line = content[: content.index(b"\0")].count(b"\n") + 1
        return f"has a NUL byte in line {line}, which Python does not read. {UTF_8}, without it."
    declared = CODING.search(b"\n".join(content.splitlines()[:2]))
    encoding = declared[1].decode() if declared else "utf-8"
    try:
        content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        return f"has a letter in line {line} that is not {encoding.upper()}. {UTF_8}."
    except LookupError:
        return f"names an encoding that Python does not know: {encoding}. {UTF_8}, without it."
    return None
