from pathlib import Path

import numpy as np
import pytest
from quantization_models import cnn, dense, pictures

from toolkit.contract import Contract
from toolkit.errors import DataError
from toolkit.quantization.samples import Data, Samples, from_data
from toolkit.runtime.loading import load


@pytest.fixture
def contract(tmp_path: Path) -> Contract:
    return load(dense(tmp_path / "dense.onnx")).contract


def numbered(count: int) -> list[dict[str, np.ndarray]]:
    """Samples that can be told apart, three to a dict."""
    values = np.repeat(np.arange(count, dtype=np.float32)[:, None], 8, axis=1)
    return [{"x0": values[start : start + 3]} for start in range(0, count, 3)]


def numbers(samples: Samples) -> set[int]:
    return {int(value) for value in np.asarray(samples.arrays["x0"][:])[:, 0]}


def parts(data: Data) -> list[set[int]]:
    return [numbers(part) for part in (data.calibration, data.validation, data.test)]


@pytest.mark.parametrize("count", [3, 4, 5, 6, 9, 10, 11, 100, 101])
def test_the_parts_of_input_dicts_do_not_overlap_and_hold_every_sample(
    contract: Contract, count: int
) -> None:
    data = from_data(numbered(count), contract, count=1000, seed=0)
    calibration, validation, test = parts(data)
    assert calibration
    assert validation
    assert test
    assert not calibration & (validation | test)
    assert not validation & test
    assert calibration | validation | test == set(range(count))
    assert len(validation | test) == max(2, count // 5)


def test_the_parts_are_the_same_every_time(contract: Contract) -> None:
    first, again = (from_data(numbered(40), contract, count=20, seed=seed) for seed in (0, 1))
    assert parts(first) == parts(again)
    assert first.key == again.key


def test_an_npz_is_divided_as_dicts_are(contract: Contract, tmp_path: Path) -> None:
    values = np.concatenate([entry["x0"] for entry in numbered(40)])
    np.savez(tmp_path / "x.npz", x0=values)
    named = from_data(tmp_path / "x.npz", contract, count=1000, seed=0)
    assert parts(named) == parts(from_data(numbered(40), contract, count=1000, seed=0))


@pytest.mark.parametrize("count", [1, 2])
def test_fewer_than_three_samples_are_refused(contract: Contract, count: int) -> None:
    with pytest.raises(DataError, match=rf"'input dicts' has {count} sample.* at least 3"):
        from_data(numbered(count), contract, count=10, seed=0)


def test_the_parts_of_a_dataset_do_not_overlap(tmp_path: Path) -> None:
    contract = load(cnn(tmp_path / "cnn.onnx")).contract
    images = pictures(14)  # the fewest that can be divided
    np.savez(tmp_path / "data.npz", x=images, y=np.arange(14) % 10)
    data = from_data(tmp_path / "data.npz", contract, count=1000, seed=0)
    seen = [
        image.tobytes()
        for part in (data.calibration, data.validation, data.test)
        for image in part.arrays["image"][:]
    ]
    assert sorted(seen) == sorted(image.tobytes() for image in images)


def test_text_with_the_name_of_an_archive_is_one_line(contract: Contract, tmp_path: Path) -> None:
    (tmp_path / "x.npz").write_text("hello")
    with pytest.raises(DataError, match=r"x\.npz' is no \.npz archive"):
        from_data(tmp_path / "x.npz", contract, count=10, seed=0)
