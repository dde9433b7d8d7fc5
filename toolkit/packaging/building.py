"""`package`: a folder with a model, its contract, golden samples, and the code that runs it."""

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.contract import Contract, InputSpec, OutputSpec
from toolkit.errors import DataError, ModelError, OutputError
from toolkit.packaging.application import (
    TARGETS,
    Application,
    Target,
    Tensor,
    Variant,
    input_tensors,
    output_tensors,
)
from toolkit.packaging.golden import Array, golden_answers, golden_inputs, write_golden
from toolkit.packaging.manifest import write_manifest
from toolkit.packaging.origins import builtin_data, float_original
from toolkit.packaging.targets import write_code
from toolkit.recipes import find_model
from toolkit.runtime import load


@dataclass(frozen=True)
class PackageResult:
    """What `package` wrote.

    Attributes:
        path: The folder.
        target: The language.
        model: The model file that was packaged.
        beside: The model beside it, or None.
        data: Where the golden samples come from; None for random ones.
        files: The sha256 of every file, by its name in the folder.
        golden: The number of golden samples.
        tolerance: How far the model's first output may be off elsewhere; 0 means bit for bit.
    """

    path: Path
    target: Target
    model: Path
    beside: Path | None
    data: str | None
    files: dict[str, str]
    golden: int
    tolerance: float

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON document."""
        return {
            "schema": "toolkit.package/1",
            "path": str(self.path),
            "target": self.target,
            "model": str(self.model),
            "beside": None if self.beside is None else str(self.beside),
            "files": self.files,
            "golden": {"samples": self.golden, "data": self.data, "tolerance": self.tolerance},
        }


@dataclass(frozen=True)
class _Source:
    """A model file that goes into the package."""

    path: Path
    contract: Contract
    graph: Any
    quantized: bool


def package(
    model: str | Path,
    target: Target,
    output: str | Path | None = None,
    *,
    beside: str | Path | None = None,
    data: str | None = None,
) -> PackageResult:
    """Write an application that runs a model: its code, the model, its contract, golden samples.

    The folder appears whole or not at all. The model file itself is copied unchanged.

    Args:
        model: An ONNX file, or a zoo name.
        target: "python", "c", "cpp", "node" or "web".
        output: The folder to write, which must not exist; by default the model's name and the
            target, in the current folder.
        beside: A second model of the same inputs and outputs, for the web page, which shows both;
            by default the float original of an int8 model, where it lies beside it or in the zoo.
        data: Where the golden samples come from (`toolkit.datasets.load_dataset`); by default the
            built-in data that the model was made with, else they are random.

    Raises:
        ModelError: The model is damaged, or has tensors that the target's application cannot
            feed.
        OutputError: The folder exists already, or cannot be written.
        DataError: The data does not fit the model.
        ValueError: ``target`` is none of the five, or ``beside`` is given for another than "web".
    """
    if target not in TARGETS:
        raise ValueError(f"target is {target!r}, not one of {TARGETS}")
    if beside is not None and target != "web":
        raise ValueError(f"beside is for the target 'web', not for '{target}'")
    path = find_model(str(model), ".onnx")
    folder = _check_folder(Path(output or f"{path.stem}-{target}"))
    sources = [_read(path)]
    inputs = input_tensors(sources[0].contract, target, path)
    contract = sources[0].contract
    original = float_original(path, contract) if target == "web" and beside is None else None
    if beside is not None or original is not None:
        sources.append(_read(original or find_model(str(beside), ".onnx")))
        _check_alike(*sources)

    data, arrays = _samples(inputs, contract, data)
    files = ["model.onnx", "beside.onnx"][: len(sources)]
    answers = {
        file: golden_answers(source.path, contract, arrays, source.graph)
        for file, source in zip(files, sources, strict=True)
    }
    shapes = [array.shape[1:] for array in answers[files[0]].outputs]
    application = Application(
        name=contract.name,
        origin=path.name,
        inputs=inputs,
        outputs=output_tensors(contract, shapes, path),
        variants=_variants(files, sources),
        runtime=_runtime_version(),
        golden_runs=len(arrays[0]),
        tolerances=answers[files[0]].tolerances,
        threads=contract.session.threads or 1,
    )
    with _whole_folder(folder) as temporary:
        # A web server shows one folder; all else of a page stays beside it.
        place = temporary / "public" if target == "web" else temporary
        place.mkdir(exist_ok=True)
        for file, source in zip(files, sources, strict=True):
            shutil.copyfile(source.path, place / file)
        text = json.dumps(contract.to_dict(), indent=1, ensure_ascii=False)
        (place / "contract.json").write_text(text + "\n", encoding="utf-8")
        write_golden(place / "golden", contract, arrays, answers)
        write_code(target, application, temporary)
        sums = write_manifest(temporary)
    return PackageResult(
        path=folder,
        target=target,
        model=path,
        beside=sources[1].path if len(sources) > 1 else None,
        data=data,
        files=sums,
        golden=len(arrays[0]) * inputs[0].batch,
        tolerance=answers[files[0]].tolerances[0],
    )


def _read(path: Path) -> _Source:
    import onnx

    contract = load(path, provider="cpu", threads=1).contract
    graph = onnx.load(path, load_external_data=False).graph
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in graph.initializer):
        raise ModelError(
            f"'{path}' keeps its weights in another file; an application takes one file. "
            "Save the model with its weights inside."
        )
    quantized = any("QuantizeLinear" in n.op_type or "Integer" in n.op_type for n in graph.node)
    return _Source(path, contract, graph, quantized)


def _samples(
    inputs: tuple[Tensor, ...], contract: Contract, data: str | None
) -> tuple[str | None, tuple[Array, ...]]:
    """Return where the golden samples come from, and the samples."""
    if data is not None:
        return data, golden_inputs(inputs, contract, data)
    made_with = builtin_data(contract)
    if made_with is not None and len(inputs) == 1:
        # Not to be had offline, or of another shape: random samples prove as much.
        with contextlib.suppress(DataError):
            return made_with, golden_inputs(inputs, contract, made_with)
    return None, golden_inputs(inputs, contract, None)


def _check_alike(one: _Source, other: _Source) -> None:
    """Check that two models take the same inputs and give the same outputs."""

    def signature(source: _Source) -> list[tuple[Any, ...]]:
        tensors: list[InputSpec | OutputSpec] = [*source.contract.inputs]
        tensors += source.contract.outputs
        return [(tensor.name, tensor.dtype, tensor.shape[1:]) for tensor in tensors]

    if signature(one) != signature(other):
        raise ModelError(
            f"'{one.path}' and '{other.path}' have other inputs or outputs; "
            "name a model beside it that was made from the same one."
        )


def _variants(files: list[str], sources: list[_Source]) -> tuple[Variant, ...]:
    kinds = ["int8" if source.quantized else "float32" for source in sources]
    names = kinds if len(set(kinds)) == len(kinds) else [source.path.stem for source in sources]
    return tuple(
        Variant(
            file,
            name,
            source.path.stat().st_size,
            source.contract.session.disabled_optimizers,
        )
        for file, name, source in zip(files, names, sources, strict=True)
    )


def _runtime_version() -> str:
    from toolkit.runtime.session import import_onnxruntime

    return str(import_onnxruntime().__version__)


def _check_folder(folder: Path) -> Path:
    if folder.exists() or folder.is_symlink():
        raise OutputError(f"'{folder}' exists already; remove it, or name another folder.")
    parent = folder.absolute().parent
    if not parent.is_dir():
        raise OutputError(f"'{folder}': the folder '{parent}' does not exist; create it first.")
    if not os.access(parent, os.W_OK):
        raise OutputError(f"'{folder}': the folder '{parent}' is not writable.")
    return folder


@contextlib.contextmanager
def _whole_folder(folder: Path) -> Iterator[Path]:
    """Give a temporary folder beside ``folder`` and rename it there when the block succeeds."""
    try:
        temporary = Path(tempfile.mkdtemp(dir=folder.absolute().parent, prefix=f".{folder.name}-"))
        try:
            temporary.chmod(0o755)
            yield temporary
            temporary.rename(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        raise OutputError(f"'{folder}' cannot be written: {error.strerror or error}.") from error
