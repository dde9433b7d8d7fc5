import tracemalloc
from pathlib import Path

import numpy as np
import onnx
import pytest
from quantization_models import cnn, dense, pictures

from toolkit.quantization.calibration import Ranges, calibrate
from toolkit.quantization.recipe import Activations, Calibration, RangeMethod
from toolkit.quantization.samples import Samples
from toolkit.runtime.loading import load

NAMES = ["r1", "p1", "r2", "f", "logits"]


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def samples_of(path: Path, images: np.ndarray) -> Samples:
    return Samples((load(path).contract.inputs[0],), {"image": images})


def ranges(
    path: Path, count: int, method: RangeMethod = "minmax", key: str | None = None
) -> Ranges:
    return calibrate(
        onnx.load(path),
        NAMES,
        samples_of(path, pictures(count)),
        Calibration(method=method),
        Activations(),
        samples_key=key,
    )


def test_minmax_equals_the_extremes_of_all_activations(tmp_path: Path) -> None:
    import onnxruntime

    path = cnn(tmp_path / "cnn.onnx")
    found = ranges(path, 150)
    exposed = onnx.load(path)
    for name in NAMES:
        exposed.graph.output.append(onnx.helper.make_tensor_value_info(name, 1, None))
    session = onnxruntime.InferenceSession(
        exposed.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    for name, values in zip(
        NAMES, session.run(NAMES, {"image": pictures(150)[..., None]}), strict=True
    ):
        assert found.ranges[name] == pytest.approx((values.min(), values.max()), rel=1e-5)
    assert found.samples == 150


@pytest.mark.parametrize("method", ["minmax", "moving_average", "percentile", "entropy", "mse"])
def test_memory_does_not_grow_with_the_samples(tmp_path: Path, method: RangeMethod) -> None:
    path = cnn(tmp_path / "cnn.onnx")
    peaks = []
    for count in (100, 500):
        samples = samples_of(path, pictures(count))
        tracemalloc.start()
        calibrate(onnx.load(path), NAMES, samples, Calibration(method=method), Activations())
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]


def test_growth_is_the_last_quarters_part_of_the_widest_change(tmp_path: Path) -> None:
    path = cnn(tmp_path / "cnn.onnx")
    images = pictures(400)
    images[:300] //= 4  # the last quarter is four times as bright
    dark = calibrate(onnx.load(path), NAMES, samples_of(path, images), Calibration(), Activations())
    assert dark.growth > 0.3
    assert not dark.settled
    assert dark.growing in NAMES
    assert ranges(path, 400).settled


def test_a_model_with_a_fixed_batch_is_calibrated(tmp_path: Path) -> None:
    path = cnn(tmp_path / "cnn.onnx")
    fixed = onnx.load(path)
    fixed.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 4
    del fixed.metadata_props[:]
    onnx.save(fixed, tmp_path / "fixed.onnx")
    # 150 is no multiple of 4: the last batch is filled up, and its copies are not counted.
    expected = ranges(path, 150).ranges
    for name, found in ranges(tmp_path / "fixed.onnx", 150).ranges.items():
        assert found == pytest.approx(expected[name], rel=1e-5)


def test_the_range_of_a_float_input_is_that_of_the_samples(tmp_path: Path) -> None:
    path = dense(tmp_path / "dense.onnx")
    values = np.random.default_rng(0).normal(size=(30, 8)).astype(np.float32)
    samples = Samples((load(path).contract.inputs[0],), {"x0": values})
    found = calibrate(onnx.load(path), ["x0", "y"], samples, Calibration(), Activations())
    assert found.ranges["x0"] == (values.min(), values.max())


def test_ranges_are_remembered_by_graph_samples_and_method(
    tmp_path: Path, empty_cache: Path
) -> None:
    path = cnn(tmp_path / "cnn.onnx")
    first = ranges(path, 50, key="fifty")
    assert len(list(empty_cache.rglob("*.json"))) == 1
    # The same key with other samples: what was remembered is returned.
    assert ranges(path, 80, key="fifty") == first
    assert ranges(path, 80, key="eighty").samples == 80
    assert ranges(path, 50, "mse", key="fifty") != first
    assert len(list(empty_cache.rglob("*.json"))) == 3


@pytest.mark.parametrize("content", ["", "{", "[]", '{"ranges": {"r1": [0]}}', '{"ranges": 3}'])
def test_a_damaged_memory_is_measured_again(
    tmp_path: Path, empty_cache: Path, content: str
) -> None:
    path = cnn(tmp_path / "cnn.onnx")
    first = ranges(path, 50, key="fifty")
    (file,) = empty_cache.rglob("*.json")
    file.write_text(content)
    assert ranges(path, 50, key="fifty") == first


def test_a_cache_that_cannot_be_written_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert ranges(cnn(tmp_path / "cnn.onnx"), 20, key="twenty").samples == 20
