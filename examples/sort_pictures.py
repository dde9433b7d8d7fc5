"""Sorts pictures into one folder per class, and those that the model is unsure of into "unsure".

    python examples/sort_pictures.py MODEL FOLDER SORTED

Embeds a model with `toolkit.runtime`, which needs numpy and onnxruntime only (and Pillow, because
it reads pictures). The pictures are copied; nothing is moved or overwritten.
"""

import argparse
import shutil
import sys
from collections import Counter
from pathlib import Path

from toolkit.errors import DataError, ModelError, ToolkitError
from toolkit.runtime import load

UNSURE = "unsure"


def sort_pictures(model_path: Path, folder: Path, target: Path, threshold: float) -> Counter[str]:
    """Copy every picture of a folder under its label; return how many went where.

    Args:
        model_path: An ONNX file that takes pictures.
        folder: The pictures; files that are none are skipped.
        target: Gets one folder per label.
        threshold: Least confidence, in [0, 1], for a picture to be sorted.

    Raises:
        DataError: There is no such folder.
        ModelError: The model cannot be loaded or does not classify pictures.
    """
    if not folder.is_dir():
        raise DataError(f"'{folder}' is no folder; name the one with the pictures.")
    model = load(model_path, threads=1)
    if model.contract.inputs[0].image is None:
        raise ModelError(f"'{model_path}' takes no pictures.")
    counts: Counter[str] = Counter()
    for path in sorted(folder.iterdir()):
        try:
            prediction = model.predict(path)
        except DataError as error:
            print(f"skipped: {error}")
            continue
        label = prediction.label if prediction.confidence >= threshold else UNSURE
        # A label comes out of the model file and may be no folder name: "T-shirt/top", "..".
        place = target / (label.replace("/", "-").lstrip(".") or "-")
        place.mkdir(parents=True, exist_ok=True)
        if not (place / path.name).exists():
            shutil.copy2(path, place)
        counts[label] += 1
        print(f"{path.name}: {prediction.label} ({100 * prediction.confidence:.1f} %)")
    return counts


def main() -> None:
    """Read the command line and print where the pictures went."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="an ONNX file, such as digits.int8.onnx")
    parser.add_argument("folder", type=Path, help="the pictures")
    parser.add_argument("target", type=Path, help="where the folders of the labels go")
    parser.add_argument("--threshold", type=float, default=0.8, help="least confidence, 0 to 1")
    options = parser.parse_args()
    try:
        counts = sort_pictures(options.model, options.folder, options.target, options.threshold)
    except (ToolkitError, OSError) as error:
        sys.exit(f"Error: {error}")
    for label, count in sorted(counts.items()):
        print(f"{count} in {options.target / label}")


if __name__ == "__main__":
    main()
