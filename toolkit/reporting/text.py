"""Text from files, made fit for a terminal or a page."""

import unicodedata

# Control characters (escape sequences of a terminal) and format characters (which turn the
# direction of writing) can make a label look like something else.
_UNSAFE = ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")


def printable(text: str) -> str:
    """Return the text with every control and format character replaced by a question mark."""
    if text.isascii() and text.isprintable():
        return text
    return "".join("?" if unicodedata.category(sign) in _UNSAFE else sign for sign in text)
