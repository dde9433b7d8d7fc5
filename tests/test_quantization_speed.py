"""Placement by measured time. What the times are is injected; a real stopwatch runs once."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import helper
from quantization_models import cnn, dense, initializer, labelled, save, tensor, weights

from toolkit.cli import toolkit
from toolkit.contract import from_metadata
from toolkit.errors import CheckFailedError, ModelError
from toolkit.measuring.profile import NodeTime
from toolkit.measuring.statistics import Ratio
from toolkit.quantization import QuantizeResult, quantize, speed, step
from toolkit.quantization.node_costs import Unit, best_placement, estimate
from toolkit.quantization.stopwatch import LocalStopwatch, one_call

tune = speed.tune  # what conftest.py replaces


class Clock:
    """A stopwatch for which a model's time is the sum of its layers' times.

    Attributes:
        layers: For each weight layer its time in float and in int8, in microseconds.
        compared: The files that were compared.
    """

    def __init__(self, layers: Mapping[str, tuple[float, float]]) -> None:
        self.layers = layers
        self.compared: list[tuple[Path, Path]] = []

    def __call__(self, feeds: Any, threads: int) -> "Clock":
        self.threads = threads
        return self

    def total(self, model: Path) -> float:
        return sum(entry.us for entry in self.nodes(model))

    def nodes(self, model: Path) -> list[NodeTime]:
        proto = onnx.load(model)
        makers = {name: node.op_type for node in proto.graph.node for name in node.output}
        return [
            NodeTime(node.name, node.op_type, "CPU", self.layers[node.name][int8])
            for node in proto.graph.node
            if node.name in self.layers
            for int8 in [len(node.input) > 1 and makers.get(node.input[1]) == "DequantizeLinear"]
        ]

    def compare(self, candidate: Path, baseline: Path, *, seconds: float) -> Ratio:
        self.compared.append((candidate, baseline))
        value = self.total(candidate) / self.total(baseline)
        verdict = "faster" if value < 0.99 else "slower" if value > 1.01 else "no verdict"
        return Ratio(value, value * 0.99, value * 1.01, verdict)  # type: ignore[arg-type]

    def machine(self) -> dict[str, Any]:
        return {"cpu": "of the test", "onnxruntime": "1", "threads": self.threads}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Clock]:
    def install(**layers: tuple[float, float]) -> Clock:
        found = Clock(layers)
        monkeypatch.setattr(speed, "tune", tune)
        monkeypatch.setattr(step, "LocalStopwatch", found)
        return found

    return install


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return cnn(tmp_path / "cnn.onnx")


@pytest.fixture
def data(tmp_path: Path, model: Path) -> Path:
    return labelled(tmp_path / "data.npz", model)


def contract_of(result: QuantizeResult) -> Any:
    proto = onnx.load(result.path)
    return from_metadata({entry.key: entry.value for entry in proto.metadata_props})


def test_a_layer_that_int8_slows_down_goes_back_to_float(
    model: Path, data: Path, clock: Callable[..., Clock]
) -> None:
    clock(conv1=(10, 25), conv2=(50, 80), dense=(40, 10))
    result = quantize(model, model.with_name("q.onnx"), data=data)
    assert set(result.reasons) == {"conv1", "conv2"}
    assert result.reasons["conv2"] == "measured: 50 us in float, 80 us in int8"
    assert "dense" in result.int8_nodes
    assert result.speed is not None
    assert result.speed.ratio.value == pytest.approx(0.7)
    assert any(entry.taken for entry in result.speed.tries)
    evidence = contract_of(result).evidence[-1]
    assert (evidence["check"], evidence["verdict"]) == ("speed", "faster")
    assert contract_of(result).provenance[-1]["results"]["float_layers"] == result.reasons


def test_a_layer_that_a_rule_kept_in_float_becomes_int8_where_that_is_faster(
    model: Path, data: Path, clock: Callable[..., Clock]
) -> None:
    clock(conv1=(90, 20), conv2=(50, 30), dense=(40, 10))
    result = quantize(model, model.with_name("q.onnx"), data=data)
    assert result.reasons == {}
    assert {"conv1", "conv2", "dense"} <= set(result.int8_nodes)


def test_neighbours_that_only_win_together_are_tried_as_a_pair(
    tmp_path: Path, clock: Callable[..., Clock], monkeypatch: pytest.MonkeyPatch
) -> None:
    node = helper.make_node
    layers = [node("Gemm", [a, f"w{b}", "bias"], [b], b) for a, b in ("xa", "ab", "bc")]
    path = save(
        tmp_path / "chain.onnx",
        layers,
        [tensor("x", ["n", 8])],
        [tensor("c", ["n", 8])],
        [initializer("bias", np.zeros(8, np.float32))]
        + [initializer(f"w{name}", weights((8, 8), seed)) for seed, name in enumerate("abc")],
    )
    found = clock(a=(30, 31), b=(30, 31), c=(40, 39))

    def total(model: Path) -> float:
        int8 = "".join(entry.name for entry in found.nodes(model) if entry.us in (31, 39))
        return {"abc": 100.0, "c": 80.0, "": 120.0}.get(int8, 130.0)

    monkeypatch.setattr(found, "total", total)
    feeds = [{"x": np.random.default_rng(0).normal(size=(40, 8)).astype(np.float32)}]
    result = quantize(path, tmp_path / "q.onnx", data=feeds)
    assert result.int8_nodes == ("c",)
    assert result.speed is not None
    taken = [entry.what for entry in result.speed.tries if entry.taken]
    assert taken == ["'a' in float and 'b' in float"]


def test_equal_times_keep_what_the_rules_say(
    model: Path, data: Path, clock: Callable[..., Clock]
) -> None:
    clock(conv1=(10, 10), conv2=(50, 50), dense=(40, 40))
    result = quantize(model, model.with_name("q.onnx"), data=data)
    assert result.reasons == {"conv1": "1 input channel: float is faster"}
    assert result.speed is not None
    assert result.speed.ratio.verdict == "no verdict"  # which is not slower: it is written


def test_the_same_times_give_the_same_file(
    model: Path, data: Path, clock: Callable[..., Clock]
) -> None:
    clock(conv1=(10, 25), conv2=(50, 80), dense=(40, 10))
    files = [
        quantize(model, model.with_name(f"{name}.onnx"), data=data).path.read_bytes()
        for name in ("a", "b")
    ]
    assert files[0] == files[1]


def test_a_faster_placement_beyond_the_budget_is_not_taken(
    model: Path, data: Path, clock: Callable[..., Clock], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock(conv1=(10, 25), conv2=(50, 80), dense=(70, 10))
    first = quantize(model, model.with_name("q.onnx"), data=data, max_drop=50, portable=True)

    def keeps(trials: Any, trial: Any) -> bool:
        return bool(trial.built.int8_nodes == first.int8_nodes)

    monkeypatch.setattr("toolkit.quantization.trials.Trials.keeps_budget", keeps)
    result = quantize(model, model.with_name("r.onnx"), data=data, max_drop=50)
    assert result.int8_nodes == first.int8_nodes
    assert result.speed is not None
    assert "misses the accuracy budget" in {entry.reason for entry in result.speed.tries}


def test_a_model_that_stays_slower_is_refused_unless_allowed(
    model: Path, data: Path, clock: Callable[..., Clock]
) -> None:
    clock(conv1=(10, 30), conv2=(20, 60), dense=(10, 20))
    output = model.with_name("q.onnx")
    with pytest.raises(
        CheckFailedError, match=r"1\.25 \[1\.\d+, 1\.\d+\].*--allow-slower"
    ) as found:
        quantize(model, output, data=data)
    assert "\n" not in str(found.value)
    assert not output.exists()
    arguments = ["quantize", str(model), "-o", str(output), "--data", str(data)]
    assert isinstance(CliRunner().invoke(toolkit, arguments).exception, CheckFailedError)
    done = CliRunner().invoke(toolkit, [*arguments, "--allow-slower", "--json"])
    assert json.loads(done.stdout)["speed"]["verdict"] == "slower"
    assert output.exists()


@pytest.mark.parametrize("where", ["option", "recipe"])
def test_a_portable_model_is_never_measured(
    model: Path, data: Path, clock: Callable[..., Clock], where: str
) -> None:
    found = clock(conv1=(10, 30), conv2=(20, 60), dense=(10, 20))
    options: dict[str, Any] = (
        {"portable": True} if where == "option" else {"recipe": "int8-x86-avx2"}
    )
    result = quantize(model, model.with_name("q.onnx"), data=data, **options)
    assert result.speed is None
    assert result.reasons == {"conv1": "1 input channel: float is faster"}
    assert not found.compared
    with pytest.raises(CheckFailedError):
        quantize(model, model.with_name("r.onnx"), data=data, portable=False)


def test_threads_are_measured_with_and_kept_in_the_contract(
    model: Path, data: Path, clock: Callable[..., Clock]
) -> None:
    found = clock(conv1=(10, 25), conv2=(50, 20), dense=(40, 10))
    result = quantize(model, model.with_name("q.onnx"), data=data, threads=2)
    assert (found.threads, contract_of(result).session.threads) == (2, 2)
    result = quantize(model, model.with_name("r.onnx"), data=data)
    assert (found.threads, contract_of(result).session.threads) == (1, None)


def test_no_try_starts_when_the_time_is_used_up(
    model: Path, data: Path, clock: Callable[..., Clock]
) -> None:
    found = clock(conv1=(10, 25), conv2=(50, 80), dense=(40, 10))
    result = quantize(model, model.with_name("q.onnx"), data=data, search_time=1e-9)
    assert len(found.compared) == 1  # the comparison with float
    assert result.speed is not None
    assert not result.speed.exhausted


@pytest.mark.parametrize(("name", "value"), [("search_time", 0), ("threads", 0)])
def test_numbers_out_of_range_are_refused(model: Path, name: str, value: int) -> None:
    with pytest.raises(ValueError, match=name):
        quantize(model, model.with_name("q.onnx"), **{name: value})  # type: ignore[arg-type]


def test_the_estimate_charges_conversions_and_the_best_placement_avoids_them() -> None:
    order = [Unit("a", 1000, 10, 30), Unit("b", 1000, 21, 20), Unit("c", 1000, 10, 30)]
    assert estimate(order, {"a", "b", "c"}) == 41
    assert estimate(order, {"a", "c"}) > 45  # twice back and forth
    assert best_placement(order) == {"a", "b", "c"}
    far = [Unit("a", 10, 10, 90), Unit("b", 10, 200, 20), Unit("c", 10, 10, 90)]
    assert best_placement(far) == {"a", "c"}
    assert best_placement(far, conversions=100) == {"a", "b", "c"} or not best_placement(far, 100)
    assert best_placement([]) == frozenset()


def wide(path: Path) -> Path:
    """One input channel on a large plane, then dense layers: the convolution is slow in int8."""
    node = helper.make_node
    return save(
        path,
        [
            node("Conv", ["x", "w"], ["c"], "conv", kernel_shape=[11, 11], strides=[4, 4]),
            node("Relu", ["c"], ["r"], "relu"),
            node("GlobalAveragePool", ["r"], ["p"], "pool"),
            node("Flatten", ["p"], ["f"], "flatten"),
            node("Gemm", ["f", "v"], ["y"], "dense"),
        ],
        [tensor("x", ["n", 1, 63, 63])],
        [tensor("y", ["n", 4])],
        [initializer("w", weights((8, 1, 11, 11))), initializer("v", weights((8, 4)))],
    )


def test_a_real_stopwatch_tells_a_model_from_one_with_more_work(tmp_path: Path) -> None:
    little, much = dense(tmp_path / "little.onnx"), cnn(tmp_path / "much.onnx")
    contract = step.load(little, provider="cpu").contract
    watch = LocalStopwatch(one_call(contract, None, "little"))
    assert [entry.operator for entry in watch.nodes(little)][-1] == "Gemm"
    ratio = watch.compare(little, little, seconds=0.1)
    assert ratio.low < ratio.value < ratio.high
    assert {"cpu", "onnxruntime", "threads"} == set(watch.machine())
    with pytest.raises(ModelError):
        watch.nodes(much.with_name("missing.onnx"))


def test_a_real_measurement_stands_in_the_result_and_in_the_contract(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speed, "tune", tune)
    model = wide(tmp_path / "wide.onnx")
    feeds = [{"x": np.random.default_rng(0).normal(size=(40, 1, 63, 63)).astype(np.float32)}]
    output = tmp_path / "q.onnx"
    slower = quantize(model, output, data=feeds, search_time=2, allow_slower=True)
    assert slower.speed is not None
    assert slower.speed.ratio.low <= slower.speed.ratio.value <= slower.speed.ratio.high
    assert contract_of(slower).evidence[-1]["verdict"] == slower.speed.ratio.verdict
