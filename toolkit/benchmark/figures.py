"""From measurements to the figures that are reported."""

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from toolkit.benchmark import answers as answering
from toolkit.benchmark.answers import Answers
from toolkit.benchmark.candidates import Candidate, file_sizes
from toolkit.benchmark.measurement import Measured
from toolkit.benchmark.result import Comparison, Latency, Variant
from toolkit.benchmark.samples import Samples
from toolkit.files import sha256
from toolkit.measuring.latency import Timings
from toolkit.measuring.statistics import compare
from toolkit.runtime.session import Provider

_BINS = 80
_P999_CALLS = 5000  # five calls beyond the percentile


def variant(candidate: Candidate, measured: Measured, edges_us: Sequence[float]) -> Variant:
    """Return the figures of one candidate."""
    blocks = measured.timings.blocks[candidate.name]
    times_us = measured.timings.latencies_ns(candidate.name) / 1e3
    start, batch = measured.starts[candidate.name], candidate.setting.batch
    size, compressed = file_sizes(candidate.path)
    answers = measured.answers_of(candidate)
    baseline = next(iter(measured.answers.values()), None)
    p50, p90, p99, p999 = (float(q) for q in np.quantile(times_us, [0.5, 0.9, 0.99, 0.999]))
    labels = candidate.contract.outputs[0].labels
    return Variant(
        name=candidate.name,
        model=candidate.model,
        path=candidate.path,
        made_by=candidate.made_by,
        sha256=sha256(candidate.path),
        size_bytes=size,
        compressed_bytes=compressed,
        runtime="onnxruntime",
        device="local",
        providers=list(candidate.providers),
        threads=candidate.setting.threads,
        batch=batch,
        shapes={name: list(feed.shape) for name, feed in candidate.feeds.items()},
        accuracy=None
        if answers is None
        else answering.accuracy(answers, None if answers is baseline else baseline),
        latency_us=Latency(
            p50=p50,
            p90=p90,
            p99=p99,
            p999=p999 if len(times_us) >= _P999_CALLS else None,
            mean=float(times_us.mean()),
        ),
        calls=len(times_us),
        warmup_calls=measured.timings.warmup_calls[candidate.name],
        throughput_per_s=batch * len(times_us) / float(times_us.sum()) * 1e6,
        cpu_us=sum(block.cpu_ns for block in blocks) / len(times_us) / 1e3,
        import_ms=start.import_ms,
        load_ms=start.load_ms,
        first_run_ms=start.first_run_ms,
        peak_rss_mib=start.peak_rss_mib,
        rss_over_runtime_mib=start.peak_rss_mib - measured.runtime.peak_rss_mib,
        rounds_us=in_microseconds([block.median_ns for block in blocks]),
        histogram=_histogram(times_us, edges_us),
        labels=None if labels is None else list(labels),
    )


def comparison(
    candidate: Candidate, baseline: Candidate, measured: Measured, seed: int
) -> Comparison:
    """Return how a candidate compares with its baseline, in time per sample and in answers."""
    log_ratios = measured.timings.log_ratios(candidate.name, baseline.name)
    log_ratios += math.log(baseline.setting.batch / candidate.setting.batch)
    ratio = compare(log_ratios, confidence=measured.confidence, seed=seed)
    ours, theirs = measured.answers_of(candidate), measured.answers_of(baseline)
    drop, p, flips, flipped = None, None, None, None
    if ours is not None and theirs is not None:
        drop, p = answering.paired(theirs, ours)
        flips, flipped = answering.flips(theirs, ours)
    return Comparison(
        baseline=baseline.name,
        candidate=candidate.name,
        latency_ratio=ratio.value,
        interval=(ratio.low, ratio.high),
        verdict=ratio.verdict,
        drop_points=drop,
        mcnemar_p=p,
        flips=flips,
        flipped=flipped,
    )


def in_microseconds(times_ns: Iterable[float]) -> list[float]:
    """Return times in microseconds, as finely as the clock counts."""
    return [round(time / 1e3, 3) for time in times_ns]


def histogram_edges_us(timings: Timings) -> list[float]:
    """Return edges of bins that hold the calls of every model but the slowest few.

    They are evenly spaced in the logarithm: models of very different speed stand in one picture.
    They end near the highest p99, unless that is far out: a call that waited for another program
    takes milliseconds, and would squeeze all others together.
    """
    quantiles = np.array(
        [
            np.quantile(timings.latencies_ns(name), [0.002, 0.9, 0.99]) / 1e3
            for name in timings.blocks
        ]
    )
    low, high = quantiles[:, 0].min(), min(quantiles[:, 2].max(), 2 * quantiles[:, 1].max())
    return [float(edge) for edge in np.geomspace(low * 0.97, high * 1.03, _BINS + 1)]


def assumptions(
    found: Sequence[Candidate],
    samples: Samples | None,
    answers: Mapping[tuple[Provider, str], Answers],
) -> list[str]:
    """Return one sentence for each thing that was assumed or could not be measured."""
    notices = []
    if samples is not None and samples.split.labels is None:
        name = samples.dataset.name
        notices.append(f"'{name}' has no labels: there is agreement, but no accuracy.")
    for name in dict.fromkeys(entry.model for entry in found):
        entry = next(other for other in found if other.model == name)
        if entry.contract.assumed:
            notices.append(f"'{name}' carries no contract; one was guessed from its tensors.")
        threads = entry.contract.session.threads
        if threads is not None and threads != entry.setting.threads:
            notices.append(
                f"'{name}' was made for {threads} threads, as its contract says; it was measured "
                f"with {entry.setting.threads}. Add --threads {threads}."
            )
        if samples is not None and (entry.setting.provider, name) not in answers:
            output = entry.contract.outputs[0]
            notices.append(
                f"The output '{output.name}' of '{name}' is {output.kind}, without classes: "
                "its accuracy was not measured."
            )
    return notices


def _histogram(
    times_us: "np.ndarray[tuple[int], np.dtype[np.float64]]", edges: Sequence[float]
) -> list[int]:
    counts, _ = np.histogram(times_us, bins=np.asarray(edges))
    return [int(count) for count in counts]
