"""Writes docs/cli.md from the commands' --help; `--check` exits with 1 when it is out of date."""

import sys
from pathlib import Path

import click

from toolkit.cli import toolkit

_WIDTH = 78  # of `--help` in a terminal of 80 columns
TARGET = Path(__file__).with_name("cli.md")
HEAD = """\
# Command line

Generated from `--help` by `make docs`; a test checks that it is up to date.

Exit status: 0 done, 1 an error with a remedy (one line on stderr), 2 wrong usage, 3 a check
failed (parity, accuracy budget, regression). Results go to stdout, progress to stderr.
"""


def page(command: click.Command, name: str, parent: click.Context | None, mark: str) -> list[str]:
    """Return the section of a command, and those of the commands in it."""
    # As the command line itself does it, so that the group's settings hold; the width is fixed,
    # because COLUMNS or the terminal must not change the page.
    context = command.make_context(
        name, [], parent, resilient_parsing=True, terminal_width=_WIDTH, max_content_width=_WIDTH
    )
    sections = [f"{mark} {context.command_path}\n\n```\n{command.get_help(context)}\n```\n"]
    if isinstance(command, click.Group):
        for inner in command.list_commands(context):
            child = command.get_command(context, inner)
            if child is None:
                raise LookupError(inner)
            sections += page(child, inner, context, "##" if parent is None else mark + "#")
    return sections


def generate() -> str:
    """Return the text of docs/cli.md."""
    return "\n".join([HEAD, *page(toolkit, "toolkit", None, "##")])


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(TARGET.read_text(encoding="utf-8") != generate())
    TARGET.write_text(generate(), encoding="utf-8")
