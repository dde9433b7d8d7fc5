"""Finds and reads the files of models/, quantize/ and bench/.

This is the one place that knows where they are: inside the package of an installed wheel
(``toolkit/_builtin``), beside the package in a checkout. A name that ends in a suffix of its kind
is a path; anything else is a built-in name, or where there is none of that name a path after all.
"""

import difflib
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from toolkit.errors import ModelError, RecipeError

Kind = Literal["models", "quantize", "bench"]
SUFFIXES = (".toml", ".py", ".keras", ".h5", ".onnx", ".tflite")

_Schema = TypeVar("_Schema", bound=BaseModel)


class Table(BaseModel):
    """A table of a recipe file: frozen, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def builtin_dir(kind: Kind) -> Path:
    """Return the folder that holds the built-in files of a kind."""
    package = Path(__file__).resolve().parent
    installed = package / "_builtin" / kind
    return installed if installed.is_dir() else package.parent / kind


def builtin_names(kind: Kind, suffix: str = ".toml") -> list[str]:
    """Return the sorted names of the built-in files with this suffix, without it."""
    return sorted(path.stem for path in builtin_dir(kind).glob(f"*{suffix}"))


def is_path(name: str) -> bool:
    """Tell whether a command line argument means a file rather than a built-in name."""
    return name.endswith(SUFFIXES) or "/" in name or "\\" in name or name in (".", "..")


def find(kind: Kind, name: str, suffix: str = ".toml") -> Path:
    """Return the path of a file: of the user's own, or of the built-in of that name.

    Raises:
        RecipeError: There is no such file, or no built-in of that name; lists the known ones.
    """
    if is_path(name):
        path = Path(name)
        if path.is_dir():
            raise RecipeError(f"'{path}' is a directory; name a {suffix} file.")
        if not path.exists():
            raise RecipeError(f"'{path}' does not exist.")
        return path
    path = builtin_dir(kind) / f"{name}{suffix}"
    if not path.exists():
        if Path(name).is_file():
            return Path(name)
        known = builtin_names(kind, suffix)
        raise RecipeError(
            f"'{name}' is no file and no built-in name in {kind}/.{closest(name, known)} "
            f"Known: {', '.join(known) or 'none'}."
        )
    return path


def find_model(name: str, *suffixes: str) -> Path:
    """Return the path of a model file: the user's own, or the zoo's file of that name.

    Args:
        name: A path, or a zoo name such as ``mnist_cnn``.
        suffixes: The suffixes that may stand for a zoo name, best first.

    Raises:
        ModelError: There is no such file.
    """
    if is_path(name):
        path = Path(name)
        if not path.exists():
            raise ModelError(f"'{path}' does not exist.")
        return path
    for suffix in suffixes:
        path = builtin_dir("models") / f"{name}{suffix}"
        if path.exists():
            return path
    if Path(name).exists():
        return Path(name)
    known = sorted({entry for suffix in suffixes for entry in builtin_names("models", suffix)})
    raise ModelError(
        f"'{name}' is no file and no model of the zoo.{closest(name, known)} "
        f"Known: {', '.join(known) or 'none'}."
    )


def read_toml(path: Path, schema: type[_Schema]) -> _Schema:
    """Read a TOML file into its schema.

    Raises:
        RecipeError: The file cannot be read, is no TOML, or has a key that is unknown or out of
            range; the message names the closest known key.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RecipeError(f"'{path}' cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"'{path}' is no valid TOML: {error}.") from error
    return validate(document, schema, str(path))


def validate(document: object, schema: type[_Schema], origin: str) -> _Schema:
    """Check a document against its schema; see `read_toml` for the errors."""
    try:
        return schema.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            known = _fields(schema, first["loc"][:-1])
            hint = closest(str(first["loc"][-1]), known) or f" Known: {', '.join(known)}."
            raise RecipeError(f"'{origin}': unknown key '{where}'.{hint}") from error
        if first["type"] == "missing":
            raise RecipeError(f"'{origin}': the key '{where}' is missing.") from error
        message = first["msg"][0].lower() + first["msg"][1:]
        raise RecipeError(f"'{origin}': '{where}' is {first['input']!r}; {message}.") from error


def closest(name: str, known: Iterable[str]) -> str:
    """Return " Did you mean 'x'?" for the closest known name, or an empty string."""
    matches = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean '{matches[0]}'?" if matches else ""


def _fields(schema: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """Return the field names of the table at a location inside a schema."""
    for part in location:
        if isinstance(part, int):  # a table in a list of tables
            continue
        field = schema.model_fields.get(part)
        table = _table(field.annotation) if field else None
        if table is None:
            return []
        schema = table
    return sorted(schema.model_fields)


def _table(annotation: object) -> type[BaseModel] | None:
    """Return the table that a field holds, alone or in a list."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_table, get_args(annotation))), None)
