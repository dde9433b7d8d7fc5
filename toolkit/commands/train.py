"""`toolkit train`."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from toolkit.commands.options import data_option, json_option, output_option, print_result

if TYPE_CHECKING:
    from toolkit.training import RunResult, TrainResult


Read = Callable[[click.Context, click.Parameter, str | None], list[Any] | None]


def _several(
    kind: Callable[[str], Any], form: str, within: click.IntRange | click.FloatRange | None = None
) -> Read:
    """Return a callback that reads one value or several, separated by commas.

    Args:
        kind: Reads one of them.
        form: How one of them is written, for the message.
        within: The range that each must be in.
    """

    def read(ctx: click.Context, param: click.Parameter, text: str | None) -> list[Any] | None:
        if text is None:
            return None
        try:
            values = [kind(part.strip()) for part in text.split(",")]
        except ValueError as error:
            raise click.BadParameter(f"{text!r} is not of the form {form}[,{form}...].") from error
        return values if within is None else [within.convert(value, param, ctx) for value in values]

    return read


def _assignments(
    ctx: click.Context, param: click.Parameter, texts: tuple[str, ...]
) -> dict[str, list[str]]:
    """Read KEY=VALUE[,VALUE...]; the values of a key that is given twice are joined."""
    settings: dict[str, list[str]] = {}
    for text in texts:
        key, sign, values = (part.strip() for part in text.partition("="))
        listed = [part.strip() for part in values.split(",")]
        if not sign or not key or not all(listed):
            raise click.BadParameter(f"{text!r} is not of the form KEY=VALUE[,VALUE...].")
        settings.setdefault(key, []).extend(listed)
    return settings


@click.command()
@click.argument("model")
@output_option("The .keras file to write; its history and curves are written beside it.")
@data_option()
@click.option(
    "--epochs",
    callback=_several(int, "N", click.IntRange(min=1)),
    metavar="N,...",
    help="Passes over the data.",
)
@click.option(
    "--batch-size",
    callback=_several(int, "N", click.IntRange(min=1)),
    metavar="N,...",
    help="Samples per step.",
)
@click.option(
    "--optimizer",
    callback=_several(str, "NAME"),
    metavar="NAME,...",
    help="adam, sgd, rmsprop, ...",
)
@click.option(
    "--learning-rate",
    callback=_several(float, "X", click.FloatRange(min=0, min_open=True)),
    metavar="X,...",
    help="Step size.",
)
@click.option(
    "--set",
    "settings",
    callback=_assignments,
    multiple=True,
    metavar="KEY=VALUE,...",
    help="An argument of the model's build(): pooling=max,avg or filters=16-32,32-64.",
)
@click.option(
    "--seed",
    callback=_several(int, "N", click.IntRange(min=0)),
    metavar="N,...",
    help="First weights, sample order.",
)
@click.option("--fast", is_flag=True, help="Fewer, larger steps: the recipe's [fast] table.")
@json_option
def train(
    *,
    model: str,
    output: Path,
    data: str | None,
    epochs: list[int] | None,
    batch_size: list[int] | None,
    optimizer: list[str] | None,
    learning_rate: list[float] | None,
    settings: dict[str, list[str]],
    seed: list[int] | None,
    fast: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Train MODEL, a name of the zoo (mnist_cnn) or your own Python file.

    A file of your own has a function build() that returns a Keras model; a TOML file beside it
    may hold its recipe. Options that are left out come from the recipe.

    Several values in one option, separated by commas, train every combination; the model with
    the best validation accuracy is written, the others go into a folder beside it.

    A training that was interrupted goes on when the same command is given again.
    """
    from toolkit.training import train as run

    result = run(
        model,
        output,
        data=data,
        epochs=epochs,
        batch_size=batch_size,
        optimizer=optimizer,
        learning_rate=learning_rate,
        settings=settings,
        seed=seed,
        fast=fast,
        force=force,
    )
    print_result(result, _show, as_json=as_json)


def _show(result: "TrainResult") -> None:
    from toolkit.reporting.terminal import print_pairs, print_table

    if len(result.runs) > 1:
        ranked = sorted(result.runs, key=lambda run: run.rank(), reverse=True)
        print_table(
            [_row(run, chosen=run is result.chosen) for run in ranked],
            ("", "run", "parameters", "validation", "training", "gap", "best epoch", "seconds"),
            title=f"{len(ranked)} trainings of {result.model} on {result.data}, best first",
            left=(0, 1),
        )
        print_table([])
    low, high = result.test_accuracy_interval
    chosen = result.chosen
    pairs = [
        ("model", str(result.path)),
        ("parameters", f"{chosen.parameters:,}"),
        ("epochs", f"{result.epochs}, the weights of epoch {chosen.best_epoch} kept"),
        ("validation accuracy", _percent(chosen.validation_accuracy)),
        ("over-fitting gap", f"{_gap(chosen)} points, training minus validation accuracy"),
        (
            "test accuracy",
            f"{_percent(result.test_accuracy)} (95 %: {100 * low:.2f} to {100 * high:.2f})",
        ),
        ("seconds", f"{result.seconds:.1f}"),
        ("history", str(result.history_path)),
        ("curves", str(result.curves_path)),
    ]
    if len(result.runs) > 1:
        pairs.insert(1, ("chosen", chosen.name))
        others = [run for run in result.runs if run.path and run is not chosen]
        if others and others[0].path:
            pairs.append(("other models", str(others[0].path.parent)))
    print_pairs(pairs)


def _row(run: "RunResult", *, chosen: bool) -> list[str]:
    return [
        "*" if chosen else "",
        run.name,
        f"{run.parameters:,}",
        _percent(run.validation_accuracy),
        _percent(run.train_accuracy),
        _gap(run),
        "diverged" if run.diverged else f"{run.best_epoch} of {len(run.history['loss'])}",
        f"{run.seconds:.1f}",
    ]


def _percent(fraction: float | None) -> str:
    return "-" if fraction is None else f"{100 * fraction:.2f} %"


def _gap(run: "RunResult") -> str:
    return "-" if run.overfitting_gap is None else f"{run.overfitting_gap:+.2f}"
