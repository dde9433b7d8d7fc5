"""What `bench` returns: variants, how they compare, and what the figures rest on."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from toolkit.datasets import Part
from toolkit.measuring.nodes import ProfileRow
from toolkit.measuring.statistics import Verdict

SCHEMA = "toolkit.bench/1"


@dataclass(frozen=True)
class Latency:
    """Time of one call in microseconds; ``p999`` is None below 5,000 calls."""

    p50: float
    p90: float
    p99: float
    p999: float | None
    mean: float


@dataclass(frozen=True)
class Accuracy:
    """How a model answers the samples of a dataset.

    Attributes:
        samples: How many were asked.
        top1: Fraction answered rightly, or None when the data has no labels.
        top1_interval: 95 % Wilson interval of ``top1``.
        agreement: Fraction of samples with the same answer as the baseline's; None for itself.
        confusion: Counts, a row per label and a column per answer; None without labels, and for
            more than 100 classes.
        wrong: Indices of the samples answered wrongly, so that a later bench of the same samples
            can pair its answers with these; None without labels.
    """

    samples: int
    top1: float | None
    top1_interval: tuple[float, float] | None
    agreement: float | None
    confusion: list[list[int]] | None
    wrong: list[int] | None


@dataclass(frozen=True)
class Variant:
    """One model under one setting.

    Attributes:
        name: Unique in the result: the model's name, and the setting where several are compared.
        model: The model's name.
        path: Its file.
        made_by: The step of a suite that made the file for this bench, or None.
        sha256: That of the file.
        size_bytes: On disk, with external data.
        compressed_bytes: After zlib, as an app package or an HTTP transfer holds it.
        runtime: What ran it.
        device: Where it ran.
        providers: What onnxruntime really uses.
        threads: Threads inside an operator.
        batch: Samples per call.
        shapes: Those of the inputs of a call, by name.
        accuracy: None without data.
        latency_us: Of a call with ``batch`` samples.
        calls: How many calls the latencies rest on.
        warmup_calls: Calls before each round that do not count.
        throughput_per_s: Samples per second, one call after the other.
        cpu_us: CPU time of a call, all threads together.
        import_ms: Importing the runtime in a fresh process.
        load_ms: Opening the model there.
        first_run_ms: The first call there.
        peak_rss_mib: Peak memory of that process.
        rss_over_runtime_mib: The same without what the bare runtime takes.
        rounds_us: Median of each round.
        histogram: Calls per bin of `BenchResult.histogram_edges_us`.
        labels: Names of the classes, or None.
    """

    name: str
    model: str
    path: Path
    made_by: str | None
    sha256: str
    size_bytes: int
    compressed_bytes: int
    runtime: str
    device: str
    providers: list[str]
    threads: int
    batch: int
    shapes: dict[str, list[int]]
    accuracy: Accuracy | None
    latency_us: Latency
    calls: int
    warmup_calls: int
    throughput_per_s: float
    cpu_us: float
    import_ms: float
    load_ms: float
    first_run_ms: float
    peak_rss_mib: float
    rss_over_runtime_mib: float
    rounds_us: list[float]
    histogram: list[int]
    labels: list[str] | None

    @property
    def top1(self) -> float | None:
        """Top-1 accuracy, or None without labelled data."""
        return None if self.accuracy is None else self.accuracy.top1

    @property
    def us_per_sample(self) -> float:
        """Median time of a call divided by its samples."""
        return self.latency_us.p50 / self.batch

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object; the accuracy's fields stand beside the others."""
        document = dataclasses.asdict(self)
        document["path"] = str(self.path)
        accuracy = document.pop("accuracy")
        names = [field.name for field in dataclasses.fields(Accuracy)]
        return document | (accuracy or dict.fromkeys(names))


@dataclass(frozen=True)
class Flip:
    """A sample that two models answer differently.

    Attributes:
        index: Its place in the samples that were measured on.
        label: Its class, or None when the data has no labels.
        baseline: The class that the baseline names.
        candidate: The class that the candidate names.
        baseline_confidence: The probability that the baseline gives to its answer, in [0, 1].
        candidate_confidence: The same of the candidate.
    """

    index: int
    label: int | None
    baseline: int
    candidate: int
    baseline_confidence: float
    candidate_confidence: float


@dataclass(frozen=True)
class Comparison:
    """A variant against the baseline.

    Attributes:
        baseline: A variant's name.
        candidate: Another's.
        latency_ratio: Candidate's time per sample divided by the baseline's.
        interval: 95 % bootstrap interval of that, over the rounds.
        verdict: "no verdict" when the interval contains 1.
        drop_points: Baseline's top-1 minus the candidate's, in percentage points.
        mcnemar_p: Chance of a difference in top-1 at least this large between equal models.
        flips: How many samples get another answer.
        flipped: Those 100 of them that the candidate is most confident of.
    """

    baseline: str
    candidate: str
    latency_ratio: float
    interval: tuple[float, float]
    verdict: Verdict
    drop_points: float | None
    mcnemar_p: float | None
    flips: int | None
    flipped: list[Flip] | None


@dataclass(frozen=True)
class Check:
    """A variant's time or accuracy against an earlier or another one's, and the limit on it.

    Attributes:
        variant: The variant's name.
        against: "the earlier result", or the name of the baseline.
        figure: What is compared.
        value: Time divided by the other's, or the drop in top-1 in percentage points.
        interval: 95 % interval of that.
        limit: What it may be at most, or None when it is only told.
        passed: False when the value is beyond the limit and the change is significant.
    """

    variant: str
    against: str
    figure: Literal["time", "drop"]
    value: float
    interval: tuple[float, float]
    limit: float | None
    passed: bool


@dataclass(frozen=True)
class BenchResult:
    """The outcome of `bench`.

    Attributes:
        variants: In the order of the models; the first is the baseline.
        comparisons: Each other variant against its baseline.
        checks: Limits that were asked for, and the comparison with an earlier result.
        suite: Name of the suite, or None.
        data: Name of the dataset, or None for random inputs.
        data_sha256: Digest of its samples and labels.
        part: Which part of the data they are: "test", "held out" or "all".
        samples: Samples that the accuracy rests on.
        rounds: Interleaved rounds.
        seconds: What the whole bench took.
        runtime_rss_mib: Peak memory of a process with the bare runtime.
        yardstick_us: Median time of a fixed piece of work in each round: how fast the machine
            was at that moment (`toolkit.measuring.yardstick`).
        histogram_edges_us: Edges of the bins of all histograms, evenly spaced in the logarithm.
        options: `toolkit.measuring.options.RuntimeOptions`.
        profile: Times per node, the variants side by side; None unless asked for.
        notices: What the reader must know: noise, assumptions, figures that rest on little.
        environment: Machine, versions, time and command.
    """

    variants: list[Variant]
    comparisons: list[Comparison]
    checks: list[Check]
    suite: str | None
    data: str | None
    data_sha256: str | None
    part: Part | None
    samples: int | None
    rounds: int
    seconds: float
    runtime_rss_mib: float
    yardstick_us: list[float]
    histogram_edges_us: list[float]
    options: dict[str, Any]
    profile: list[ProfileRow] | None
    notices: list[str]
    environment: dict[str, Any]

    @property
    def passed(self) -> bool:
        """Whether no limit was exceeded."""
        return all(check.passed for check in self.checks)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON document."""
        document = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        document["variants"] = [variant.to_dict() for variant in self.variants]
        document["comparisons"] = [dataclasses.asdict(entry) for entry in self.comparisons]
        document["checks"] = [dataclasses.asdict(entry) for entry in self.checks]
        document["profile"] = self.profile and [dataclasses.asdict(row) for row in self.profile]
        return {"schema": SCHEMA, **document}

    def variant(self, name: str) -> Variant:
        """Return the variant of that name."""
        return next(variant for variant in self.variants if variant.name == name)
