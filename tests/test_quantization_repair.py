"""What `quantize` does when the first try misses the budget, on models made to miss it."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import helper
from quantization_models import cnn, initializer, labelled, save, tensor, weights

from toolkit.cli import toolkit
from toolkit.errors import CheckFailedError, DataError
from toolkit.quantization import QuantizeResult, quantize

TENSORS = '[weights]\nper_channel = false\n[placement]\nlast_layer = "int8"\n'


def chain(path: Path, *matrices: np.ndarray) -> Path:
    """Dense layers with ReLU between them, named dense0, dense1, ..."""
    nodes, value = [], "x"
    for index in range(len(matrices)):
        last = index == len(matrices) - 1
        result = "y" if last else f"h{index}"
        nodes.append(
            helper.make_node("Gemm", [value, f"w{index}", f"b{index}"], [result], f"dense{index}")
        )
        value = result
        if not last:
            nodes.append(helper.make_node("Relu", [value], [f"r{index}"], f"relu{index}"))
            value = f"r{index}"
    arrays = [initializer(f"w{index}", matrix) for index, matrix in enumerate(matrices)]
    arrays += [
        initializer(f"b{index}", weights((matrix.shape[1],), 50 + index))
        for index, matrix in enumerate(matrices)
    ]
    return save(
        path,
        nodes,
        [tensor("x", ["batch", len(matrices[0])])],
        [tensor("y", ["batch", matrices[-1].shape[1]])],
        arrays,
    )


def feeds(width: int = 8, count: int = 200) -> list[dict[str, np.ndarray]]:
    return [{"x": np.random.default_rng(0).normal(size=(count, width)).astype(np.float32)}]


def recipe(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(f'description = "test"\n{text}')
    return path


def tried(result: QuantizeResult) -> list[str]:
    return [attempt.what for attempt in result.attempts]


def reach(result: QuantizeResult) -> float:
    assert result.validation is not None
    return result.validation.sqnr_db


def test_a_first_try_within_the_budget_is_the_only_one(tmp_path: Path) -> None:
    model = chain(tmp_path / "m.onnx", weights((8, 16)), weights((16, 4), 1))
    result = quantize(model, tmp_path / "q.onnx", data=feeds(), min_sqnr=20)
    assert tried(result) == ["recipe int8"]
    assert result.attempts[0].kept
    assert quantize(model, tmp_path / "r.onnx", data=feeds()).attempts == ()


def test_another_calibration_method_helps_where_ranges_are_too_narrow(tmp_path: Path) -> None:
    model = cnn(tmp_path / "cnn.onnx")
    data = labelled(tmp_path / "data.npz", model)
    narrow = recipe(tmp_path, '[calibration]\nmethod = "percentile"\npercentile = 51\n')
    plain = quantize(model, tmp_path / "narrow.onnx", data=data, recipe=narrow)
    assert plain.test is not None
    assert plain.test.sqnr_db < 15
    result = quantize(model, tmp_path / "q.onnx", data=data, recipe=narrow, min_sqnr=25)
    assert tried(result) == ["recipe mine", "calibration mse"]
    assert [attempt.kept for attempt in result.attempts] == [False, True]
    assert result.test is not None
    assert result.test.sqnr_db > 20
    contract = {entry.key: entry.value for entry in onnx.load(result.path).metadata_props}
    step = json.loads(contract["toolkit.contract"])["provenance"][-1]
    assert step["options"]["calibration"]["method"] == "mse"


def test_bias_correction_helps_where_weights_are_rounded_one_way(tmp_path: Path) -> None:
    first, shifted = weights((4, 8)), np.full((8, 6), 0.04, np.float32)
    first[:, 0] *= 0.001  # so that the large weight makes the steps coarse, not the result
    shifted[0, 0] = 12.7
    model = chain(tmp_path / "m.onnx", first, shifted, weights((6, 3), 3))
    result = quantize(
        model, tmp_path / "q.onnx", data=feeds(4), recipe=recipe(tmp_path, TENSORS), min_sqnr=25
    )
    assert tried(result)[-1].startswith("bias correction, after ")
    assert len(tried(result)) == 6  # the recipe, four other calibration methods, and this


def test_equalization_helps_where_channels_differ_in_size(tmp_path: Path) -> None:
    sizes = np.geomspace(1, 1000, 16).astype(np.float32)
    first, second = weights((8, 16)) * sizes, weights((16, 4), 1) / sizes[:, np.newaxis]
    model = chain(tmp_path / "m.onnx", first, second)
    result = quantize(
        model, tmp_path / "q.onnx", data=feeds(), recipe=recipe(tmp_path, TENSORS), min_sqnr=12
    )
    assert tried(result)[-1].startswith("equalization, after ")
    assert "1 pairs of layers equalized" in result.repairs


def test_the_most_sensitive_layers_stay_in_float_one_by_one(tmp_path: Path) -> None:
    """One layer has a weight that leaves no step for all others, and no neighbour to help it."""
    coarse = weights((16, 16), 2)
    coarse[3, 3] = 1000
    model = save(
        tmp_path / "m.onnx",
        [
            helper.make_node("Gemm", ["x", "w0"], ["h0"], "fine1"),
            helper.make_node("Sigmoid", ["h0"], ["s0"], "sigmoid1"),
            helper.make_node("Gemm", ["s0", "w1"], ["h1"], "coarse"),
            helper.make_node("Sigmoid", ["h1"], ["s1"], "sigmoid2"),
            helper.make_node("Gemm", ["s1", "w2"], ["y"], "fine2"),
        ],
        [tensor("x", ["batch", 8])],
        [tensor("y", ["batch", 4])],
        [
            initializer("w0", weights((8, 16))),
            initializer("w1", coarse),
            initializer("w2", weights((16, 4), 3)),
        ],
    )
    rules = recipe(tmp_path, TENSORS)
    result = quantize(model, tmp_path / "q.onnx", data=feeds(), recipe=rules, min_sqnr=25)
    assert "in float: coarse (" in tried(result)[-1]
    assert set(result.reasons) == {"coarse"}
    assert result.reasons["coarse"].startswith("sensitive: int8 in it alone leaves ")
    assert {"fine1", "fine2"} <= set(result.int8_nodes)
    assert reach(result) >= 25
    document = result.to_dict()["attempts"]
    assert document[-1]["kept"]
    assert not any(attempt["kept"] for attempt in document[:-1])
    assert document[-1]["sqnr_db"] == pytest.approx(reach(result), abs=1e-3)


def test_a_budget_out_of_reach_names_the_best_attempt(tmp_path: Path) -> None:
    model = chain(tmp_path / "m.onnx", weights((8, 16)), weights((16, 4), 1))
    with pytest.raises(
        CheckFailedError, match=r"misses the budget .*The best of \d+ att"
    ) as caught:
        quantize(model, tmp_path / "q.onnx", data=feeds(), min_sqnr=300)
    assert not (tmp_path / "q.onnx").exists()
    attempts = caught.value.attempts
    best = max(attempts, key=lambda attempt: attempt.validation.sqnr_db)
    assert best.what in str(caught.value)
    assert any("in float: dense" in attempt.what for attempt in attempts)


def test_agreement_is_a_budget_without_labels(tmp_path: Path) -> None:
    model = cnn(tmp_path / "cnn.onnx")
    images = np.random.default_rng(0).integers(0, 256, (100, 12, 12), dtype=np.uint8)
    np.savez(tmp_path / "x.npz", image=images[..., None])
    result = quantize(model, tmp_path / "q.onnx", data=tmp_path / "x.npz", min_agreement=50)
    assert result.validation is not None
    assert result.validation.agreement is not None
    assert result.validation.drop is None
    with pytest.raises(DataError, match="--min-agreement"):
        quantize(model, tmp_path / "r.onnx", data=tmp_path / "x.npz", max_drop=50)


def test_a_recipe_can_hold_the_budget(tmp_path: Path) -> None:
    model = chain(tmp_path / "m.onnx", weights((8, 16)), weights((16, 4), 1))
    rules = recipe(tmp_path, "min_sqnr = 300\n")
    with pytest.raises(CheckFailedError, match="at least 300 dB"):
        quantize(model, tmp_path / "q.onnx", data=feeds(), recipe=rules)
    result = quantize(model, tmp_path / "q.onnx", data=feeds(), recipe=rules, min_sqnr=10)
    assert len(result.attempts) == 1


def test_the_test_samples_are_read_once_and_decide_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from toolkit.quantization import samples as module

    model = chain(tmp_path / "m.onnx", weights((8, 16)), weights((16, 4), 1))
    held: list[module.Data] = []
    reads: list[int] = []
    original_held, original_feed = module._held_out, module.Samples.feed

    def remember(*arguments: object) -> module.Data:
        held.append(original_held(*arguments))  # type: ignore[arg-type]
        return held[-1]

    def feed(self: module.Samples, part: slice) -> module.Feed:
        if held and self is held[-1].test:
            reads.append(len(reads))
        return original_feed(self, part)

    monkeypatch.setattr(module, "_held_out", remember)
    monkeypatch.setattr(module.Samples, "feed", feed)
    with pytest.raises(CheckFailedError):
        quantize(model, tmp_path / "q.onnx", data=feeds(), min_sqnr=300)
    assert reads == []
    result = quantize(model, tmp_path / "q.onnx", data=feeds(), min_sqnr=20)
    assert result.test is not None
    assert len(reads) == 4  # by the float and the int8 model: one sample for its size, then all


def test_the_command_shows_what_was_tried(tmp_path: Path) -> None:
    model = cnn(tmp_path / "cnn.onnx")
    data = labelled(tmp_path / "data.npz", model)
    narrow = recipe(tmp_path, '[calibration]\nmethod = "percentile"\npercentile = 51\n')
    output = tmp_path / "q.onnx"
    arguments = [model, "-o", output, "--data", data, "--recipe", narrow, "--min-sqnr", 25]
    done = CliRunner().invoke(toolkit, ["quantize", *map(str, arguments)])
    assert done.exit_code == 0, done.output
    assert "calibration mse" in done.output
    assert "at attempt 2" in done.output
