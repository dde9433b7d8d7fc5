"""Float against int8 of the zoo's MNIST CNN, side by side in one process, one core, batch 1.

    python bench/int8_speed.py [--rounds 100] [--plain MODEL.keras] [MODEL.onnx]

Prints the time ratio of int8 to float with its 95 % interval, and that of what onnxruntime's own
quantizer gives with its defaults (QDQ, per-channel). The float model is our own export, cleaned,
its borders trimmed: the harder one to beat. With --plain, the ratio to what tf2onnx alone makes
of the Keras model (float32 input, no scaling of pixels) is printed as well.

Each round opens every file anew, one at a time, and pairs their medians; see bench/README.md. The
files run in a plain onnxruntime session: no session option but the one core is needed. Quote the
ratio; the times are this machine's.

Exit status 3 when int8 is not faster than float.
"""

import argparse
import itertools
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

from toolkit.datasets import load_dataset, sample
from toolkit.measuring.latency import Call, Open, Timings, measure
from toolkit.measuring.statistics import compare
from toolkit.quantization import quantize
from toolkit.recipes import find_model

FLOAT, OURS, THEIRS = "float", "int8 (toolkit)", "int8 (onnxruntime's quantizer)"
PLAIN = "float (tf2onnx alone)"
MAX_SECONDS = 40

Feed = dict[str, np.ndarray]


class Reader(CalibrationDataReader):  # type: ignore[misc]
    """Feeds onnxruntime's own calibration."""

    def __init__(self, feeds: list[Feed]) -> None:
        self._feeds: Iterator[Feed] = iter(feeds)

    def get_next(self) -> Feed | None:
        """Return the next batch, or None behind the last."""
        return next(self._feeds, None)


def session(path: Path) -> Any:
    """Open a file on one core, with no other option."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def opener(path: Path, feeds: list[Feed]) -> Open:
    """Return what opens the file; each call runs it on the next picture."""

    def open_model() -> Call:
        run, pictures = session(path).run, itertools.cycle(feeds)
        return lambda: run(None, next(pictures))

    return open_model


def report(timings: Timings) -> int:
    """Print p50 and the ratios to float; return the exit status."""
    times = {name: np.median(timings.latencies_ns(name)) / 1000 for name in timings.blocks}
    print(f"{FLOAT:32} p50 {times[FLOAT]:7.1f} us   ({timings.rounds} rounds)")
    ratios = {name: compare(timings.log_ratios(name, FLOAT)) for name in (OURS, THEIRS)}
    for name, ratio in ratios.items():
        interval = f"95 % interval {ratio.low:.3f} to {ratio.high:.3f}"
        print(f"{name:32} p50 {times[name]:7.1f} us   ratio {ratio.value:.3f}, {interval}")
    if PLAIN in times:
        ratio = compare(timings.log_ratios(OURS, PLAIN))
        print(f"{PLAIN:32} p50 {times[PLAIN]:7.1f} us   {OURS} takes {ratio.value:.3f} of it")
    if ratios[OURS].verdict == "faster":
        return 0
    print(f"int8 is not faster than float: {ratios[OURS].verdict}", file=sys.stderr)
    return 3


def export_plainly(source: Path, output: Path) -> None:
    """Export a Keras model by tf2onnx alone; runs in a process of its own."""
    import keras
    import tensorflow as tf
    import tf2onnx

    model = keras.models.load_model(source)
    signature = [tf.TensorSpec(model.input_shape, tf.float32, name="image")]
    function = tf.function(lambda image: model(image, training=False), input_signature=signature)
    tf2onnx.convert.from_function(function, signature, opset=17, output_path=str(output))


def main() -> int:
    """Quantize both ways, time, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", default="mnist_cnn")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--plain", metavar="MODEL.keras", help="The Keras model, or a zoo name.")
    parser.add_argument("--export-plainly", nargs=2, type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.export_plainly:
        export_plainly(*arguments.export_plainly)
        return 0
    source = find_model(arguments.model, ".onnx")
    images = np.asarray(sample(load_dataset("mnist").training, 200, 0).images[:])[..., None]
    name = session(source).get_inputs()[0].name
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = Path(folder) / "ours.onnx", Path(folder) / "theirs.onnx"
        quantize(source, ours, data="mnist")
        quantize_static(
            source, theirs, Reader([{name: part} for part in np.array_split(images, 10)]),
            per_channel=True, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
        )  # fmt: skip
        feeds = [{name: images[index : index + 1]} for index in range(len(images))]
        files = {FLOAT: source, OURS: ours, THEIRS: theirs}
        openers = {key: opener(path, feeds) for key, path in files.items()}
        if arguments.plain:
            plain = Path(folder) / "plain.onnx"
            keras_file = find_model(arguments.plain, ".keras")
            subprocess.run(
                [sys.executable, __file__, "--export-plainly", keras_file, plain],
                check=True,
                capture_output=True,
            )
            floats = [{"image": feed[name].astype(np.float32) / 255} for feed in feeds]
            openers[PLAIN] = opener(plain, floats)
        return report(
            measure(
                openers,
                rounds=arguments.rounds,
                max_seconds=MAX_SECONDS,
            )
        )


if __name__ == "__main__":
    sys.exit(main())
