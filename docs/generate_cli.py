"""Writes docs/cli.md from the commands' --help; `--check` exits with 1 when it is out of date."""

import sys
from pathlib import Path

import click

from toolkit.cli import COMMANDS, toolkit

TARGET = Path(__file__).with_name("cli.md")
HEAD = """\
# Command line

Generated from `--help` by `make docs`; a test checks that it is up to date.

Exit status: 0 done, 1 an error with a remedy (one line on stderr), 2 wrong usage, 3 a check
failed (parity, accuracy budget, regression). Results go to stdout, progress to stderr.
"""


def help_text(command: click.Command, name: str, parent: click.Context | None = None) -> str:
    """Return a command's help at a fixed width, so that the terminal does not matter."""
    context = click.Context(
        command, info_name=name, parent=parent, terminal_width=80, max_content_width=80
    )
    return command.get_help(context)


def pages(command: click.Command, name: str, parent: click.Context, mark: str = "##") -> list[str]:
    """Return the section of a command, and those of the commands in it."""
    path = f"{parent.command_path} {name}"
    sections = [f"{mark} {path}\n\n```\n{help_text(command, name, parent)}\n```\n"]
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=name, parent=parent)
        for inner, child in command.commands.items():
            sections += pages(child, inner, context, mark + "#")
    return sections


def generate() -> str:
    """Return the text of docs/cli.md."""
    context = click.Context(toolkit, info_name="toolkit")
    sections = [f"## toolkit\n\n```\n{help_text(toolkit, 'toolkit')}\n```\n"]
    for name in COMMANDS:
        command = toolkit.get_command(context, name)
        if command is None:
            raise LookupError(name)
        sections += pages(command, name, context)
    return "\n".join([HEAD, *sections])


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(TARGET.read_text(encoding="utf-8") != generate())
    TARGET.write_text(generate(), encoding="utf-8")
