"""Input tensors to time a model with when there is no data: right in shape and dtype, random."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from toolkit.contract import InputSpec
from toolkit.errors import ModelError

Array = npt.NDArray[Any]


def input_shape(
    spec: InputSpec, batch: int, sizes: Mapping[str, int], model: str
) -> tuple[int, ...]:
    """Return an input's shape for a batch size.

    Args:
        spec: The input; a first size that is symbolic is the batch.
        batch: Samples per call.
        sizes: What the other symbolic sizes are to be, by name.
        model: What messages call the model.

    Raises:
        ModelError: The model's batch size is fixed at another, or a symbolic size has no value.
    """
    shape: list[int] = []
    for axis, size in enumerate(spec.shape):
        if isinstance(size, int):
            if axis == 0 and len(spec.shape) > 1 and size != batch:
                raise ModelError(
                    f"'{model}' takes batches of {size} only, not {batch}. Use --batch {size}, or "
                    "export it with a dynamic batch."
                )
            shape.append(size)
        elif size in sizes:
            shape.append(sizes[size])
        elif axis == 0:
            shape.append(batch)
        else:
            raise ModelError(
                f"The input '{spec.name}' of '{model}' has the free size '{size}'; say what it is "
                f"to be: --size {size}=128."
            )
    return tuple(shape)


def random_input(spec: InputSpec, shape: tuple[int, ...], seed: int = 0) -> Array:
    """Return a random tensor for an input.

    Floats are uniform in [0, 1), uint8 and int8 span their range, other integers are 0 or 1: an
    index may address a table of any length.

    Raises:
        ModelError: The input takes strings or another dtype that cannot be drawn.
    """
    rng = np.random.default_rng(seed)
    dtype = np.dtype(spec.dtype)
    if dtype.kind == "f":
        return rng.random(shape).astype(dtype)
    if dtype in (np.uint8, np.int8):
        span = np.iinfo(dtype)
        return rng.integers(span.min, span.max, shape, dtype, endpoint=True)
    if dtype.kind in "iub":
        return rng.integers(0, 2, shape).astype(dtype)
    raise ModelError(f"The input '{spec.name}' takes {spec.dtype}, which cannot be made up.")
