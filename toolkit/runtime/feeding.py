"""From arrays of samples to the tensor that a model's contract asks for."""

from typing import Any

import numpy as np
import numpy.typing as npt

from toolkit.contract import InputSpec
from toolkit.errors import DataError


def to_batch(samples: npt.NDArray[Any], spec: InputSpec) -> npt.NDArray[Any]:
    """Return the input tensor for samples [N, ...]: shape, preprocessing and dtype of ``spec``.

    Samples are raw: pixels as decoded. A missing channel axis is added, channels are moved to
    where the layout has them, the preprocessing that the contract leaves to the caller is applied
    here, and the dtype is cast: integers where no value can be lost (uint8 to float32), floating
    point to any other floating point. An array that already fits is returned as it is.

    Raises:
        DataError: The shape or the dtype does not fit (the message names both), or pictures look
            as if they were preprocessed already.
    """
    shaped = _shaped(samples, spec)
    if spec.by_caller is not None:
        _refuse_preprocessed(shaped, spec)
        scale = np.asarray(spec.by_caller.scale, np.float32)
        offset = np.asarray(spec.by_caller.offset, np.float32)
        if spec.image is not None and spec.image.layout == "NCHW":
            scale, offset = scale.reshape(-1, 1, 1), offset.reshape(-1, 1, 1)
        shaped = shaped.astype(np.float32) * scale + offset
    if shaped.dtype == spec.dtype:
        return shaped
    if not np.can_cast(shaped.dtype, spec.dtype, "same_kind") or (
        shaped.dtype.kind != "f" and not np.can_cast(shaped.dtype, spec.dtype, "safe")
    ):
        raise DataError(
            f"Input '{spec.name}' takes {spec.dtype}, the data is {shaped.dtype}. "
            "Convert the data, or export the model with another --input."
        )
    return shaped.astype(spec.dtype)


def _refuse_preprocessed(samples: npt.NDArray[Any], spec: InputSpec) -> None:
    """Refuse pictures in [0, 1] where the contract divides pixels of 0 to 255."""
    assert spec.by_caller is not None  # noqa: S101 - the caller checked it
    divides = max(spec.by_caller.scale) <= 1 / 100
    if spec.image is None or samples.dtype.kind != "f" or not divides or samples.size == 0:
        return
    if float(np.abs(samples).max()) <= 1:
        raise DataError(
            f"Input '{spec.name}' is given raw pixels, 0 to 255, and scaled here; this array "
            "holds floating point numbers in [-1, 1], as if it were scaled already. Give the raw "
            "pixels, or use run() with tensors that are ready."
        )


def _shaped(samples: npt.NDArray[Any], spec: InputSpec) -> npt.NDArray[Any]:
    if _fits(samples.shape[1:], spec):
        return samples
    if spec.image is not None:
        if samples.ndim == 3 and spec.image.color == "grayscale":
            axis = {"NHWC": 3, "NCHW": 1, "NHW": None}[spec.image.layout]
            widened = samples if axis is None else np.expand_dims(samples, axis)
            if _fits(widened.shape[1:], spec):
                return widened
        if samples.ndim == 4 and spec.image.layout == "NCHW":
            moved = np.ascontiguousarray(np.moveaxis(samples, 3, 1))
            if _fits(moved.shape[1:], spec):
                return moved
        if samples.ndim == 4 and spec.image.layout == "NHW" and samples.shape[3] == 1:
            return _shaped(samples[..., 0], spec)
    wanted = ", ".join(str(size) for size in spec.shape)
    raise DataError(
        f"Input '{spec.name}' takes [{wanted}], the data has {list(samples.shape)}. "
        "Give data of the size that the model was trained on."
    )


def _fits(shape: tuple[int, ...], spec: InputSpec) -> bool:
    wanted = spec.sample_shape
    return len(shape) == len(wanted) and all(
        isinstance(size, str) or size == actual for size, actual in zip(wanted, shape, strict=True)
    )
