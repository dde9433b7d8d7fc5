"""Float against int8 of the zoo's MNIST CNN, side by side in one process, one core, batch 1.

    python bench/int8_speed.py [MODEL.onnx]

Prints p50 of both in microseconds, their ratio, and what onnxruntime's own quantizer gives with
its defaults (QDQ, per-channel). The files run in a plain onnxruntime session: no session option
is needed. Quote the ratio; the times are this machine's.
"""

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

from toolkit.datasets import load_dataset, sample
from toolkit.quantization import quantize
from toolkit.recipes import find_model

ROUNDS, CALLS = 60, 60


class Reader(CalibrationDataReader):  # type: ignore[misc]
    """Feeds onnxruntime's own calibration."""

    def __init__(self, name: str, images: np.ndarray) -> None:
        self._feeds = iter([{name: part} for part in np.array_split(images, 10)])

    def get_next(self) -> dict[str, np.ndarray] | None:
        """Return the next batch, or None behind the last."""
        return next(self._feeds, None)


def session(path: Path) -> Any:
    """Open a file on one core, with no other option."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def main() -> None:
    """Quantize both ways, time, print."""
    source = find_model(sys.argv[1] if len(sys.argv) > 1 else "mnist_cnn", ".onnx")
    data = load_dataset("mnist")
    images = np.asarray(sample(data.training, 200, 0).images[:])[..., None]
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = Path(folder) / "ours.onnx", Path(folder) / "theirs.onnx"
        quantize(source, ours, data="mnist")
        name = session(source).get_inputs()[0].name
        quantize_static(
            source, theirs, Reader(name, images), per_channel=True,
            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
        )  # fmt: skip
        sessions = {
            "float": session(source),
            "int8 (toolkit)": session(ours),
            "int8 (onnxruntime's quantizer)": session(theirs),
        }
        times: dict[str, list[int]] = {key: [] for key in sessions}
        order = np.random.default_rng(0)
        for _ in range(ROUNDS):
            for key in order.permutation(list(sessions)):
                for index in range(CALLS):
                    feed = {name: images[index : index + 1]}
                    start = time.perf_counter_ns()
                    sessions[key].run(None, feed)
                    times[key].append(time.perf_counter_ns() - start)
    baseline = float(np.median(times["float"]))
    for key, values in times.items():
        p50 = float(np.median(values))
        print(f"{key:32} p50 {p50 / 1000:7.1f} us   ratio {p50 / baseline:.2f}")


if __name__ == "__main__":
    main()
