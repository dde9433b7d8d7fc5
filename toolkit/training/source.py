"""The Python file of a model: its `build` function and the values that may be set in it.

Python is executed here, and only for the zoo's own files or a file that the user named.
"""

import importlib.util
import inspect
import sys
import traceback
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from toolkit.errors import ModelError, RecipeError
from toolkit.recipes import closest, find

# `build` gets these from the data when it has parameters of these names.
FROM_DATA = ("input_shape", "classes")


@dataclass(frozen=True)
class ModelSource:
    """A model's Python file, loaded.

    Attributes:
        name: The file's name without its suffix.
        path: The file.
        build: Returns the untrained Keras model.
    """

    name: str
    path: Path
    build: Callable[..., Any]

    def settings(self, values: Mapping[str, object]) -> dict[str, object]:
        """Return values for `build`, converted to the types of its parameters.

        Text is converted as the command line writes it: "3", "0.5", "true", and "16-32" for a
        tuple.

        Raises:
            RecipeError: `build` has no such parameter, or takes another type.
        """
        parameters = _parameters(self.build)
        for name in values:
            if name not in parameters:
                known = f" Known: {', '.join(parameters)}." if parameters else ""
                raise RecipeError(
                    f"'{self.name}' has no setting '{name}'."
                    f"{closest(name, parameters) or known} "
                    f"Settings are the parameters of build() in '{self.path}'."
                )
        return {
            name: _convert(name, value, parameters[name], self.name)
            for name, value in values.items()
        }

    def make(self, settings: Mapping[str, object], **from_data: object) -> Any:
        """Return a new Keras model; ``from_data`` holds what `FROM_DATA` names.

        Raises:
            ModelError: `build` fails, or returns something else than a Keras model.
        """
        import keras

        known = inspect.signature(self.build).parameters
        arguments = {name: value for name, value in from_data.items() if name in known} | {
            **settings
        }
        try:
            model = self.build(**arguments)
        except Exception as error:
            shown = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
            raise ModelError(
                f"'{self.path}': build({shown}) fails{_place(error, self.path)}"
            ) from error
        if not isinstance(model, keras.Model):
            raise ModelError(
                f"'{self.path}': build() returns {type(model).__name__}, "
                "it must return a keras.Model."
            )
        return model


def find_source(model: str | Path) -> Path:
    """Return the Python file of a zoo name, or the one that the user named.

    Raises:
        RecipeError: There is none, or the file is no Python file.
    """
    path = find("models", str(model), ".py")
    if path.suffix != ".py":
        raise RecipeError(
            f"'{path}' is no Python file; train takes a model of the zoo, or a .py file whose "
            "build() returns a Keras model."
        )
    return path


def load_source(path: Path) -> ModelSource:
    """Execute a model's Python file and return its `build` function.

    Raises:
        ModelError: The file cannot be executed or has no function `build`.
    """
    # A name of its own: a user's file called keras.py must not stand in for the package.
    name = f"toolkit_model_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ModelError(f"'{path}' is no Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise ModelError(f"'{path}' cannot be loaded{_place(error, path)}") from error
    build = getattr(module, "build", None)
    if not callable(build):
        raise ModelError(f"'{path}' has no function build(); it must return a Keras model.")
    return ModelSource(path.stem, path, build)


def _parameters(build: Callable[..., Any]) -> dict[str, Any]:
    """Return the parameters that can be given by name, with the type that each takes."""
    try:
        hints = typing.get_type_hints(build)
    except (NameError, TypeError):  # a hint that names something imported for type checkers
        hints = {}
    return {
        name: hints.get(name, _type_of(parameter.default))
        for name, parameter in inspect.signature(build).parameters.items()
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    }


def _type_of(default: object) -> Any:
    """Return the type that a default value implies; without one, a number or else text."""
    if default is inspect.Parameter.empty or default is None:
        return Annotated[int | float | str, Field(union_mode="left_to_right")]
    if isinstance(default, tuple | list):
        entry = type(default[0]) if default else int
        return tuple[entry, ...]  # type: ignore[valid-type]
    return type(default)


def _convert(name: str, value: object, annotation: Any, model: str) -> object:
    if isinstance(value, str):
        if value.lower() == "none" and type(None) in typing.get_args(annotation):
            return None
        if _is_sequence(annotation):
            value = value.split("-")
    try:
        adapter = TypeAdapter(annotation, config=ConfigDict(allow_inf_nan=False))
    except PydanticUserError as error:
        raise RecipeError(
            f"'{name}' of '{model}' takes {_describe(annotation)}, which cannot be set by name."
        ) from error
    try:
        converted = adapter.validate_python(value)
    except ValidationError as error:
        shown = "-".join(value) if isinstance(value, list) else value
        raise RecipeError(
            f"'{name}' of '{model}' takes {_describe(annotation)}, not {shown!r}."
        ) from error
    return tuple(converted) if isinstance(converted, list) else converted


def _is_sequence(annotation: Any) -> bool:
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return any(_is_sequence(entry) for entry in typing.get_args(annotation))
    origin = typing.get_origin(annotation) or annotation
    return isinstance(origin, type) and origin is not str and issubclass(origin, tuple | list)


def _describe(annotation: Any) -> str:
    """Return a type in words: "int", "'max' or 'avg'", "int values joined by '-'"."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return " or ".join(repr(choice) for choice in arguments)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_describe(entry) for entry in arguments)
    if _is_sequence(annotation):
        entries = dict.fromkeys(_describe(entry) for entry in arguments if entry is not Ellipsis)
        return f"{' and '.join(entries) or 'some'} values joined by '-'"
    if annotation is type(None):
        return "none"
    return getattr(annotation, "__name__", str(annotation))


def _place(error: Exception, path: Path) -> str:
    """Return where in the user's file an error arose, and its first line."""
    if isinstance(error, SyntaxError):
        return f" (line {error.lineno}): {error.msg}."
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename) == path.absolute()  # as importlib stores it
    ]
    where = f" (line {lines[-1]})" if lines else ""
    text = str(error).strip().splitlines()
    return f"{where}: {type(error).__name__}{': ' + text[0] if text else ''}"
