"""The zoo's MNIST CNN in `toolkit.runtime` against the same weights in LiteRT, one core, batch 1.

    python bench/peers/litert.py [--rounds 60] [MODEL.keras]

Needs the extra `peers` (ai-edge-litert) and, to convert, `train` (TensorFlow, in a process of its
own). LiteRT's int8 model is calibrated with 500 training pictures, as ours is. All of them run in
one process on one core, in interleaved rounds; each round opens every model anew.

Our time is that of `predict`: uint8 pixels in, class, confidence and probabilities out. LiteRT's
is measured twice: the same job (uint8 pixels in, class out), and the bare minimum (an int8 tensor
that is ready, set_tensor, invoke, get_tensor). Quote the ratios; the times are this machine's.
"""

import argparse
import contextlib
import itertools
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from toolkit.datasets import load_dataset, sample
from toolkit.exporting import export
from toolkit.measuring.latency import Call, Open, measure
from toolkit.measuring.statistics import compare
from toolkit.quantization import quantize
from toolkit.recipes import find_model
from toolkit.runtime import load

Pixels = npt.NDArray[np.uint8]
Answer = Callable[[Pixels], int]

SAMPLES = 500
MAX_SECONDS = 60
OURS, SAME_JOB, BARE = "toolkit int8, predict", "LiteRT int8, same job", "LiteRT int8, bare call"
OUR_FLOAT, THEIR_FLOAT = "toolkit float, predict", "LiteRT float, same job"


def convert(source: Path, folder: Path) -> None:
    """Write float.tflite and int8.tflite; runs in a process of its own, for TensorFlow's sake."""
    import keras
    import tensorflow as tf

    model = keras.models.load_model(source)
    pictures = pixels(sample(load_dataset("mnist").training, SAMPLES, 0).images)
    # The Keras model takes what the exported one makes of its pixels.
    prepared = pictures[..., np.newaxis].astype(np.float32) / 255
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    (folder / "float.tflite").write_bytes(converter.convert())
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([picture[np.newaxis]] for picture in prepared)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    (folder / "int8.tflite").write_bytes(converter.convert())


def pixels(images: Any) -> Pixels:
    """Return pictures as one array, uint8 [N, 28, 28]."""
    return np.asarray(images[:])


class LiteRT:
    """A .tflite file on one thread; its kernels are XNNPACK's."""

    def __init__(self, path: Path) -> None:
        from ai_edge_litert.interpreter import Interpreter

        with no_stderr():
            self._interpreter = Interpreter(model_path=str(path), num_threads=1)
            self._interpreter.allocate_tensors()
        entry, exit_ = (
            details[0]
            for details in (
                self._interpreter.get_input_details(),
                self._interpreter.get_output_details(),
            )
        )
        self._input, self._output = entry["index"], exit_["index"]
        self._dtype = entry["dtype"]

    def prepare(self, picture: Pixels) -> npt.NDArray[Any]:
        """Return the input tensor of a picture; int8 codes are the pixels minus 128."""
        shaped = picture[np.newaxis, ..., np.newaxis]
        if self._dtype == np.float32:
            return shaped.astype(np.float32) / np.float32(255)
        return (shaped ^ np.uint8(128)).view(np.int8)

    def run(self, tensor: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the scores, [1, classes]."""
        self._interpreter.set_tensor(self._input, tensor)
        self._interpreter.invoke()
        return self._interpreter.get_tensor(self._output)

    def answer(self, picture: Pixels) -> int:
        """Return the class of a picture."""
        return int(self.run(self.prepare(picture)).argmax())


@contextlib.contextmanager
def no_stderr() -> Iterator[None]:
    """Keep LiteRT from printing a line for each model; it writes past Python's sys.stderr."""
    sys.stderr.flush()
    kept = os.dup(2)
    with Path(os.devnull).open("w") as nothing:
        os.dup2(nothing.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def predictor(path: Path) -> Answer:
    """Return what tells the class of a picture, by `toolkit.runtime`."""
    predict = load(path, provider="cpu", threads=1).predict
    return lambda picture: predict(picture).index


def accuracy(answer: Answer, pictures: Pixels, labels: npt.NDArray[Any]) -> float:
    """Return the part of the pictures that is classified right."""
    found = [answer(picture) for picture in pictures]
    return float(np.mean(np.array(found) == labels))


def cycling(open_model: Callable[[], tuple[Callable[[Any], object], list[Any]]]) -> Open:
    """Return what opens a model; each call of it runs on the next of its inputs."""

    def opened() -> Call:
        run, inputs = open_model()
        following = itertools.cycle(inputs).__next__
        return lambda: run(following())

    return opened


def main() -> int:
    """Convert, quantize, time, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", default="mnist_cnn")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--convert", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    source = find_model(arguments.model, ".keras")
    if arguments.convert:
        convert(source, arguments.convert)
        return 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command = [sys.executable, __file__, str(source), "--convert", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            print(done.stderr[-2000:], file=sys.stderr)
            return 1
        exported = export(source, folder / "float.onnx").path
        quantized = quantize(exported, folder / "int8.onnx", data="mnist").path
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        report(folder, exported, quantized, arguments.rounds)
    return 0


def report(folder: Path, exported: Path, quantized: Path, rounds: int) -> None:
    """Measure the four models and print accuracy, times and ratios."""
    test = load_dataset("mnist").test
    pictures, labels = pixels(test.images), np.asarray(test.labels[:])
    answers: dict[str, Callable[[], Answer]] = {
        OURS: lambda: predictor(quantized),
        SAME_JOB: lambda: LiteRT(folder / "int8.tflite").answer,
        OUR_FLOAT: lambda: predictor(exported),
        THEIR_FLOAT: lambda: LiteRT(folder / "float.tflite").answer,
    }
    right = {name: accuracy(open_model(), pictures, labels) for name, open_model in answers.items()}
    few = list(pictures[:100])

    def jobs(open_model: Callable[[], Answer]) -> Open:
        return cycling(lambda: (open_model(), few))

    def bare() -> tuple[Callable[[Any], object], list[Any]]:
        model = LiteRT(folder / "int8.tflite")
        return model.run, [model.prepare(picture) for picture in few]

    models = {name: jobs(open_model) for name, open_model in answers.items()}
    timings = measure({**models, BARE: cycling(bare)}, rounds=rounds, max_seconds=MAX_SECONDS)
    for name in timings.blocks:
        microseconds = np.median(timings.latencies_ns(name)) / 1000
        top1 = f"top-1 {100 * right[name]:.2f} %" if name in right else ""
        print(f"{name:24} p50 {microseconds:7.1f} us   {top1}")
    for ours, theirs in ((OURS, SAME_JOB), (OURS, BARE), (OUR_FLOAT, THEIR_FLOAT)):
        ratio = compare(timings.log_ratios(ours, theirs))
        interval = f"95 % interval {ratio.low:.3f} to {ratio.high:.3f}"
        print(f"{ours} / {theirs:24} {ratio.value:.3f}, {interval}")


if __name__ == "__main__":
    sys.exit(main())
