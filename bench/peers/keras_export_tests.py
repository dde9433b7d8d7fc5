"""Keras' own tests of its ONNX export, run against this exporter in its place.

    python bench/peers/keras_export_tests.py [pytest options]

The tests are those of the installed Keras (keras/src/export/onnx_test.py, which its wheel ships);
none of their code is here. They hand over models in memory, most of them of classes of their own,
so the exporter gets those in place of a file and does all the rest as for a file: it refuses,
converts, cleans the graph, compares with Keras, and writes. The exit status is pytest's.
"""

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from toolkit.quiet_tensorflow import import_tensorflow


def export_onnx(
    model: Any,
    filepath: str | Path,
    verbose: bool | None = None,
    input_signature: Any = None,
    opset_version: int | None = None,
) -> None:
    """Stand in for keras.src.export.onnx.export_onnx."""
    from toolkit.exporting import child, export, worker
    from toolkit.exporting.sources import keras3

    del verbose
    built = with_inputs(model, input_signature)

    def run_here(job: dict[str, Any], folder: Path, listener: Any, **_: Any) -> dict[str, Any]:
        return worker.TASKS[job["task"]](job, folder, lambda **message: listener(message))

    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.object(worker, "load", lambda source: keras3.describe(built, str(source.path))),
        mock.patch.object(child, "run", run_here),
    ):
        target = Path(folder, "model.onnx")
        export(placeholder(Path(folder)), target, opset=opset_version)
        shutil.move(target, filepath)


def with_inputs(model: Any, signature: Any) -> Any:
    """Return the model behind inputs with the names and shapes of a signature.

    Without a signature a model that has inputs is returned as it is, and one of a class of its own
    gets those that Keras' exporters give it.
    """
    import keras
    from keras.src.export.export_utils import get_input_signature

    if signature is None:
        if getattr(model, "inputs", None):
            return model
        signature = get_input_signature(model)
    inputs = keras.tree.map_structure(
        lambda spec: keras.Input(tuple(spec.shape[1:]), dtype=spec.dtype, name=spec.name),
        list(signature),
    )
    return keras.Model(inputs, model(*inputs))


def placeholder(folder: Path) -> Path:
    """Return a model file to name in the call; what is exported is the model in memory."""
    import keras

    path = folder / "model.keras"
    keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)]).save(path)
    return path


def main() -> int:
    """Run the tests; return pytest's exit status."""
    import_tensorflow()
    from keras.src.export import onnx, onnx_test

    with mock.patch.object(onnx, "export_onnx", export_onnx):
        # Without a configuration: that of this repository is about its own tests.
        own = ["-c", "/dev/null", "-p", "no:cacheprovider", "-q", "-rs", "-W", "ignore"]
        return int(pytest.main([*own, *sys.argv[1:], str(onnx_test.__file__)]))


if __name__ == "__main__":
    sys.exit(main())
