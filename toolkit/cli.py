"""The command `toolkit`: a group whose command modules are imported on use."""

import errno
import importlib
import io
import os
import signal
import sys
from typing import NoReturn

import click

from toolkit import __version__
from toolkit.errors import ToolkitError

# Name, and the line that `toolkit --help` shows; `toolkit/commands/<name>.py` holds the command.
COMMANDS = {
    "demo": "Train, export, quantize and compare the MNIST CNN: the whole chain.",
    "train": "Train a model of the zoo, or of your own file.",
    "export": "Convert a Keras model to ONNX and prove that it computes the same.",
    "quantize": "Quantize an ONNX model to int8 and measure what it costs.",
    "explain": "Show node by node why an int8 model is faster or slower than float.",
    "bench": "Compare models: accuracy, latency, memory and size.",
    "evaluate": "Measure the accuracy of a Keras or ONNX model.",
    "predict": "Classify image files.",
    "package": "Write a small application around a model: Python, C, C++, Node, web.",
    "verify": "Check that models give the same answers on other devices.",
    "device": "Set up and describe the devices that models can run on.",
    "inspect": "Show what a model file holds and what it promises.",
    "doctor": "Report what this machine can run and what is missing.",
}


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the chain."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command, or None when there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        command = getattr(importlib.import_module(f"toolkit.commands.{cmd_name}"), cmd_name)
        assert isinstance(command, click.Command)  # noqa: S101 - the table above is ours
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that is named; of an unknown name, say which one is like it.

        Raises:
            click.UsageError: There is no such command.
        """
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            import difflib  # only a mistake pays for it

            close = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f" Did you mean '{close[0]}'?" if close else ""
            ctx.fail(f"No such command '{args[0]}'.{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands from the table, so that `--help` imports none of them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="toolkit", message="%(prog)s %(version)s")
def toolkit() -> None:
    """From a trained Keras CNN to a fast int8 ONNX model.

    Every step proves its result: export compares with Keras, quantize measures what int8 costs,
    bench gives an interval with every ratio.

    Exit status: 0 done, 1 an error with a remedy, 2 wrong usage, 3 a check failed.
    """


def main() -> None:
    """Run the command line; an expected error is one line on stderr."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a character gets a question mark, not a traceback.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    # So that temporary files and child processes are cleaned up, as on Ctrl-C.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        status = toolkit.main(standalone_mode=False)
        sys.stdout.flush()
    except ToolkitError as error:
        _fail(str(error), error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted; nothing was left half-written.", err=True)
        sys.exit(130)
    except BrokenPipeError:
        # The reader of our output went away (`toolkit ... | head`): no error of ours.
        _drop_stdout()
        sys.exit(141)
    except OSError as error:
        if error.errno != errno.ENOSPC or error.filename is not None:
            raise
        _drop_stdout()
        _fail(f"The output cannot be written: {error.strerror}.", 1)
    sys.exit(status if isinstance(status, int) else 0)


def _fail(message: str, status: int) -> NoReturn:
    from toolkit.reporting.text import printable

    click.echo(f"Error: {printable(' '.join(message.split()))}", err=True)
    sys.exit(status)


def _drop_stdout() -> None:
    """Point stdout at nothing: what is buffered must not fail again when the process ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
