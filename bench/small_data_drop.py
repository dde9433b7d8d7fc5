"""What int8 costs a model in accuracy when the test set is all the data that there is.

    python bench/small_data_drop.py MODEL(.h5|.keras|.onnx) IMAGES.npz

IMAGES.npz holds pictures "x" and class indices "y", such as the 200 pictures with which MLPerf Tiny
checks its ResNet-8. Each half calibrates the model that is measured on the other half: no picture
measures a model that it calibrated, no label is shown to the quantizer, and all pictures count.
Exit status 1 when int8 loses more than 0.5 points of top-1, or a file is larger than 40 % of float.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

import toolkit
from toolkit.runtime import load

DROP_GOAL, SIZE_GOAL = 0.5, 0.4


def right(path: Path, images: np.ndarray, labels: np.ndarray) -> int:
    """Return how many pictures a model gets right."""
    model = load(path, provider="cpu", threads=1)
    spec = model.contract.inputs[0]
    scores = model.run({spec.name: images.astype(spec.dtype)})[model.contract.outputs[0].name]
    return int(np.count_nonzero(scores.argmax(axis=1) == labels))


def main() -> None:
    """Quantize twice, print the figures, and exit with 1 when a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--recipe", default="int8")
    options = parser.parse_args()
    with np.load(options.images) as archive:
        images, labels = archive["x"], archive["y"]
    halves = np.arange(len(images)) % 2
    with tempfile.TemporaryDirectory() as folder:
        model = options.model
        if model.suffix != ".onnx":
            model = Path(folder) / "float.onnx"
            toolkit.export(options.model, model)
        spec = load(model, provider="cpu").contract.inputs[0]
        before = right(model, images, labels)
        after, size = 0, 0.0
        for half in (0, 1):
            output = Path(folder) / f"int8-{half}.onnx"
            feed = {spec.name: images[halves == half].astype(spec.dtype)}
            result = toolkit.quantize(model, output, data=[feed], recipe=options.recipe)
            after += right(output, images[halves != half], labels[halves != half])
            size = max(size, result.size_bytes / result.source_size_bytes)
            print(
                f"calibrated with {result.samples} pictures of half {half}: "
                f"{len(result.int8_nodes)} nodes in int8, {len(result.float_nodes)} in float; "
                f"{result.size_bytes:,} of {result.source_size_bytes:,} bytes"
            )
    drop = 100 * (before - after) / len(images)
    print(f"right of {len(images)}: {before} in float, {after} in int8")
    print(f"drop {drop:.2f} points (at most {DROP_GOAL}), file {100 * size:.1f} % of float "
          f"(at most {100 * SIZE_GOAL:.0f} %)")  # fmt: skip
    sys.exit(0 if drop <= DROP_GOAL and size <= SIZE_GOAL else 1)


if __name__ == "__main__":
    main()
