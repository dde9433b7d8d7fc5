"""Cold starts, noise, made-up inputs, paired accuracy, and what the package may import."""

import subprocess
import sys

import numpy as np
import pytest
from bench_models import classifier

from toolkit.contract import InputSpec
from toolkit.errors import ModelError
from toolkit.measuring.accuracy import drop_interval, mcnemar_p
from toolkit.measuring.cold_start import ColdStart, cold_start, median
from toolkit.measuring.inputs import input_shape, random_input
from toolkit.measuring.latency import Block, Timings
from toolkit.measuring.noise import Snapshot, machine_notices, snapshot, timing_notices

FEEDS = {"image": ("uint8", (1, 8, 8, 1))}


def test_measuring_imports_numpy_onnxruntime_and_the_runtime_only():
    code = """
import pkgutil, sys, importlib, importlib.abc
class Block(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        root = name.split(".")[0]
        if root in {"onnx", "click", "rich", "pydantic", "PIL", "jinja2", "tensorflow", "scipy"}:
            raise ImportError(f"blocked: {name}")
sys.meta_path.insert(0, Block())
import toolkit.measuring
for module in pkgutil.iter_modules(toolkit.measuring.__path__):
    importlib.import_module(f"toolkit.measuring.{module.name}")
allowed = {"contract", "errors", "measuring", "runtime"}
print({name.split(".")[1] for name in sys.modules if name.startswith("toolkit.")} - allowed)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.returncode) == ("set()", 0), done.stderr


def test_a_model_needs_more_memory_than_the_bare_runtime(tmp_path):
    runtime = cold_start(None, {})
    start = cold_start(classifier(tmp_path / "m.onnx"), FEEDS, threads=1)
    assert 10 < runtime.peak_rss_mib < start.peak_rss_mib
    assert (runtime.load_ms, runtime.first_run_ms) == (0, 0)
    assert min(start.import_ms, start.load_ms, start.first_run_ms) > 0


def test_memory_of_the_parent_does_not_count(tmp_path):
    ballast = np.ones(40_000_000)  # 305 MiB
    assert cold_start(None, {}).peak_rss_mib < 250
    assert ballast.size


def test_a_failing_process_is_one_line_that_names_the_model(tmp_path):
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"no model at all")
    with pytest.raises(ModelError, match=r"broken\.onnx"):
        cold_start(path, FEEDS)
    with pytest.raises(ModelError, match=r"m\.onnx' could not run in a process of its own"):
        cold_start(classifier(tmp_path / "m.onnx"), {"image": ("uint8", (1, 3, 3, 1))})


def test_median_of_starts_is_taken_figure_by_figure():
    starts = [ColdStart(1, 5, 2, 9), ColdStart(2, 4, 1, 7), ColdStart(3, 6, 3, 8)]
    assert median(starts) == ColdStart(2, 5, 2, 8)


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (Snapshot(10, 10, 0, 10, 0), None),
        (Snapshot(10, 25, 0, 10, 0), "Other programs used 1.5 of 2 cores"),
        (Snapshot(10, 10, 4, 10, 0), "took 20% of its time away"),
        (Snapshot(10, 10, 0, 10, 3), "for its heat 3 times"),
        (Snapshot(10, None, None, 10, None), None),
    ],
)
def test_machine_noise_is_noticed(after, expected, monkeypatch):
    monkeypatch.setattr("toolkit.measuring.noise._governor", lambda: None)
    notices = machine_notices(Snapshot(0, 0, 0, 0, 0), after, cores=2)
    assert [expected in notice for notice in notices] == ([True] if expected else [])


def test_a_snapshot_reads_the_counters_of_this_machine():
    first = snapshot()
    sum(range(1_000_000))
    assert snapshot().own_s >= first.own_s
    assert snapshot().wall_s > first.wall_s


def timings(medians, calls=100):
    blocks = [Block(np.full(calls, value), value * calls, 1) for value in medians]
    return Timings({"m": blocks}, {"m": 1})


@pytest.mark.parametrize(
    ("medians", "calls", "expected"),
    [
        ([1000] * 12, 100, None),
        ([1000] * 6 + [1300] * 6, 100, "became 30% slower"),
        ([1000, 1300] * 6, 100, "varied by"),
        ([1000] * 12, 3, "rests on 36 calls"),
    ],
)
def test_noisy_times_are_noticed(medians, calls, expected):
    text = " ".join(timing_notices(timings(medians, calls)))
    assert (expected in text) if expected else not text


@pytest.mark.parametrize(
    ("shape", "batch", "sizes", "expected"),
    [
        (("batch", 8, 8, 1), 4, {}, (4, 8, 8, 1)),
        ((1, 8, 8, 1), 1, {}, (1, 8, 8, 1)),
        (("batch", "length"), 2, {"length": 16}, (2, 16)),
        ((16,), 4, {}, (16,)),
    ],
)
def test_input_shape_fills_in_batch_and_sizes(shape, batch, sizes, expected):
    assert input_shape(InputSpec("x", "float32", shape), batch, sizes, "m") == expected


@pytest.mark.parametrize(
    ("shape", "match"),
    [((8, 3), "takes batches of 8 only, not 1. Use --batch 8"), (("n", "t"), "--size t=128")],
)
def test_input_shape_says_what_to_do(shape, match):
    with pytest.raises(ModelError, match=match):
        input_shape(InputSpec("x", "float32", shape), 1, {}, "m")


@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8", "int8", "int64", "bool"])
def test_random_input_has_dtype_and_shape(dtype):
    array = random_input(InputSpec("x", dtype, (2, 50)), (2, 50))
    assert (array.dtype, array.shape) == (np.dtype(dtype), (2, 50))
    assert len(np.unique(array)) > 1


def test_strings_cannot_be_made_up():
    with pytest.raises(ModelError, match="takes object"):
        random_input(InputSpec("x", "object", (1,)), (1,))


@pytest.mark.parametrize(
    ("only_first", "only_second", "p"),
    [
        (0, 0, 1.0),
        (1, 0, 1.0),
        (5, 0, 2 / 32),
        (0, 6, 2 / 64),
        (8, 2, 2 * (1 + 10 + 45) / 1024),
        (3000, 3000, 1.0),
    ],
)
def test_mcnemar_is_the_sign_test_on_the_samples_that_differ(only_first, only_second, p):
    assert mcnemar_p(only_first, only_second) == pytest.approx(p, rel=1e-9)


def test_mcnemar_of_thousands_does_not_overflow():
    assert 0 < mcnemar_p(5200, 4800) < 1e-3


@pytest.mark.parametrize("lost", range(0, 40, 3))
@pytest.mark.parametrize("won", [0, 2, 11])
def test_the_interval_of_a_drop_leaves_0_out_exactly_when_mcnemars_test_finds_it(lost, won):
    low, high = drop_interval(lost, won, 1000)
    assert low <= (lost - won) / 10 <= high
    assert (low > 0 or high < 0) == (mcnemar_p(lost, won) <= 0.05)


def test_the_yardstick_is_the_same_work_every_time():
    from toolkit.measuring.latency import time_calls
    from toolkit.measuring.yardstick import open_yardstick

    work = open_yardstick()
    assert time_calls(work, 5).min() > 0


def test_a_drift_of_the_machine_is_told_once_and_not_blamed_on_the_models():
    slower = timings([100.0] * 10 + [130.0] * 10 + [140.0] * 10, 500)
    (name,) = slower.blocks
    assert f"'{name}' became" in " ".join(timing_notices(slower))
    told = " ".join(timing_notices(slower, slower.blocks[name]))
    assert "The machine became 40% slower" in told
    assert f"'{name}' became" not in told
