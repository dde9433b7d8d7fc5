"""Inputs and what the source makes of them, for the comparison with ONNX. Runs in the child."""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from toolkit.contract import Contract, InputSpec
from toolkit.errors import ModelError
from toolkit.exporting.sources.model import SourceModel
from toolkit.runtime.feeding import to_batch

Array = npt.NDArray[Any]
Source = Literal["real", "random"]

# Dynamic sizes other than the batch take these, so that a size that got fixed is noticed.
_SIZES = (32, 40)
_RANDOM_BATCH = 7
_CALL_ELEMENTS = 2**18  # of an input, in one call of the source
_SEED = 0


@dataclass(frozen=True)
class Case:
    """One batch for the ONNX model and the source's outputs for it.

    Attributes:
        source: "real" samples of a dataset, or "random" ones over the input's range.
        inputs: Tensors in the order of the ONNX model's inputs.
        outputs: The source's outputs in the order of the model's outputs.
    """

    source: Source
    inputs: tuple[Array, ...]
    outputs: tuple[Array, ...]

    @property
    def batch(self) -> int:
        """The number of samples."""
        return len(self.inputs[0])


def make_cases(
    model: SourceModel,
    onnx_inputs: Sequence[InputSpec],
    images: Array | None,
    batch: int | None,
) -> list[Case]:
    """Run the source on real and random samples, at batch 1 and at a larger one.

    Args:
        model: The loaded source.
        onnx_inputs: The inputs of the ONNX model, in the same order.
        images: Samples of a dataset for a model with one input, or None.
        batch: The fixed batch size, or None; when it is fixed there is no other.

    Raises:
        DataError: The images do not fit the model.
        ModelError: An input takes text.
    """
    batches: list[tuple[Source, tuple[Array, ...]]] = []
    if images is not None and len(images) >= (batch or 1):
        prepared = to_batch(images, onnx_inputs[0])
        counts = (len(images), 1) if batch is None else (batch,)
        batches.extend(("real", (prepared[:count],)) for count in counts)
    generator = np.random.default_rng(_SEED)
    for index, count in enumerate((_RANDOM_BATCH, 1) if batch is None else (batch,)):
        arrays = tuple(
            _random(model, spec, before, count, _SIZES[index], generator)
            for spec, before in zip(onnx_inputs, model.contract.inputs, strict=True)
        )
        batches.append(("random", arrays))
    return [
        Case(source, inputs, tuple(run(model, onnx_inputs, inputs, batch)))
        for source, inputs in batches
    ]


def run(
    model: SourceModel,
    onnx_inputs: Sequence[InputSpec],
    inputs: Sequence[Array],
    batch: int | None = None,
) -> list[Array]:
    """Return the source's outputs for what the ONNX model would be fed.

    Unless the batch is fixed, large samples go through the source a few at a time: Keras keeps all
    intermediate results of a call, 900 MB for seven pictures of 224x224 in ResNet50V2.
    """
    tensors = [
        array if spec == before else to_batch(array, before)
        for spec, before, array in zip(onnx_inputs, model.contract.inputs, inputs, strict=True)
    ]
    size = batch or max(1, _CALL_ELEMENTS // max(tensor[0].size for tensor in tensors))
    parts = [
        model.run([tensor[start : start + size] for tensor in tensors])
        for start in range(0, len(tensors[0]), size)
    ]
    if len(parts) == 1:
        return parts[0]
    return [np.concatenate(outputs) for outputs in zip(*parts, strict=True)]


def with_real_shapes(contract: Contract, cases: Sequence[Case]) -> Contract:
    """Return the contract with the output sizes that the cases have, where it has other ones.

    Keras may be wrong about a layer: its Activation says that every function keeps the shape, and
    "glu" halves the last axis.
    """
    real = cases[0].outputs
    return dataclasses.replace(
        contract,
        outputs=tuple(
            dataclasses.replace(
                spec,
                shape=tuple(
                    size if isinstance(said, int) else said
                    for said, size in zip(spec.shape, output.shape, strict=True)
                ),
            )
            if len(spec.shape) == output.ndim
            else spec
            for spec, output in zip(contract.outputs, real, strict=True)
        ),
    )


def save(cases: Sequence[Case], path: Path) -> None:
    """Write cases into an .npz file."""
    arrays: dict[str, Array] = {}
    for index, case in enumerate(cases):
        for kind, tensors in (("input", case.inputs), ("output", case.outputs)):
            for number, tensor in enumerate(tensors):
                arrays[f"{index}/{case.source}/{kind}/{number}"] = tensor
    # numpy's stubs take the keyword allow_pickle for one of the arrays.
    np.savez(path, **arrays)  # type: ignore[arg-type]


def read(path: Path) -> list[Case]:
    """Read the cases that `save` wrote."""
    with np.load(path) as archive:
        return list(_grouped({name: archive[name] for name in archive.files}))


def _grouped(arrays: dict[str, Array]) -> Iterator[Case]:
    heads = dict.fromkeys(tuple(name.split("/")[:2]) for name in arrays)
    for index, source in heads:
        inputs, outputs = (
            tuple(
                array
                for name, array in arrays.items()
                if name.startswith(f"{index}/{source}/{kind}/")
            )
            for kind in ("input", "output")
        )
        yield Case("real" if source == "real" else "random", inputs, outputs)


def _random(
    model: SourceModel,
    spec: InputSpec,
    before: InputSpec,
    count: int,
    size: int,
    generator: np.random.Generator,
) -> Array:
    """Return random samples over the range of an input."""
    shape = (count, *(entry if isinstance(entry, int) else size for entry in spec.sample_shape))
    dtype = _numpy_dtype(spec)
    if dtype.kind in "iu" and dtype.itemsize == 1:  # pixels, or quantized numbers
        info = np.iinfo(dtype)
        return generator.integers(info.min, info.max + 1, shape, dtype)
    if dtype.kind == "b":
        return generator.integers(0, 2, shape).astype(np.bool_)
    if dtype.kind in "iu":
        return generator.integers(0, model.categories, shape).astype(dtype)
    if before.by_caller is not None:
        pixels = generator.integers(0, 256, shape, np.uint8)
        return to_batch(pixels, before)
    scales_itself = model.takes_pixels or before.in_graph is not None
    low, high = (0.0, 255.0) if scales_itself else (-1.0, 1.0)
    return generator.uniform(low, high, shape).astype(dtype)


def _numpy_dtype(spec: InputSpec) -> np.dtype[Any]:
    try:
        return np.dtype(spec.dtype)
    except TypeError as error:
        raise ModelError(
            f"The input '{spec.name}' takes {spec.dtype}, for which ONNX models have no input "
            "here. Give the model numbers: do text and hashing before it."
        ) from error
