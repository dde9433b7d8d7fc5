"""The picture of a training: loss and accuracy of every run, epoch by epoch."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from toolkit.errors import MissingPackageError
from toolkit.files import whole_file
from toolkit.training.result import RunResult

INSTALL = "pip install 'toolkit[train]'"

# Okabe and Ito, "Color Universal Design": told apart by the colour-blind. Yellow is left out,
# it is too faint on white.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_DASHES = ("-", (0, (6, 2)), (0, (2, 1.5)), (0, (6, 2, 1, 2)))
_INK = "#333333"
_LEGEND_ROWS = 24
_ONE_RUN_INCHES = (10.0, 4.2)
_SWEEP_INCHES = (13.0, 5.0)
_DPI = 150


def require() -> None:
    """Check that the picture can be drawn.

    Raises:
        MissingPackageError: matplotlib is not installed.
    """
    try:
        import matplotlib.figure  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            f"Training curves need matplotlib, which is not installed: {INSTALL}"
        ) from error


def draw(path: Path, runs: Sequence[RunResult], chosen: RunResult, model: str, data: str) -> None:
    """Write a PNG: loss on the left, accuracy on the right.

    One run is drawn with its training and validation curves; of several, the validation curves
    are drawn full and the training curves thin in the same colour, so that the distance between
    the two is the over-fitting.

    Raises:
        MissingPackageError: matplotlib is not installed.
        OutputError: The file cannot be written.
    """
    require()
    import matplotlib

    # A dollar sign in the name of a file is no formula.
    with matplotlib.rc_context({"text.parse_math": False}), whole_file(path) as temporary:
        _figure(runs, chosen, model, data).savefig(temporary, format="png", dpi=_DPI)


def _figure(runs: Sequence[RunResult], chosen: RunResult, model: str, data: str) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    single = len(runs) == 1
    figure = Figure(figsize=_ONE_RUN_INCHES if single else _SWEEP_INCHES, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 2)
    for axis, name, title in zip(
        axes, ("loss", "accuracy"), ("Loss", "Accuracy in %"), strict=True
    ):
        if single:
            _draw_one(axis, chosen, name)
        else:
            _draw_all(axis, runs, chosen, name)
        _finish(axis, title, max(len(run.history[name]) for run in runs))
    if single:
        for axis in axes:
            axis.legend(frameon=False, labelcolor=_INK)
    else:
        _legend(figure, axes[1])
    figure.suptitle(_title(runs, chosen, model, data), x=0.01, ha="left", color=_INK, fontsize=11)
    return figure


def _draw_one(axis: Any, run: RunResult, name: str) -> None:
    epochs = range(1, len(run.history[name]) + 1)
    for prefix, label, color in (
        ("", "training (weights changing)", COLORS[1]),
        ("val_", "validation", COLORS[0]),
    ):
        values = _values(run, prefix + name)
        axis.plot(epochs, values, "o-", color=color, label=label, markersize=4, linewidth=1.8)
    kept = _values(run, f"val_{name}")[run.best_epoch - 1]
    axis.plot(
        [run.best_epoch], [kept], "o", markersize=11, markerfacecolor="none",
        markeredgecolor=COLORS[0], markeredgewidth=1.4, label="weights kept",
    )  # fmt: skip


def _draw_all(axis: Any, runs: Sequence[RunResult], chosen: RunResult, name: str) -> None:
    for index, run in enumerate(runs):
        epochs = range(1, len(run.history[name]) + 1)
        color = COLORS[index % len(COLORS)]
        style = _DASHES[index // len(COLORS) % len(_DASHES)]
        axis.plot(
            epochs, _values(run, name), color=color, linestyle=style, linewidth=0.8, alpha=0.6,
            marker="o", markersize=4, markerfacecolor="none",
        )  # fmt: skip
        axis.plot(
            epochs, _values(run, f"val_{name}"), color=color, linestyle=style, marker="o",
            markersize=5, linewidth=2.8 if run is chosen else 1.6,
            label=f"{run.name or 'run'}{'  (chosen)' if run is chosen else ''}",
        )  # fmt: skip


def _finish(axis: Any, title: str, epochs: int) -> None:
    from matplotlib.ticker import MaxNLocator

    axis.set_title(title, loc="left", fontsize=10, color=_INK)
    axis.set_xlabel("epoch", color=_INK)
    axis.set_xlim(0.5, epochs + 0.5)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axis.grid(axis="y", color="#dddddd", linewidth=0.8)
    axis.set_axisbelow(True)
    axis.tick_params(colors=_INK, length=0)
    for side, spine in axis.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color("#bbbbbb")


def _legend(figure: Any, axis: Any) -> None:
    handles, labels = axis.get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside right center",
        frameon=False,
        labelcolor=_INK,
        fontsize=8,
        title="thick, full marks: validation\nthin, open marks: training",
        title_fontsize=8,
        alignment="left",
        ncols=-(-len(labels) // _LEGEND_ROWS),
    )


def _title(runs: Sequence[RunResult], chosen: RunResult, model: str, data: str) -> str:
    accuracy = 100 * (chosen.validation_accuracy or 0)
    best = f"{accuracy:.2f} % on validation data after epoch {chosen.best_epoch}"
    if len(runs) == 1:
        return f"{model} on {data}: {best}"
    return f"{model} on {data}, {len(runs)} trainings, the best: {best}"


def _values(run: RunResult, name: str) -> list[float]:
    """Return the figures of each epoch as they are drawn; a missing one is a gap."""
    factor = 100 if name.endswith("accuracy") else 1
    return [float("nan") if value is None else factor * value for value in run.history[name]]
