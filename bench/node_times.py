"""What each node of a model takes, finer than onnxruntime's profiler, which counts microseconds.

    python bench/node_times.py [--rounds 20] MODEL.onnx

The graph as onnxruntime optimizes it is cut off behind each node in turn, and the parts are timed
in interleaved rounds, on one core, with bound buffers. A node's time is the difference between two
parts; it can come out below zero by what the noise is. A node beside another's path counts too.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

from toolkit.measuring.latency import time_calls
from toolkit.recipes import find_model

CALLS, WARM_UP = 200, 20


def session(model: str | bytes, level: Any, optimized: Path | None = None) -> Any:
    """Open a model on one core at an optimization level."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.graph_optimization_level = level
    if optimized is not None:
        options.optimized_model_filepath = str(optimized)
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def cut(model: onnx.ModelProto, place: int) -> Any:
    """Open the first nodes of an optimized graph, up to a place."""
    part = onnx.ModelProto()
    part.CopyFrom(model)
    del part.graph.node[place + 1 :]
    del part.graph.output[:]
    types = onnx.TensorProto
    for kind in (types.FLOAT, types.UINT8, types.INT8, types.INT32, types.INT64):
        del part.graph.output[:]
        name = model.graph.node[place].output[0]
        part.graph.output.append(onnx.helper.make_tensor_value_info(name, kind, None))
        try:
            return session(
                part.SerializeToString(), onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
            )
        # The type of the output is another; onnxruntime's exceptions share no base class.
        except Exception:  # noqa: S112
            continue
    raise SystemExit(f"'{name}' has a type that is not foreseen here")


def bound(part: Any, feed: dict[str, Any]) -> Any:
    """Bind input and output of a part to memory that stays."""
    binding = part.io_binding()
    for name, array in feed.items():
        binding.bind_cpu_input(name, array)
    first = part.get_outputs()[0].name
    binding.bind_ortvalue_output(
        first, onnxruntime.OrtValue.ortvalue_from_numpy(part.run([first], feed)[0])
    )
    return binding


def main() -> int:
    """Optimize, cut, time, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--rounds", type=int, default=20)
    arguments = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "optimized.onnx"
        everything = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        whole = session(str(find_model(arguments.model, ".onnx")), everything, path)
        model = onnx.load(path)
    random = np.random.default_rng(0)
    feed = {}
    for entry in whole.get_inputs():
        shape = [size if isinstance(size, int) else 1 for size in entry.shape]
        pixels = random.integers(0, 256, shape)
        feed[entry.name] = pixels.astype("uint8" if "uint8" in entry.type else "float32")
    parts = [cut(model, place) for place in range(len(model.graph.node))]
    bindings = [bound(part, feed) for part in parts]
    times = np.zeros((arguments.rounds, len(parts)))
    for row in times:
        for place in random.permutation(len(parts)):
            run, binding = parts[place].run_with_iobinding, bindings[place]
            time_calls(lambda run=run, binding=binding: run(binding), WARM_UP)
            calls = time_calls(lambda run=run, binding=binding: run(binding), CALLS)
            row[place] = np.median(calls) / 1000
    before = 0.0
    for node, total in zip(model.graph.node, np.median(times, axis=0), strict=True):
        print(f"{total - before:8.2f} us  {total:8.2f} us  {node.op_type:20} {node.output[0]}")
        before = float(total)
    return 0


if __name__ == "__main__":
    sys.exit(main())
