"""Option values that may be about one input or output: ``VALUE``, or ``NAME=VALUE``, repeated."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

Parse = Callable[[str], Any]


def per_tensor(parse: Parse) -> Callable[[click.Context, click.Parameter, tuple[str, ...]], Any]:
    """Return the callback of a repeatable option.

    It gives None, the one value without a name, or a dictionary from name to value.
    """

    def callback(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> Any:
        named = {}
        for text in values:
            name, value = _split(text)
            if name in named:
                raise click.BadParameter(f"'{text}' says a second time what a tensor takes.")
            named[name] = parse(value)
        if None in named and len(named) > 1:
            raise click.BadParameter("some values say which tensor they are for and one does not.")
        return named.get(None, named) if named else None

    return callback


def numbers(text: str) -> tuple[float, ...]:
    """Parse numbers joined by commas; each may be a fraction, 1/255."""
    return tuple(_number(part) for part in text.split(","))


def one_of(*choices: str) -> Parse:
    """Return a parser that takes one of some words."""

    def parse(text: str) -> str:
        if text not in choices:
            raise click.BadParameter(f"'{text}' is not one of {', '.join(choices)}.")
        return text

    return parse


def _number(text: str) -> float:
    above, slash, below = text.partition("/")
    try:
        return float(above) / float(below) if slash else float(above)
    except (ValueError, ZeroDivisionError) as error:
        raise click.BadParameter(
            f"'{text}' is no number; give one such as 0.5 or 1/255, or several joined by commas."
        ) from error


def _split(text: str) -> tuple[str | None, str]:
    """Split NAME=VALUE; a file whose name holds an equals sign is a value."""
    name, equals, value = text.partition("=")
    return (name, value) if equals and name and not Path(text).exists() else (None, text)
