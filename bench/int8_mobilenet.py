"""Float against int8 of MobileNet 0.25 at 96 x 96, side by side in one process, one core, batch 1.

    python bench/int8_mobilenet.py [--rounds 40]

The network is keras.applications.MobileNet with random weights, biases and statistics of batch
normalization: speed does not depend on them. It is exported and quantized with the default
recipe, calibrated with random pictures. Quote the ratio; the times are this machine's.

Exit status 3 when int8 is not faster than float.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from int8_speed import opener  # the script beside this one

from toolkit.exporting import export
from toolkit.measuring.latency import measure
from toolkit.measuring.statistics import compare
from toolkit.quantization import quantize

FLOAT, INT8 = "float", "int8"
SIZE, PICTURES, BATCH = 96, 64, 8
MAX_SECONDS = 60


def build(path: Path) -> None:
    """Write the Keras model; runs in a process of its own, for TensorFlow's sake."""
    import keras

    keras.utils.set_random_seed(0)
    random = np.random.default_rng(0)
    model = keras.applications.MobileNet(alpha=0.25, input_shape=(SIZE, SIZE, 3), weights=None)
    for layer in model.layers:
        old = layer.get_weights()
        if isinstance(layer, keras.layers.BatchNormalization):
            shape = old[0].shape  # gamma, beta, mean, variance
            limits = ((0.7, 1.3), (-0.3, 0.3), (-0.1, 0.1), (0.5, 1.5))
            layer.set_weights([random.uniform(low, high, shape) for low, high in limits])
        elif len(old) == 2:
            layer.set_weights([old[0], random.uniform(-0.1, 0.1, old[1].shape)])
    model.save(path)


def main() -> int:
    """Build, export, quantize, time, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--build", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.build:
        build(arguments.build)
        return 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = folder / "mobilenet.keras"
        subprocess.run([sys.executable, __file__, "--build", source], check=True)
        exported = export(source, folder / "float.onnx").path
        coarse = np.random.default_rng(0).uniform(-1, 1, (PICTURES, SIZE // 8, SIZE // 8, 3))
        pictures = coarse.repeat(8, axis=1).repeat(8, axis=2).astype(np.float32)
        batches = [{"input_layer": batch} for batch in np.split(pictures, PICTURES // BATCH)]
        quantized = quantize(exported, folder / "int8.onnx", data=batches).path
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        feeds = [{"input_layer": picture[np.newaxis]} for picture in pictures]
        models = {FLOAT: opener(exported, feeds), INT8: opener(quantized, feeds)}
        timings = measure(models, rounds=arguments.rounds, max_seconds=MAX_SECONDS)
    for key in models:
        print(f"{key:8} p50 {np.median(timings.latencies_ns(key)) / 1000:7.1f} us")
    ratio = compare(timings.log_ratios(INT8, FLOAT))
    print(f"int8 / float {ratio.value:.3f}, 95 % interval {ratio.low:.3f} to {ratio.high:.3f}")
    return 0 if ratio.verdict == "faster" else 3


if __name__ == "__main__":
    sys.exit(main())
