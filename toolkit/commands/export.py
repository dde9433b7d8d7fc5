"""`toolkit export`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from toolkit.commands.options import data_option, json_option, output_option, print_result
from toolkit.commands.tensors import numbers, one_of, per_tensor

if TYPE_CHECKING:
    from toolkit.contract import InputSpec, OutputSpec
    from toolkit.exporting import ExportResult


def _batch(ctx: click.Context, param: click.Parameter, value: str) -> int | str:
    if value == "dynamic":
        return value
    if not value.isdigit() or int(value) < 1:
        raise click.BadParameter(f"'{value}' is neither 'dynamic' nor a number of at least 1.")
    return int(value)


def _passes(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    if value == "list" and not ctx.resilient_parsing:
        from toolkit.graph.cleaning import describe_passes
        from toolkit.reporting.terminal import print_pairs

        print_pairs(list(describe_passes().items()))
        ctx.exit()
    return value


@click.command()
@click.argument("model")
@output_option("The ONNX file to write.")
@click.option(
    "--runtime",
    metavar="VERSION|NAME",
    help="The onnxruntime that will run the file: a version such as 1.16, or web, node, android, "
    "debian-trixie. The file is written so that it can read it.",
)
@click.option(
    "--check-runtime",
    is_flag=True,
    help="Install that version into a temporary folder and compare with the source there as well.",
)
@click.option(
    "--opset",
    type=click.IntRange(11, 21),
    help="ONNX opset.  [default: 17, what the runtime reads, or a later one of an ONNX MODEL]",
)
@click.option(
    "--batch",
    callback=_batch,
    default="dynamic",
    show_default=True,
    metavar="dynamic|N",
    help="Any batch size, or a fixed one.",
)
@click.option(
    "--passes",
    metavar="NAMES",
    callback=_passes,
    is_eager=True,
    help="Graph passes to leave out (-fold_scale,-trim_borders), those alone to run "
    "(fuse_gemm,remove_unused), or none; `--passes list` shows them.  [default: all]",
)
@click.option(
    "--input",
    multiple=True,
    callback=per_tensor(one_of("uint8", "float32")),
    metavar="[NAME=]uint8|float32",
    help="uint8 takes pixels as decoded, with the preprocessing in the graph; float32 leaves it "
    "to the caller.  [default: uint8 where the preprocessing is known]",
)
@click.option(
    "--scale",
    multiple=True,
    callback=per_tensor(numbers),
    metavar="[NAME=]NUMBERS",
    help="Preprocessing of a picture input: (x * scale - mean) / std, x being pixels, 0 to 255. "
    "One number or one per channel, as in 1/255 or 0.5,0.5,0.4. NAME= says which of several "
    "inputs. Refused where the model's contract or its first layers do it already.",
)
@click.option(
    "--mean",
    multiple=True,
    callback=per_tensor(numbers),
    metavar="[NAME=]NUMBERS",
    help="See --scale.  [default: 0]",
)
@click.option(
    "--std",
    multiple=True,
    callback=per_tensor(numbers),
    metavar="[NAME=]NUMBERS",
    help="See --scale.  [default: 1]",
)
@click.option(
    "--labels",
    multiple=True,
    callback=per_tensor(Path),
    metavar="[NAME=]FILE",
    help="Names of the classes: a UTF-8 file of one a line, or JSON. NAME= says which of several "
    "outputs.",
)
@data_option()
@click.option(
    "--signature",
    metavar="NAME",
    help="Which signature of a SavedModel or .tflite file to export.  [default: serving_default, "
    "or the only one]",
)
@click.option(
    "--unsafe-load",
    is_flag=True,
    help="Run the Python code that a Keras file holds (Lambda layers) or names, with all of your "
    "rights. Only for files from people you trust.",
)
@click.option(
    "--custom-objects",
    type=click.Path(path_type=Path),
    metavar="FILE.py",
    help="The Python file that defines the model's own classes; it is run. Needs --unsafe-load.",
)
@click.option(
    "--timeout-s",
    type=click.FloatRange(min=0, min_open=True),
    default=3600.0,
    show_default=True,
    metavar="SECONDS",
    help="How long loading and converting MODEL may take.",
)
@json_option
def export(model: str, output: Path, *, as_json: bool, **options: Any) -> None:
    """Convert MODEL to ONNX and prove that it computes the same.

    MODEL is a .keras, .h5, .tflite or .onnx file, a SavedModel folder, or a name of the zoo. The
    ONNX model is compared with what MODEL itself computes, in Keras, TensorFlow, TensorFlow Lite
    or onnxruntime, on real samples (by default of the data it was trained on) and on random ones,
    at batch 1 and at a larger batch, by onnxruntime with all of its optimizations and with none.
    Beyond a relative difference of 1e-4 (more for half precision and integers) nothing is written
    and the exit status is 3.
    """
    from toolkit.exporting import export

    result = export(model, output, **options)
    print_result(result, _show, as_json=as_json)


def _show(result: "ExportResult") -> None:
    from toolkit.reporting.terminal import print_pairs

    parity = result.parity
    worst = parity.worst
    real = f"{parity.real:,} samples of {result.data} and " if parity.real else ""
    figures = f"{worst.max_rel_diff:.1e} relative, {worst.max_abs_diff:.1e} absolute"
    batches = ", ".join(map(str, parity.batches))
    pairs = [("input", _tensor(spec)) for spec in result.contract.inputs]
    pairs += [("output", _tensor(spec)) for spec in result.contract.outputs]
    pairs += [
        ("graph", f"{result.nodes} nodes, opset {result.opset}, IR {result.ir_version}"),
        ("size", f"{result.size_bytes:,} bytes"),
        ("parity", f"{figures} (limit {parity.limit:g}), against {parity.computed_by}"),
        ("on", f"{real}{parity.random:,} random ones, in batches of {batches}"),
        ("in", f"{parity.runtime}, with all optimizations and with none"),
    ]
    if result.runtime is not None:
        ran = result.runtime
        pairs.append(("also in", f"onnxruntime {ran.version}, {ran.max_rel_diff:.1e} relative"))
    print_pairs(pairs, title=str(result.path))


def _tensor(spec: "InputSpec | OutputSpec") -> str:
    return f"{spec.name} {spec.dtype} [{', '.join(map(str, spec.shape))}]"
