import json
import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from quantization_models import cnn, dense, pictures

from toolkit.quantization import range_cache
from toolkit.quantization.calibration import Ranges, calibrate
from toolkit.quantization.recipe import Activations, Calibration, RangeMethod
from toolkit.quantization.samples import Samples
from toolkit.runtime.loading import load

NAMES = ["r1", "p1", "r2", "f", "logits"]


@pytest.fixture
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


DAMAGED = [
    b"",
    b"{",
    b"[]",
    b"\xff\xfe",
    b"[" * 100_000,
    b'{"ranges": {"r1": [0]}}',
    b'{"ranges": 3}',
]


@pytest.mark.parametrize("content", DAMAGED, ids=lambda content: str(content[:24]))
def test_a_damaged_memory_is_measured_again(
    tmp_path: Path, empty_cache: Path, content: bytes
) -> None:
    path = cnn(tmp_path / "cnn.onnx")
    first = ranges(path, 50, key="fifty")
    (file,) = empty_cache.rglob("*.json")
    whole = file.read_bytes()
    file.write_bytes(content)
    assert ranges(path, 50, key="fifty") == first
    assert file.read_bytes() == whole  # and remembered again


WRONG = [
    ("ranges", {name: [1.0, -1.0] for name in NAMES}),
    ("ranges", {name: [0.0, float("nan")] for name in NAMES}),
    ("ranges", {name: [0.0, 10**400] for name in NAMES}),
    ("ranges", {"r1": [0.0, 1.0]}),
    ("samples", float("inf")),
    ("growth", float("nan")),
]


@pytest.mark.parametrize(("field", "value"), WRONG)
def test_values_that_cannot_be_are_measured_again(
    tmp_path: Path, empty_cache: Path, field: str, value: object
) -> None:
    path = cnn(tmp_path / "cnn.onnx")
    first = ranges(path, 50, key="fifty")
    (file,) = empty_cache.rglob("*.json")
    file.write_text(json.dumps({**json.loads(file.read_text()), field: value}))
    assert ranges(path, 50, key="fifty") == first


@pytest.mark.parametrize("place", ["a file", "/proc/none", "no home"])
def test_a_cache_that_cannot_be_written_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    (tmp_path / "file").write_text("in the way")
    if place == "no home":

        def unknown(uid: int) -> None:
            raise KeyError(uid)

        monkeypatch.delenv("XDG_CACHE_HOME")
        monkeypatch.delenv("HOME", raising=False)
        monkeypatch.setattr("pwd.getpwuid", unknown)
    else:
        where = str(tmp_path / "file") if place == "a file" else place
        monkeypatch.setenv("XDG_CACHE_HOME", where)
    assert ranges(cnn(tmp_path / "cnn.onnx"), 20, key="twenty").samples == 20


def test_a_home_that_cannot_be_written_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/proc")
    assert ranges(cnn(tmp_path / "cnn.onnx"), 20, key="twenty").samples == 20


def test_a_memory_that_fails_half_way_leaves_nothing(
    tmp_path: Path, empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    path = cnn(tmp_path / "cnn.onnx")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", full)
        assert ranges(path, 20, key="twenty").samples == 20
    assert not [entry for entry in empty_cache.rglob("*") if entry.is_file()]


def key(path: Path) -> str | None:
    return range_cache.key(onnx.load(path), NAMES, "fifty", Calibration(), Activations())


@pytest.mark.parametrize("part", ["toolkit", "onnxruntime", *range_cache.SOURCES])
def test_ranges_of_another_version_or_another_code_are_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    path = cnn(tmp_path / "cnn.onnx")
    before = key(path)
    assert key(path) == before
    if part == "toolkit":
        monkeypatch.setattr(range_cache, "__version__", "999")
    elif part == "onnxruntime":
        monkeypatch.setattr(onnxruntime, "__version__", "999")
    else:
        for name in range_cache.SOURCES:
            shutil.copy(Path(range_cache.__file__).with_name(name), tmp_path)
        monkeypatch.setattr(range_cache, "__file__", str(tmp_path / "range_cache.py"))
        assert key(path) == before
        with (tmp_path / part).open("a") as file:
            file.write("# changed")
    assert key(path) != before


def test_without_the_sources_nothing_is_remembered(
    tmp_path: Path, empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(range_cache, "__file__", str(tmp_path / "range_cache.py"))
    path = cnn(tmp_path / "cnn.onnx")
    assert key(path) is None
    assert ranges(path, 20, key="twenty").samples == 20
    assert not empty_cache.exists()
