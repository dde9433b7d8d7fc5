"""`demo`: the whole chain on the MNIST CNN, artefacts and report in one folder."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.errors import OutputError
from toolkit.recipes import find_model
from toolkit.reporting.terminal import note

MODEL = "mnist_cnn"


@dataclass(frozen=True)
class DemoResult:
    """What the chain made.

    Attributes:
        folder: Where everything lies.
        steps: The JSON document of each step, by its name.
        seconds: Wall time of the whole chain.
        report: The HTML page that compares the models.
    """

    folder: str
    steps: dict[str, dict[str, Any]]
    seconds: float
    report: str

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON document."""
        return {
            "schema": "toolkit.demo/1",
            "folder": self.folder,
            "report": self.report,
            "seconds": self.seconds,
            "steps": self.steps,
        }


def demo(output: str | Path = "demo", *, full: bool = False, force: bool = False) -> DemoResult:
    """Train, export, quantize and compare the MNIST CNN.

    Args:
        output: Folder for the artefacts; it is created. Existing files in it are replaced only
            with ``force``.
        full: Train with the recipe of 5 epochs instead of the fast one.
        force: Replace what is there.

    Raises:
        OutputError: The folder cannot be made, or holds files already.
        CheckFailedError: A step's own check failed.
    """
    from toolkit.benchmark import bench
    from toolkit.evaluation import evaluate
    from toolkit.exporting import export
    from toolkit.exporting.child import require_tensorflow
    from toolkit.quantization import quantize
    from toolkit.training import train

    require_tensorflow()
    folder = _prepare(Path(output), force=force)
    keras_model, float_model = folder / f"{MODEL}.keras", folder / f"{MODEL}.onnx"
    int8_model, report = folder / f"{MODEL}.int8.onnx", folder / "report.html"
    started = time.perf_counter()
    steps: dict[str, dict[str, Any]] = {}

    note(f"1/5 train      {MODEL}, {'5 epochs' if full else 'fast recipe'}")
    steps["train"] = train(MODEL, keras_model, fast=not full, force=force).to_dict()
    note(f"2/5 export     {float_model}")
    steps["export"] = export(keras_model, float_model, force=force).to_dict()
    note(f"3/5 quantize   {int8_model}")
    steps["quantize"] = quantize(
        float_model, int8_model, data="mnist", allow_slower=True, force=force
    ).to_dict()
    note(f"4/5 evaluate   {folder / 'errors.png'}")
    steps["evaluate"] = evaluate(
        int8_model, data="mnist", errors=folder / "errors.png", force=force
    ).to_dict()
    note(f"5/5 bench      {report}")
    steps["bench"] = bench(
        [float_model, int8_model], data="mnist", profile=True, report=report, force=force
    ).to_dict()
    return DemoResult(str(folder), steps, time.perf_counter() - started, str(report))


def _prepare(folder: Path, *, force: bool) -> Path:
    find_model(MODEL, ".py")
    if folder.is_file():
        raise OutputError(f"'{folder}' is a file; name a folder for the demo with --output.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        occupied = any(folder.iterdir())
    except OSError as error:
        raise OutputError(f"'{folder}' cannot be used: {error.strerror}.") from error
    if occupied and not force:
        raise OutputError(
            f"'{folder}' is not empty; add --force to replace the demo in it, or name another "
            "folder with --output."
        )
    return folder
