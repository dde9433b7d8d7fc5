"""Results of a bench, made up, to show and to write."""

import dataclasses
from pathlib import Path

import numpy as np

from toolkit.benchmark import Accuracy, BenchResult, Comparison, Flip, Latency, Variant
from toolkit.benchmark.result import Check
from toolkit.benchmark.samples import Samples
from toolkit.datasets import Dataset, Split
from toolkit.measuring.nodes import ProfileRow
from toolkit.measuring.profile import NodeTime

NASTY = '<img src=x onerror="alert(1)"><script>alert("x")</script>&"\'{{ 7 * 7 }}'


def variant(name, *, model=None, p50=66.0, top1=0.99, labels=None, size=900_000, batch=1):
    confusion = [[50, 1], [0, 49]]
    return Variant(
        name=name,
        model=model or name,
        path=Path(f"{name}.onnx"),
        made_by=None,
        sha256="0" * 64,
        size_bytes=size,
        compressed_bytes=size // 2,
        runtime="onnxruntime",
        device="local",
        providers=["CPUExecutionProvider"],
        threads=1,
        batch=batch,
        shapes={"image": [batch, 28, 28, 1]},
        accuracy=None
        if top1 is None
        else Accuracy(100, top1, (top1 - 0.004, min(1.0, top1 + 0.003)), 0.99, confusion, [3]),
        latency_us=Latency(p50, p50 * 1.1, p50 * 1.5, None, p50 * 1.05),
        calls=4000,
        warmup_calls=20,
        throughput_per_s=1e6 / p50,
        cpu_us=p50,
        import_ms=150.0,
        load_ms=9.0,
        first_run_ms=0.8,
        peak_rss_mib=58.0,
        rss_over_runtime_mib=11.6,
        rounds_us=[p50] * 6,
        histogram=[0, 3, 9, 4, 1, 0],
        labels=labels,
    )


def comparison(baseline, candidate, ratio=0.6, verdict="faster", drop=0.1, p=0.4):
    return Comparison(
        baseline, candidate, ratio, (ratio - 0.01, ratio + 0.01), verdict, drop, p,
        None if drop is None else 2, None if drop is None else [],
    )  # fmt: skip


def outcome(variants, comparisons=(), notices=(), data="mnist"):
    return BenchResult(
        variants=list(variants),
        comparisons=list(comparisons),
        checks=[],
        suite=None,
        data=data,
        data_sha256="1" * 64 if data else None,
        part="test" if data else None,
        samples=100 if data else None,
        rounds=100,
        seconds=5.0,
        runtime_rss_mib=46.4,
        yardstick_us=[60.0] * 6,
        histogram_edges_us=[40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 100.0],
        options={"spinning": True, "arena": True, "optimization": "all", "cpus": None},
        profile=None,
        notices=list(notices),
        environment={
            "cpu": "A CPU", "cpu_features": ["avx2"], "cores": 2, "machine": "x86_64",
            "system": "Linux 6", "python": "3.11", "numpy": "2.4", "onnxruntime": "1.31.1",
            "load_average": 0.4, "governor": None, "time": "2026-01-01T00:00:00+00:00",
            "command": "toolkit bench a.onnx",
        },
    )  # fmt: skip


def flip(index, label, before, now, sure=0.9):
    return Flip(index, label, before, now, 0.6, sure)


def pictures(count=30, shape=(12, 10)):
    """Samples with the labels 0 and 1 in turn."""
    rng = np.random.default_rng(0)
    split = Split(
        rng.integers(0, 256, (count, *shape), np.uint8), np.arange(count, dtype=np.int64) % 2
    )
    dataset = Dataset("pictures", "1" * 64, split, split, split, None, None)
    return Samples(dataset, split, "test")


def hostile():
    """A result with every part of the page, all names of which want to be markup."""
    names = [NASTY, f"{NASTY} 2", *(f"m{index}" for index in range(9))]
    variants = [
        dataclasses.replace(
            variant(name, p50=60.0 - 3 * index, top1=0.95 + index / 300, labels=[NASTY, "b"]),
            made_by=f"toolkit quantize {NASTY}" if index == 1 else None,
            path=f"{NASTY}.onnx",
        )
        for index, name in enumerate(names)
    ]
    accuracy = dataclasses.replace(variants[1].accuracy, confusion=[[48, 3], [2, 47]])
    variants[1] = dataclasses.replace(variants[1], accuracy=accuracy)
    flipped = [flip(index, index % 2, index % 2, 1 - index % 2) for index in range(30)]
    comparisons = [
        dataclasses.replace(
            comparison(NASTY, name, 1.0 - index / 20), flips=40, flipped=list(flipped)
        )
        for index, name in enumerate(names[1:])
    ]
    node = NodeTime(NASTY, NASTY, NASTY, 9.0)
    return dataclasses.replace(
        outcome(variants, comparisons, [f"'{NASTY}' is strange."], data=NASTY),
        profile=[ProfileRow("Conv", NASTY, {NASTY: node, f"{NASTY} 2": node})],
        checks=[
            Check(NASTY, NASTY, "time", 1.2, (1.1, 1.3), 1.05, False),
            Check("m1", NASTY, "drop", 0.2, (-0.1, 0.5), 0.1, True),
        ],
    )


PAGES = {
    "two models": outcome(
        [variant("a"), variant("b", p50=40.0, top1=0.985)], [comparison("a", "b")]
    ),
    "one model without data": outcome([variant("a", top1=None)], data=None),
    "no labels": outcome(
        [variant("a", top1=None), variant("b", top1=None)], [comparison("a", "b", drop=None)]
    ),
    "many": outcome(
        [variant(f"m{index}", p50=50.0 + index, top1=0.9 + index / 200) for index in range(12)],
        [comparison("m0", f"m{index}", 1.0 + index / 50, "slower") for index in range(1, 12)],
        ["Other programs used 1.4 of 2 cores."],
    ),
    "profile": dataclasses.replace(
        outcome([variant("a"), variant("b")], [comparison("a", "b")]),
        profile=[
            ProfileRow("Conv", NASTY, {"a": NodeTime(NASTY, "Conv", "CPUExecutionProvider", 9.0)}),
            ProfileRow("Gemm", "dense", {"b": NodeTime("d", "QGemm", "CPUExecutionProvider", 4.0)}),
        ],
    ),
    "equal models": outcome(
        [variant("a", top1=1.0), variant("b", top1=1.0)],
        [comparison("a", "b", 1.0, "no verdict", 0.0, 1.0)],
    ),
}
