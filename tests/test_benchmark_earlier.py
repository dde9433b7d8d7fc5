"""Benches against an earlier result: what may be compared, and what counts as a change."""

import json

import numpy as np
import pytest
from bench_models import classifier, samples
from bench_results import comparison, outcome, variant
from click.testing import CliRunner

from toolkit.benchmark import bench
from toolkit.benchmark.checks import against_baseline, against_earlier
from toolkit.benchmark.earlier import Earlier, read_earlier
from toolkit.benchmark.suites import Limits
from toolkit.commands.bench import bench as command
from toolkit.errors import OutputError, RecipeError

QUICK = {"rounds": 6}


@pytest.fixture(scope="module", autouse=True)
def one_process_per_variant():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("toolkit.benchmark.measurement._STARTS", 1)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a model, data, and the result of an earlier bench."""
    folder = tmp_path_factory.mktemp("bench")
    classifier(folder / "plain.onnx")
    samples(folder / "data.npz", count=400)
    bench(folder / "plain.onnx", data=folder / "data.npz", json=folder / "earlier.json", **QUICK)
    return folder


def changed(folder, tmp_path, **changes):
    """Write the earlier result with some of it changed; dots lead into it."""
    document = json.loads((folder / "earlier.json").read_text())
    for path, value in changes.items():
        *parents, last = path.split("__")
        place = document
        for part in parents:
            place = place[int(part) if part.isdigit() else part]
        place[last] = value
    (tmp_path / "changed.json").write_text(json.dumps(document))
    return tmp_path / "changed.json"


def rounds(center, *, spread=0.01, count=40, seed=0):
    return list(center * np.exp(np.random.default_rng(seed).normal(0, spread, count)))


def against(now, before, *, yardstick=(60.0, 60.0), limits=None, wrong=((), ())):
    """Compare made-up times: a variant now and before, the yardstick now and before."""
    import dataclasses

    accuracy = dataclasses.replace(variant("a").accuracy, samples=1000, wrong=list(wrong[0]))
    present = dataclasses.replace(variant("a"), rounds_us=now, accuracy=accuracy)
    other = dataclasses.replace(
        variant("a"),
        rounds_us=before,
        accuracy=dataclasses.replace(accuracy, wrong=list(wrong[1])),
    )
    document = dataclasses.replace(
        outcome([other]), yardstick_us=rounds(yardstick[1], count=len(before), seed=3)
    ).to_dict()
    return against_earlier(
        [present],
        rounds(yardstick[0], count=len(now), seed=4),
        Earlier.model_validate(document),
        limits or Limits(),
        answers=True,
        seed=0,
    )


def test_a_slower_model_fails_and_an_equal_one_does_not():
    limits = Limits(fail_if_slower=1.05)
    (slower, _), _ = against(rounds(80.0), rounds(66.0, seed=1), limits=limits)
    assert not slower.passed
    assert slower.value == pytest.approx(80 / 66, rel=0.02)
    assert slower.interval[0] < slower.value < slower.interval[1]
    (equal, _), _ = against(rounds(66.0), rounds(66.0, seed=1), limits=limits)
    assert equal.passed


def test_a_value_beyond_the_limit_that_may_be_noise_passes():
    limits = Limits(fail_if_slower=1.001)
    now, before = rounds(68.0, spread=0.3, count=12), rounds(60.0, spread=0.3, count=12, seed=5)
    (check, _), _ = against(now, before, limits=limits)
    assert check.value > 1.001
    assert check.interval[0] < 1
    assert check.passed


def test_a_slower_machine_is_no_slower_model():
    limits = Limits(fail_if_slower=1.05)
    now, before = rounds(132.0), rounds(66.0, seed=1)
    (check, _), _ = against(now, before, yardstick=(120.0, 60.0), limits=limits)
    assert check.passed
    assert check.value == pytest.approx(1.0, abs=0.02)


def test_a_drop_counts_when_it_is_beyond_the_limit_and_no_chance():
    times = rounds(66.0), rounds(66.0, seed=1)
    limits = Limits(fail_if_drop=0.1)
    (_, lost), _ = against(*times, limits=limits, wrong=(range(20), range(5)))
    assert (lost.value, lost.passed) == (1.5, False)
    (_, chance), _ = against(*times, limits=limits, wrong=(range(12), range(9, 20)))
    assert chance.value == pytest.approx(0.1)
    assert chance.passed
    (_, told), _ = against(*times, wrong=(range(20), range(5)))
    assert (told.limit, told.passed) == (None, True)


def test_variants_without_a_counterpart_are_named():
    document = outcome([variant("gone")]).to_dict()
    checks, notices = against_earlier(
        [variant("new")], [60.0] * 6, Earlier.model_validate(document), Limits(), answers=True,
        seed=0,
    )  # fmt: skip
    assert checks == []
    assert notices == [
        "'new' is not in the earlier result.",
        "'gone' of the earlier result was not measured.",
    ]


@pytest.mark.parametrize(
    ("ratio", "limit", "passed"),
    [(0.6, 0.8, True), (0.9, 0.8, False), (1.2, 1.05, False), (1.03, 1.05, True)],
)
def test_limits_against_the_baseline(ratio, limit, passed):
    variants = [variant("a"), variant("b")]
    (check,) = against_baseline(
        variants, [comparison("a", "b", ratio)], Limits(fail_if_slower=limit)
    )
    assert (check.variant, check.against, check.passed) == ("b", "a", passed)


def test_a_bench_is_compared_with_itself(folder):
    result = bench(
        folder / "plain.onnx", data=folder / "data.npz", against=folder / "earlier.json", **QUICK
    )
    time, drop = result.checks
    assert time.figure == "time"
    assert time.interval[0] < time.value < time.interval[1]
    assert (drop.value, drop.interval, drop.passed) == (0.0, (0.0, 0.0), True)


def test_a_regression_exits_with_3_and_a_table(folder, tmp_path):
    (tmp_path / "now").mkdir()
    slow = classifier(tmp_path / "now" / "plain.onnx", noise=2.0)
    outcome = CliRunner().invoke(
        command,
        [
            str(slow), "--data", str(folder / "data.npz"), "--rounds", "6",
            "--against", str(folder / "earlier.json"), "--fail-if-drop", "0.5",
            "--json", str(tmp_path / "r.json"), "--csv", str(tmp_path / "r.csv"),
        ],
    )  # fmt: skip
    assert outcome.exit_code == 3, outcome.output
    assert "1 of 2 checks failed" in outcome.stdout
    assert "the earlier result" in outcome.stdout
    assert (tmp_path / "r.csv").read_text().startswith("variant,model,path")
    assert not json.loads((tmp_path / "r.json").read_text())["checks"][1]["passed"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"environment__cpu": "Another"}, r"another machine: its cpu is 'Another'.*--any-machine"),
        ({"environment__cpu_features": ["avx2"]}, "its cpu_features is avx2, here"),
        ({"options__arena": False}, r"measured with arena False, not True"),
        ({"variants__0__model": "other"}, r"no variant in common: there are 'plain', here 'plain'"),
        ({"schema": "toolkit.bench/9"}, r"a 'toolkit\.bench/9', not a 'toolkit\.bench/1'"),
        ({"schema": "toolkit.train/1"}, r"a 'toolkit\.train/1'"),
        ({"variants__0__rounds_us": [1.0]}, r"damaged: 'variants\.0\.rounds_us'"),
        ({"variants__0__rounds_us": [1.0] * 7}, r"are not those of the yardstick"),
        ({"yardstick_us": [1.0] * 5 + [-1.0]}, r"damaged: 'yardstick_us\.5'"),
    ],
)
def test_what_cannot_be_compared_is_one_line_before_the_work(
    changes, message, folder, tmp_path, monkeypatch
):
    monkeypatch.setattr("toolkit.benchmark.run.measure_all", None)
    path = changed(folder, tmp_path, **changes)
    with pytest.raises(RecipeError, match=message) as raised:
        bench(folder / "plain.onnx", data=folder / "data.npz", against=path, **QUICK)
    assert "\n" not in str(raised.value)


def test_another_machine_is_compared_when_told_to(folder, tmp_path):
    path = changed(folder, tmp_path, environment__cpu="Another", environment__onnxruntime="1.0")
    result = bench(folder / "plain.onnx", data="random", against=path, any_machine=True, **QUICK)
    assert [check.figure for check in result.checks] == ["time"]
    assert any("has onnxruntime 1.0, this one" in notice for notice in result.notices)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"schema": 3}', "\ufffd\x00"])
def test_a_file_that_is_no_result_is_one_line(text, tmp_path):
    (tmp_path / "r.json").write_text(text, encoding="utf-8")
    with pytest.raises(RecipeError, match=r"r\.json' is .*toolkit bench --json") as raised:
        read_earlier(tmp_path / "r.json")
    assert "\n" not in str(raised.value)
    with pytest.raises(RecipeError, match="cannot be read"):
        read_earlier(tmp_path / "none.json")


def test_limits_need_something_to_compare_with(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("toolkit.benchmark.run.measure_all", None)
    model, data = folder / "plain.onnx", folder / "data.npz"
    with pytest.raises(RecipeError, match="nothing to compare with"):
        bench(model, data=data, fail_if_slower=1.05, **QUICK)
    with pytest.raises(RecipeError, match="needs labelled data"):
        bench([model, model], data="random", fail_if_drop=0.1, **QUICK)
    with pytest.raises(RecipeError, match="answers one by one"):
        other = samples(tmp_path / "other.npz", count=30)
        bench(model, data=other, against=folder / "earlier.json", fail_if_drop=0.1, **QUICK)
    with pytest.raises(RecipeError, match="--against FILE"):
        bench(model, any_machine=True, **QUICK)


def test_what_a_bench_reads_is_never_replaced(folder):
    before = (folder / "plain.onnx").read_bytes()
    with pytest.raises(OutputError, match="what this step reads"):
        bench(folder / "plain.onnx", json=folder / "plain.onnx", force=True, **QUICK)
    with pytest.raises(OutputError, match="what this step reads"):
        bench(
            folder / "plain.onnx", against=folder / "earlier.json", json=folder / "earlier.json",
            force=True, **QUICK,
        )  # fmt: skip
    assert (folder / "plain.onnx").read_bytes() == before


@pytest.mark.slow
def test_an_equal_file_passes_and_a_slowed_one_fails_from_bench_to_bench(tmp_path, monkeypatch):
    """The reduced form of bench/earlier_selfcheck.py."""
    import sys
    from pathlib import Path

    monkeypatch.syspath_prepend(str(Path(__file__).parent.parent / "bench"))
    import earlier_selfcheck as selfcheck

    monkeypatch.setattr(selfcheck, "SLOWDOWN", 0.4)
    model = classifier(tmp_path / "m.onnx", size=64)
    first, second = (selfcheck.measured(model, 20, seed) for seed in (0, 1))
    assert selfcheck.fails(selfcheck.compare_apart(second.slowed, first.file))
    assert not selfcheck.fails(selfcheck.compare_apart(second.file, first.slowed))
    for name in ("earlier_selfcheck", "verdict_selfcheck"):
        sys.modules.pop(name, None)
