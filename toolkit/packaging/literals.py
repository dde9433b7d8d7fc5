"""Names and numbers as literals of another language, so that no name can break out of one."""

import json
import math
import re


def c_string(text: str) -> str:
    """Return a C and C++ string literal, quotes included.

    Printable ASCII stays as it is; every other byte of the UTF-8 text becomes an octal escape of
    three digits (a hexadecimal one would swallow digits that follow). A question mark is escaped,
    or two of them would start a trigraph.
    """
    parts = []
    for byte in text.encode("utf-8", "replace"):
        character = chr(byte)
        if character in '"\\?':
            parts.append(f"\\{character}")
        elif 32 <= byte < 127:
            parts.append(character)
        else:
            parts.append(f"\\{byte:03o}")
    return f'"{"".join(parts)}"'


def c_float(value: float) -> str:
    """Return a C literal of type float that reads back as the nearest float32.

    Raises:
        ValueError: The value is infinite or no number.
    """
    if not math.isfinite(value):
        raise ValueError(f"{value} has no literal in C")
    return f"{value:.9g}" + ("f" if re.search(r"[.e]", f"{value:.9g}") else ".0f")


def c_comment(text: str) -> str:
    """Return text for the inside of a C comment, on one line, that cannot end it."""
    return one_line(text).replace("*/", "* /").replace("\\", "/")


def js_string(text: str) -> str:
    """Return a JavaScript and TypeScript string literal in double quotes, ASCII only.

    The characters of HTML are escaped too, so that a literal may stand inside <script>.
    """
    literal = json.dumps(text)
    for character in "<>&":
        literal = literal.replace(character, f"\\u{ord(character):04x}")
    return literal


def markdown(text: str) -> str:
    """Return text for a Markdown line, without any meaning as markup."""
    return re.sub(r"([\\`*_{}\[\]<>()#+!|~&])", r"\\\1", one_line(text))


def one_line(text: str) -> str:
    """Return text on one line, without control characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
