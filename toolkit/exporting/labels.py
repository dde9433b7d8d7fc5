"""Reads a file of labels: one a line, or JSON."""

import json
import unicodedata
from pathlib import Path
from typing import Any

from toolkit.errors import RecipeError

_LARGEST = 16 * 2**20  # bytes


def read_labels(path: str | Path) -> tuple[str, ...]:
    """Return the labels in a UTF-8 file, in the order of the model's classes.

    Three forms: one label a line; a JSON list of texts; a JSON object from class index to text
    ({"0": "cat", "1": "dog"}), which must name every index once. White space around a label is
    taken off. Two classes may have the same label, as in ImageNet.

    Raises:
        RecipeError: It cannot be read, is no UTF-8, or holds an empty label or control characters.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise RecipeError(f"--labels: '{path}' does not exist.") from error
    except OSError as error:
        raise RecipeError(f"--labels: '{path}' cannot be read: {error.strerror}.") from error
    if len(content) > _LARGEST:
        raise RecipeError(f"--labels: '{path}' is larger than 16 MiB; it is no list of labels.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RecipeError(
            f"--labels: '{path}' is no UTF-8 text (byte {error.start}); save it as UTF-8."
        ) from error
    if path.suffix.lower() == ".json" or text.lstrip().startswith(("[", "{")):
        labels = _of_json(text, path)
    else:
        labels = text.replace("\r\n", "\n").rstrip("\n").split("\n")
    return tuple(_checked(label, number, path) for number, label in enumerate(labels, 1))


def _of_json(text: str, path: Path) -> list[Any]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RecipeError(f"--labels: '{path}' is damaged JSON ({error}).") from error
    if isinstance(document, dict):
        if set(document) != {str(index) for index in range(len(document))}:
            raise RecipeError(
                f"--labels: the keys in '{path}' are not the class indices 0 to "
                f"{len(document) - 1}; give a list, or an object of index and label."
            )
        document = [document[str(index)] for index in range(len(document))]
    if not isinstance(document, list):
        raise RecipeError(f"--labels: '{path}' holds neither a list nor an object of labels.")
    return document


def _checked(label: Any, number: int, path: Path) -> str:
    text = label.strip() if isinstance(label, str) else ""
    if not text:
        raise RecipeError(f"--labels: label {number} in '{path}' is empty or no text.")
    if any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in text):
        raise RecipeError(
            f"--labels: label {number} in '{path}' holds control characters ({text[:40]!r})."
        )
    return text
