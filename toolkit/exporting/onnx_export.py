"""`export`: from a model of any source to an ONNX file that provably computes the same."""

import dataclasses
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from toolkit import __version__, graph
from toolkit.contract import KEY, Contract, from_json, new_step
from toolkit.datasets import load_dataset, sample
from toolkit.errors import DataError, RecipeError
from toolkit.exporting import child, parity, references
from toolkit.exporting.keras_contract import InputDtypes, exported_inputs
from toolkit.exporting.opsets import IR_VERSION, WRITTEN, choose_opset, raise_opset
from toolkit.exporting.parity import Parity
from toolkit.exporting.preprocessing import add_preprocessing
from toolkit.exporting.promises import PerInput, PerOutput, check_promises
from toolkit.exporting.refusals import refuse_unknown
from toolkit.exporting.runtime_check import RuntimeCheck
from toolkit.exporting.runtime_check import check_runtime as run_elsewhere
from toolkit.exporting.runtimes import find_runtime
from toolkit.exporting.sources import open_source
from toolkit.files import check_output, sha256, whole_file
from toolkit.graph.cleaning import choose_passes
from toolkit.recipes import find_model
from toolkit.reporting import terminal
from toolkit.runtime.feeding import to_batch

_ELEMENTS = 2**18  # of real samples in the comparison: 334 digits, 4 pictures of 224x224
_SAMPLES = range(4, 257)
_SEED = 0


@dataclass(frozen=True)
class ExportResult:
    """What `export` wrote, and the evidence that it is right.

    Attributes:
        path: The ONNX file.
        source: The model that it came from.
        opset: ONNX opset of the file.
        ir_version: ONNX IR version of the file.
        nodes: Operators in the graph.
        size_bytes: Size of the file.
        parity: The comparison with the source.
        data: The dataset whose samples were compared, or None.
        passes: How often each graph pass applied.
        runtime: The comparison in the runtime that was asked for, or None.
        contract: The contract in the file.
    """

    path: Path
    source: Path
    opset: int
    ir_version: int
    nodes: int
    size_bytes: int
    parity: Parity
    data: str | None
    passes: dict[str, int]
    runtime: RuntimeCheck | None
    contract: Contract

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON document."""
        return {
            "schema": "toolkit.export/1",
            "path": str(self.path),
            "source": str(self.source),
            "opset": self.opset,
            "ir_version": self.ir_version,
            "nodes": self.nodes,
            "size_bytes": self.size_bytes,
            "parity": self.parity.to_dict(),
            "data": self.data,
            "passes": self.passes,
            "runtime": None if self.runtime is None else self.runtime.to_dict(),
            "contract": self.contract.to_dict(),
        }


def export(
    model: str | Path,
    output: str | Path,
    *,
    runtime: str | None = None,
    check_runtime: bool = False,
    opset: int | None = None,
    batch: int | Literal["dynamic"] = "dynamic",
    passes: str | Sequence[str] | None = None,
    input: InputDtypes | None = None,  # noqa: A002 - the option's name
    scale: PerInput | None = None,
    mean: PerInput | None = None,
    std: PerInput | None = None,
    labels: PerOutput | None = None,
    data: str | Path | None = None,
    signature: str | None = None,
    unsafe_load: bool = False,
    custom_objects: str | Path | None = None,
    timeout_s: float = child.TIMEOUT_S,
    force: bool = False,
) -> ExportResult:
    """Convert a model to ONNX and compare it with what it came from before writing it.

    The comparison runs real samples (when there is data) and random ones, at batch 1 and at a
    larger batch, through onnxruntime with all of its graph optimizations and with none.

    Args:
        model: A .keras, .h5, .tflite or .onnx file, a SavedModel folder, or a name of the zoo.
        output: The ONNX file to write.
        runtime: The onnxruntime that will run the file: a version such as "1.16", or "web",
            "node", "android", "debian-trixie". The file is written so that it can read it.
        check_runtime: Install that version into a temporary folder and compare with the source
            there as well.
        opset: ONNX opset, 11 to 21; None takes 17, or what the runtime reads. An ONNX source in a
            later one stays there.
        batch: "dynamic", or a fixed batch size. A size that the source has fixed stays.
        passes: Graph passes, as names joined by commas or in a sequence: those to run or, each
            behind a minus sign, those to leave out; "none" runs none, None all.
        input: "uint8" takes pixels as decoded, with the preprocessing in the graph; "float32"
            leaves it to the caller; a mapping says it for single inputs. None takes uint8 where
            the preprocessing is known: from the model's contract, from scale, mean and std, or
            because the model begins with a Rescaling or Normalization layer for pixels.
        scale: A picture's preprocessing is (x * scale - mean) / std, x being pixels, 0 to 255.
            One value or one per channel; a mapping says it for single inputs.
        mean: See ``scale``.
        std: See ``scale``.
        labels: A file with the names of the classes, one a line or JSON; a mapping for single
            outputs.
        data: The dataset to compare on; None takes the one that the model was trained on, when
            it is at hand.
        signature: Which signature of a SavedModel or TensorFlow Lite file to take; None takes
            "serving_default", or the only one.
        unsafe_load: Run the Python code that stands in a Keras file (Lambda layers) or that it
            names, with all rights of this user; only for files from people you trust.
        custom_objects: A Python file that defines the classes and functions of the model's own;
            it is run. Needs ``unsafe_load``.
        timeout_s: Seconds that loading, running and converting the source may take.
        force: Replace an existing file.

    Raises:
        ModelError: The source is no model that can be loaded or converted.
        CheckFailedError: The ONNX model computes something else; nothing is written.
        RecipeError: An option is out of range or does not fit the model.
        DataError: The data does not fit the model.
        OutputError: The output cannot be written.
        MissingPackageError: TensorFlow, tf_keras or onnxruntime is not installed.
    """
    target = None if runtime is None else find_runtime(runtime)
    chosen = choose_passes(passes)
    promises = check_promises(scale, mean, std, labels)
    given = {"input": input, "scale": scale, "mean": mean, "std": std, "labels": labels}
    said = {name: _recorded(value) for name, value in given.items() if value is not None}
    if check_runtime and target is None:
        raise RecipeError("--check-runtime needs --runtime, which names the version to run.")
    fixed = None if batch == "dynamic" else batch
    if fixed is not None and fixed < 1:
        raise RecipeError(f"--batch {batch} is not positive; give a size, or 'dynamic'.")
    path = find_model(str(model), ".keras", ".h5")
    output = check_output(output, force=force, inputs=[path], suffixes=[".onnx"])
    source = open_source(
        path, unsafe_load=unsafe_load, custom_objects=custom_objects, signature=signature
    )
    opset = choose_opset(opset, target, source.opset)
    known = source.contract
    if source.kind != "onnx":
        child.require_tensorflow()
    dataset, images = _images(data, known)
    if known is not None and images is not None:
        # Data that does not fit is found here in no time, and in the child after 5 seconds.
        to_batch(images[:1], exported_inputs(known.inputs, input)[0])
    with (
        terminal.progress(f"export {path.name}", None) as advance,
        child.workshop() as folder,
    ):
        if images is not None:
            np.save(folder / child.IMAGES, images)

        def listen(message: dict[str, Any]) -> None:
            advance(0, note=message.get("stage"))

        job = {
            "task": "export",
            **source.to_job(),
            "opset": opset if source.kind == "onnx" else min(opset, WRITTEN),
            "batch": fixed,
            "input": input,
            "promises": promises.to_job(),
        }
        result = child.run(job, folder, listen, timeout_s=timeout_s)
        advance(0, note="cleaning the graph")
        before = from_json(json.dumps(result["contract"]))
        contract = _onnx_contract(before, input, result["batch"])
        converted = ir.load(folder / child.MODEL)
        if source.kind != "onnx":
            refuse_unknown(converted, result["layers"], str(path))
        converted = raise_opset(converted, opset, str(path))
        ceiling = IR_VERSION if source.kind != "onnx" else converted.ir_version
        if target is not None:
            ceiling = target.ir_version
        applied = _finish(converted, before, contract, ceiling, chosen)
        computed_by = result["computed_by"]
        advance(0, note=f"comparing with {computed_by}")
        cases = references.read(folder / child.CASES)
        content = _serialized(converted)
        limit = parity.limit_of(converted, result["arithmetic"])
        compared = parity.compare(content, contract, cases, limit, computed_by)
        parity.require(compared, content, contract, cases, str(path))
        step = new_step(
            "export",
            source=path.name,
            sha256=sha256(path),
            options={"opset": opset, "batch": batch, "input": contract.inputs[0].dtype, **said},
            results={"passes": applied},
            versions={"toolkit": __version__, **result["versions"]},
        )
        checks = [{"check": "parity", "data": dataset, **compared.to_dict()}]
        ran = None
        if target is not None and check_runtime:
            advance(0, note=f"running onnxruntime {target.version}")
            ran = run_elsewhere(target, content, cases, folder, str(path), limit, computed_by)
            checks.append({"check": "runtime", **ran.to_dict()})
        contract = contract.with_step(step, *checks)
        converted.metadata_props[KEY] = contract.to_json()
        content = _serialized(converted)
        with whole_file(output) as temporary:
            temporary.write_bytes(content)
    return ExportResult(
        path=output,
        source=path,
        opset=opset,
        ir_version=converted.ir_version,
        nodes=converted.graph.num_nodes(),
        size_bytes=len(content),
        parity=compared,
        data=dataset,
        passes=applied,
        runtime=ran,
        contract=contract,
    )


def _images(
    data: str | Path | None, contract: Contract | None
) -> tuple[str | None, npt.NDArray[Any] | None]:
    """Return the name of the dataset and samples of its training data, or None twice."""
    if data is not None:
        return str(data), _samples(str(data), contract)
    trained_on = None if contract is None else contract.training_data
    if trained_on is None:
        return None, None
    try:
        return trained_on, _samples(trained_on, contract)
    except DataError as error:
        terminal.note(f"Comparing on random samples alone (--data adds real ones): {error}")
        return None, None


def _samples(data: str, contract: Contract | None) -> npt.NDArray[Any]:
    # Other classes do not matter here, so that any pictures will do: outputs are compared.
    nameless = contract and dataclasses.replace(
        contract,
        outputs=tuple(dataclasses.replace(spec, labels=None) for spec in contract.outputs),
    )
    split = load_dataset(data, nameless).training
    first = split.images[0:1]
    count = min(max(_ELEMENTS // first.size, _SAMPLES[0]), _SAMPLES[-1])
    chosen = sample(split, count, _SEED)
    return chosen.images[0 : len(chosen)]


def _onnx_contract(given: Contract, dtype: InputDtypes | None, batch: int | None) -> Contract:
    """Return the contract of the ONNX model: its input dtype, and the batch where it is fixed."""
    contract = dataclasses.replace(given, inputs=exported_inputs(given.inputs, dtype))
    if batch is None:
        return contract
    return dataclasses.replace(
        contract,
        inputs=tuple(
            dataclasses.replace(spec, shape=(batch, *spec.shape[1:])) for spec in contract.inputs
        ),
        outputs=tuple(
            dataclasses.replace(spec, shape=(batch, *spec.shape[1:])) for spec in contract.outputs
        ),
    )


def _finish(
    model: ir.Model,
    given: Contract,
    contract: Contract,
    ceiling: int,
    passes: tuple[str, ...],
) -> dict[str, int]:
    """Put preprocessing, names and shapes into the converted graph and clean it, in place."""
    for before, after in zip(given.inputs, contract.inputs, strict=True):
        add_preprocessing(model, before, after)
    declared = {spec.name: spec.shape for spec in contract.inputs}
    declared.update((spec.name, spec.shape) for spec in contract.outputs)
    for value in itertools.chain(model.graph.inputs, model.graph.outputs):
        value.shape = ir.Shape(declared[str(value.name)])
    applied = graph.clean(model, passes)
    model.ir_version = min(model.ir_version, ceiling)
    model.producer_name, model.producer_version = "toolkit", __version__
    model.doc_string = None
    model.graph.name = contract.name
    model.graph.doc_string = None
    return applied


def _recorded(value: Any) -> Any:
    """Return an option's value as JSON: files by their names, sequences as lists."""
    if isinstance(value, Mapping):
        return {name: _recorded(entry) for name, entry in value.items()}
    if isinstance(value, str | Path):
        return Path(value).name  # a word stays as it is
    return list(value) if isinstance(value, Sequence) else value


def _serialized(model: ir.Model) -> bytes:
    return bytes(ir.to_proto(model).SerializeToString())
