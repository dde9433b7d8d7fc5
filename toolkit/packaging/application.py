"""What the templates know about a model: its tensors with every size fixed, in plain words."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from toolkit.contract import Color, Contract, InputSpec, Layout, OutputKind, Preparation
from toolkit.errors import ModelError

Target = Literal["python", "c", "cpp", "node", "web"]
TARGETS: tuple[str, ...] = get_args(Target)

# The element types that all five languages have.
DTYPES = ("uint8", "int8", "int32", "int64", "float32", "float64")


@dataclass(frozen=True)
class Picture:
    """How pictures become an input tensor.

    Attributes:
        layout: Where height, width and channels stand in the shape.
        color: What the channels are.
        preparation: "resize", or "mnist" for what the makers of MNIST did.
        height: Rows, in pixels.
        width: Columns, in pixels.
        channels: 1 or 3.
        scale: One factor per channel that the caller applies, or None when the graph takes pixels.
        offset: What is added afterwards, one per channel, or None.
    """

    layout: Layout
    color: Color
    preparation: Preparation
    height: int
    width: int
    channels: int
    scale: tuple[float, ...] | None
    offset: tuple[float, ...] | None


@dataclass(frozen=True)
class Tensor:
    """One input or output of one run, with every size known; an open batch is 1."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    picture: Picture | None = None
    kind: OutputKind = "raw"
    labels: tuple[str, ...] | None = None

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def batch(self) -> int:
        """The number of samples that one run takes."""
        return self.shape[0] if self.shape else 1


@dataclass(frozen=True)
class Variant:
    """A model file of the package.

    Attributes:
        file: Its name in the package.
        name: What people call it: "int8", "float32", or the name of the file that it came from.
        size_bytes: Its size.
        disabled_optimizers: Graph optimizers of onnxruntime that its contract has left out.
    """

    file: str
    name: str
    size_bytes: int
    disabled_optimizers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Application:
    """Everything that a template may mention.

    Attributes:
        name: The model's name, as its contract has it: any text.
        origin: The file name that the model was packaged from.
        inputs: The input tensors of one run.
        outputs: The output tensors of one run.
        variants: The model, and the one beside it if there is one.
        runtime: The version of onnxruntime that made the golden samples.
        golden_runs: How many runs the golden samples take.
        tolerances: How far each output may be off elsewhere; 0 means bit for bit.
        threads: Threads inside one operator; small models are fastest with one.
    """

    name: str
    origin: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    variants: tuple[Variant, ...]
    runtime: str
    golden_runs: int
    tolerances: tuple[float, ...]
    threads: int = 1

    @property
    def interface(self) -> int:
        """The version of onnxruntime's C interface that native programs ask for.

        Older ones do not know the option that leaves graph optimizers out, and would ignore it.
        """
        return 18 if self.variants[0].disabled_optimizers else 17

    @property
    def classifies(self) -> bool:
        """Whether the first output holds classes."""
        output = self.outputs[0]
        return output.kind in ("probabilities", "logits") and output.dtype.startswith("float")

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes in words: the contract's labels, or the numbers from 0; empty without."""
        if not self.classifies:
            return ()
        output = self.outputs[0]
        count = max(2, output.size // output.batch)  # one column is a binary classifier
        return output.labels or tuple(str(index) for index in range(count))


def input_tensors(contract: Contract, target: Target, origin: Path) -> tuple[Tensor, ...]:
    """Return the inputs of one run.

    Raises:
        ModelError: A size other than the batch is open, an element type is not among `DTYPES`, or
            the target's application cannot feed several inputs.
    """
    if target == "web" and len(contract.inputs) != 1:
        names = ", ".join(f"'{spec.name}'" for spec in contract.inputs)
        raise ModelError(
            f"'{origin}' has the inputs {names}; the web page feeds one. "
            "Package it for python, c, cpp or node."
        )
    for spec in contract.inputs:
        for size in spec.shape[1:]:
            if isinstance(size, str):
                raise ModelError(
                    f"'{origin}': the input '{spec.name}' has the open size '{size}'; an "
                    "application needs it fixed. Export the model with a fixed size."
                )
    return tuple(_input(spec, origin) for spec in contract.inputs)


def output_tensors(
    contract: Contract, shapes: Sequence[tuple[int, ...]], origin: Path
) -> tuple[Tensor, ...]:
    """Return the outputs of one run, with the shapes that a run really gave.

    Raises:
        ModelError: An element type is not among `DTYPES`.
    """
    for spec in contract.outputs:
        _check_dtype(spec.name, spec.dtype, origin)
    return tuple(
        Tensor(spec.name, spec.dtype, shape, kind=spec.kind, labels=spec.labels)
        for spec, shape in zip(contract.outputs, shapes, strict=True)
    )


def _input(spec: InputSpec, origin: Path) -> Tensor:
    _check_dtype(spec.name, spec.dtype, origin)
    shape = tuple(1 if isinstance(size, str) else size for size in spec.shape)
    if spec.image is None:
        return Tensor(spec.name, spec.dtype, shape)
    axes = {"NHWC": (1, 2, 3), "NCHW": (2, 3, 1), "NHW": (1, 2, None)}[spec.image.layout]
    height, width, channels = (1 if axis is None else shape[axis] for axis in axes)
    affine = spec.by_caller
    return Tensor(
        spec.name,
        spec.dtype,
        shape,
        picture=Picture(
            layout=spec.image.layout,
            color=spec.image.color,
            preparation=spec.image.preparation,
            height=height,
            width=width,
            channels=channels,
            scale=None if affine is None else _per_channel(affine.scale, channels),
            offset=None if affine is None else _per_channel(affine.offset, channels),
        ),
    )


def _per_channel(values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    return values * channels if len(values) == 1 else values


def _check_dtype(name: str, dtype: str, origin: Path) -> None:
    if dtype not in DTYPES:
        raise ModelError(
            f"'{origin}': the tensor '{name}' is {dtype}; applications are written for "
            f"{', '.join(DTYPES)}. Export the model with one of them."
        )
