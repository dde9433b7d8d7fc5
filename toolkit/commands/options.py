"""Options and output that several commands share. Imports click alone: `--help` stays fast."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])

PATH = click.Path(path_type=Path)


class Result(Protocol):
    """What every step returns: a frozen dataclass that knows its JSON document."""

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON document, with a ``schema`` field."""


ResultT = TypeVar("ResultT", bound=Result)


def output_option(help_text: str, *, required: bool = True) -> Callable[[Command], Command]:
    """-o / --output and --force."""

    def add(command: Command) -> Command:
        command = click.option("--force", is_flag=True, help="Replace files that are there.")(
            command
        )
        return click.option(
            "-o", "--output", type=PATH, required=required, metavar="FILE", help=help_text
        )(command)

    return add


def json_option(command: Command) -> Command:
    """--json: print one JSON document instead of tables."""
    return click.option(
        "--json", "as_json", is_flag=True, help="Print the result as one JSON document."
    )(command)


def data_option(default: str | None = None) -> Callable[[Command], Command]:
    """--data NAME|PATH."""
    return click.option(
        "--data",
        default=default,
        show_default=default is not None,
        metavar="NAME|PATH",
        help="mnist, fashion_mnist, an .npz or idx file, or a folder of one sub-folder per class.",
    )


def print_result(result: ResultT, show: Callable[[ResultT], None], *, as_json: bool) -> None:
    """Print a step's result: its JSON document, or what ``show`` makes of it for a person."""
    if as_json:
        click.echo(json.dumps(result.to_dict(), indent=2, ensure_ascii=False))
    else:
        show(result)
