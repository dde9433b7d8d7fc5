"""`toolkit inspect`."""

from typing import TYPE_CHECKING, Any

import click

from toolkit.commands.options import json_option, print_result

if TYPE_CHECKING:
    from toolkit.contract import Affine, Contract
    from toolkit.inspection import InspectResult


@click.command()
@click.argument("model")
@json_option
def inspect(model: str, as_json: bool) -> None:
    """Show what MODEL holds and what it promises: .onnx, .keras, .h5, .tflite, or a zoo name.

    Prints inputs, outputs, operators and size, then the contract: what to feed, what comes back,
    how the model was made, and which checks it passed. Nothing of the file is executed.
    """
    from toolkit.inspection import inspect as look

    print_result(look(model), _show, as_json=as_json)


def _show(result: "InspectResult") -> None:
    from toolkit.reporting.terminal import print_pairs

    pairs = [("file", f"{result.path}  ({result.kind}, {result.size_bytes / 1000:,.1f} kB)")]
    if result.made_by:
        pairs.append(("made by", result.made_by))
    if result.opset is not None:
        pairs.append(("opset", f"{result.opset}, IR version {result.ir_version}"))
    pairs += [("input", _tensor(*entry)) for entry in result.inputs]
    pairs += [("output", _tensor(*entry)) for entry in result.outputs]
    if result.operators:
        what = "operators" if result.kind == "onnx" else "layers"
        listed = ", ".join(
            name if count == 1 else f"{name} x{count}" for name, count in result.operators.items()
        )
        pairs.append((what, f"{sum(result.operators.values())}: {listed}"))
    if result.parameters is not None:
        pairs.append(("parameters", f"{result.parameters:,}"))
    if result.kind == "onnx":
        pairs.append(("quantized", "yes" if result.quantized else "no"))
    print_pairs(pairs)
    click.echo()
    if result.contract is None and not result.inputs:
        click.echo("It carries no contract.")
        return
    title = "Contract" if result.contract else "No contract; other commands assume"
    print_pairs(_promises(result.assumed), title=title)
    if result.contract and result.contract.provenance:
        click.echo()
        print_pairs([_step(entry) for entry in result.contract.provenance], title="Made by")
    if result.contract and result.contract.evidence:
        click.echo()
        print_pairs([_check(entry) for entry in result.contract.evidence], title="Checked")


def _tensor(name: str, dtype: str, shape: tuple[int | str, ...]) -> str:
    return f"{name}: {dtype} [{', '.join(map(str, shape))}]"


def _promises(contract: "Contract") -> list[tuple[str, str]]:
    pairs = []
    for spec in contract.inputs:
        words = "a tensor"
        if spec.image is not None:
            words = f"{spec.image.color} pictures, {spec.image.layout}"
            if spec.image.preparation == "mnist":
                words += ", prepared as MNIST was made"
        pairs.append((f"feed {spec.name}", words))
        if spec.by_caller is not None:
            pairs.append(("", f"after {_affine(spec.by_caller)}"))
        if spec.in_graph is not None:
            pairs.append(("", f"the model itself does {_affine(spec.in_graph)}"))
    for output in contract.outputs:
        words = output.kind
        if output.labels:
            shown = ", ".join(output.labels[:_SHOWN])
            more = f" and {len(output.labels) - _SHOWN} more" if len(output.labels) > _SHOWN else ""
            words += f" of {shown}{more}"
        pairs.append((f"get {output.name}", words))
    return pairs


def _affine(affine: "Affine") -> str:
    scale = ", ".join(f"{value:g}" for value in affine.scale)
    text = f"x * {scale}" if len(affine.scale) == 1 else f"x * [{scale}]"
    if any(affine.offset):
        offset = ", ".join(f"{value:g}" for value in affine.offset)
        text += f" + {offset}" if len(affine.offset) == 1 else f" + [{offset}]"
    return text


def _step(entry: dict[str, Any]) -> tuple[str, str]:
    data = entry.get("data")
    given = entry.get("options")
    options: dict[str, Any] = given if isinstance(given, dict) else {}
    parts = [str(entry["source"])] if entry.get("source") else []
    parts += [str(options["recipe"])] if options.get("recipe") else []
    if isinstance(data, dict) and data.get("name"):
        parts.append(f"data {data['name']}")
    if entry.get("step") == "train":
        parts += [f"{key} {options[key]}" for key in ("epochs", "batch_size", "optimizer", "seed")
                  if key in options]  # fmt: skip
    return str(entry.get("step", "?")), ", ".join(parts)


def _check(entry: dict[str, Any]) -> tuple[str, str]:
    """Put a check into words: its numbers and names, nested ones flattened."""
    parts = []
    for key, value in entry.items():
        if key == "check":
            continue
        if isinstance(value, dict):
            parts += [f"{inner} {_number(number)}" for inner, number in value.items()]
        elif isinstance(value, list):
            parts.append(f"{key} [{', '.join(_number(item) for item in value)}]")
        else:
            parts.append(f"{key} {_number(value)}")
    return str(entry.get("check", "?")), ", ".join(parts)


def _number(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


_SHOWN = 12
