"""int8 operators in the shapes that a graph could give them, alone, on one core, batch 1.

    python bench/operator_times.py [--rounds 20]

Prints microseconds, with that of an Identity first: what a call costs. docs/int8-speed.md tells
what follows. The shapes are those of the MNIST CNN and of MobileNet 0.25 at 96 x 96.
"""

import argparse
import os
import sys
from typing import Any

import numpy as np
import onnx
from node_times import CALLS, WARM_UP, bound, session  # the script beside this one
from onnx import TensorProto, helper, numpy_helper
from onnxruntime import GraphOptimizationLevel

from toolkit.measuring.latency import time_calls

Model = onnx.ModelProto
MICROSOFT = "com.microsoft"
RANDOM = np.random.default_rng(0)
KINDS = {np.uint8: TensorProto.UINT8, np.int8: TensorProto.INT8, np.float32: TensorProto.FLOAT}


def single(
    operator: str, shape: list[int], *constants: Any, kinds: Any, **attributes: Any
) -> Model:
    """Return a model of one operator on an input of a shape; a constant of None is left out."""
    names, tensors = ["x"], []
    for index, array in enumerate(constants):
        names.append("" if array is None else f"c{index}")
        if array is not None:
            tensors.append(numpy_helper.from_array(np.asarray(array), names[-1]))
    domain = attributes.pop("domain", MICROSOFT)
    node = helper.make_node(operator, names, ["y"], domain=domain, **attributes)
    entry = helper.make_tensor_value_info("x", KINDS[kinds[0]], ["batch", *shape])
    end = helper.make_tensor_value_info("y", KINDS[kinds[1]], None)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(MICROSOFT, 1)]
    graph = helper.make_graph([node], "one", [entry], [end], tensors)
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def codes(*shape: int) -> Any:
    """Return int8 weights."""
    return RANDOM.integers(-127, 128, shape).astype(np.int8)


def scales(channels: int | None) -> tuple[Any, Any]:
    """Return weight scales and zero points, for each channel or one for all."""
    if channels is None:
        return np.float32(0.002), np.int8(0)
    return np.full(channels, 0.002, np.float32), np.zeros(channels, np.int8)


def convolution(shape: list[int], out: int, kernel: list[int], **attributes: Any) -> Model:
    """Return a convolution in NHWC, as onnxruntime runs it."""
    group = attributes.get("group", 1)
    weight = codes(out, shape[-1] // group, *kernel)
    step, zero = np.float32(0.02), np.uint8(0)
    bias = np.zeros(out, np.int32)
    more = {"channels_last": 1, "kernel_shape": kernel, **attributes}
    kinds = (np.uint8, np.uint8)
    constants = (step, zero, weight, *scales(out), np.float32(0.1), zero, bias)
    return single("QLinearConv", shape, *constants, kinds=kinds, **more)


def dense(rows: int, columns: int, *, per_column: bool, to_float: bool = False) -> Model:
    """Return a dense layer."""
    out = () if to_float else (np.float32(0.1), np.uint8(0))
    constants = (np.float32(0.02), np.uint8(0), codes(rows, columns))
    more = (*scales(columns if per_column else None), np.zeros(columns, np.int32), *out)
    kinds = (np.uint8, np.float32 if to_float else np.uint8)
    return single("QGemm", [rows], *constants, *more, kinds=kinds)


def blocks_of_bits(rows: int, columns: int, bits: int) -> Model:
    """Return a product with weights of few bits, in blocks of 32."""
    packed = RANDOM.integers(0, 256, (columns, rows // 32, 4 * bits)).astype(np.uint8)
    steps = np.full(columns * rows // 32, 0.01, np.float32)
    sizes = {"K": rows, "N": columns, "bits": bits, "block_size": 32, "accuracy_level": 4}
    kinds = (np.float32, np.float32)
    return single("MatMulNBits", [rows], packed, steps, kinds=kinds, **sizes)


def pooling(shape: list[int], kernel: list[int]) -> Model:
    """Return a maximum pooling in NHWC."""
    sizes = {"kernel_shape": kernel, "strides": kernel}
    return single("NhwcMaxPool", shape, kinds=(np.uint8, np.uint8), **sizes)


def plain(operator: str, shape: list[int], *constants: Any, **attributes: Any) -> Model:
    """Return one of ONNX's own operators on bytes."""
    kinds = (np.uint8, np.uint8)
    return single(operator, shape, *constants, kinds=kinds, domain="", **attributes)


def models() -> dict[str, Model]:
    """Return what is timed, by what it is."""
    same, down = {"pads": [1, 1, 1, 1]}, {"pads": [0, 0, 1, 1]}
    start, end, axes = np.zeros(2, np.int64), np.full(2, 26), np.array([1, 2])
    return {
        "Identity: the call alone": plain("Identity", [28, 28, 1]),
        "picture: Slice of both borders": plain("Slice", [28, 28, 1], start, end, axes),
        "picture: Pad with negative sizes": plain(
            "Pad", [28, 28, 1], np.array([0, 0, 0, 0, 0, -2, -2, 0])
        ),
        "MNIST first: as it is": convolution([26, 26, 1], 32, [3, 3]),
        "MNIST first: 4 columns as channels": convolution([26, 7, 4], 128, [3, 2]),
        "MNIST first: the same, without Slice": convolution([28, 7, 4], 128, [5, 2]),
        "MNIST first: 2 rows, 4 columns": convolution([26, 7, 4], 256, [4, 2], strides=[2, 1]),
        "MNIST first: pooling behind it": pooling([24, 24, 32], [2, 2]),
        "MNIST second": convolution([12, 12, 32], 64, [3, 3]),
        "MNIST second: patches ready": convolution([10, 10, 288], 64, [1, 1]),
        "MNIST second: a ninth of the products": convolution([10, 10, 32], 64, [1, 1]),
        "MNIST dense: a scale per column": dense(1600, 128, per_column=True),
        "MNIST dense: one scale": dense(1600, 128, per_column=False),
        "MNIST dense: one scale, float out": dense(1600, 128, per_column=False, to_float=True),
        "MNIST dense: as a 5 x 5 convolution": convolution([5, 5, 64], 128, [5, 5]),
        "MNIST dense: weights of 4 bits": blocks_of_bits(1600, 128, 4),
        "MNIST dense: weights of 8 bits": blocks_of_bits(1600, 128, 8),
        "MNIST last: a scale per column": dense(128, 10, per_column=True, to_float=True),
        "MobileNet first: as it is": convolution([96, 96, 3], 8, [3, 3], strides=[2, 2], **down),
        "MobileNet first: 2 columns": convolution([96, 24, 12], 16, [3, 2], strides=[2, 1], **down),
        "MobileNet first: 4 columns": convolution([96, 12, 24], 32, [3, 2], strides=[2, 1], **down),
        "MobileNet depthwise: 8 channels": convolution([48, 48, 8], 8, [3, 3], group=8, **same),
        "MobileNet depthwise: filled up to 16": convolution(
            [48, 48, 16], 16, [3, 3], group=16, **same
        ),
        "MobileNet depthwise: dense, 4 columns": convolution([48, 12, 32], 32, [3, 3], **same),
    }


def main() -> int:
    """Time all of them in interleaved rounds, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    opened = {}
    for name, model in models().items():
        part = session(model.SerializeToString(), GraphOptimizationLevel.ORT_ENABLE_ALL)
        entry = part.get_inputs()[0]
        kind = "uint8" if "uint8" in entry.type else "float32"
        feed = {"x": RANDOM.integers(0, 100, (1, *entry.shape[1:])).astype(kind)}
        opened[name] = part.run_with_iobinding, bound(part, feed)
    times: dict[str, list[float]] = {name: [] for name in opened}
    for _ in range(rounds):
        for name in RANDOM.permutation(list(opened)):
            run, binding = opened[name]
            time_calls(lambda run=run, binding=binding: run(binding), WARM_UP)
            calls = time_calls(lambda run=run, binding=binding: run(binding), CALLS)
            times[name].append(float(np.median(calls)) / 1000)
    for name, found in times.items():
        print(f"{name:40} {np.median(found):7.2f} us")
    return 0


if __name__ == "__main__":
    sys.exit(main())
