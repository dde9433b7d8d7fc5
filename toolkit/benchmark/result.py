"""What `bench` returns: variants, how they compare, and what the figures rest on."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from toolkit.benchmark.nodes import ProfileRow
from toolkit.datasets import Part
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
    """

    samples: int
    top1: float | None
    top1_interval: tuple[float, float] | None
    agreement: float | None
    confusion: list[list[int]] | None


@dataclass(frozen=True)
class Variant:
    """One model under one setting.

    Attributes:
        name: Unique in the result: the model's name, and the setting where several are compared.
        model: The model's name.
        path: Its file.
        sha256: That of the file.
        size_bytes: On disk, with external data.
        compressed_bytes: After zlib, as an app package or an HTTP transfer holds it.
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
        histogram: Calls per bin of `BenchResult.histogram_edges_us`.
        labels: Names of the classes, or None.
    """

    name: str
    model: str
    path: str
    sha256: str
    size_bytes: int
    compressed_bytes: int
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
        accuracy = document.pop("accuracy")
        names = [field.name for field in dataclasses.fields(Accuracy)]
        return document | (accuracy or dict.fromkeys(names))


@dataclass(frozen=True)
class Flip:
    """A sample that two models answer differently: its index in the data, and both classes."""

    index: int
    label: int | None
    baseline: int
    candidate: int


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
        flipped: The first 100 of them.
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
class BenchResult:
    """The outcome of `bench`.

    Attributes:
        variants: In the order of the models; the first is the baseline.
        comparisons: Each other variant against its baseline.
        data: Name of the dataset, or None for random inputs.
        part: Which part of the data they are: "test", "held out" or "all".
        samples: Samples that the accuracy rests on.
        rounds: Interleaved rounds.
        seconds: What the whole bench took.
        runtime_rss_mib: Peak memory of a process with the bare runtime.
        histogram_edges_us: Edges of the bins of all histograms, evenly spaced in the logarithm.
        options: `toolkit.measuring.options.RuntimeOptions`.
        profile: Times per node, the variants side by side; None unless asked for.
        notices: What the reader must know: noise, assumptions, figures that rest on little.
        environment: Machine, versions, time and command.
    """

    variants: list[Variant]
    comparisons: list[Comparison]
    data: str | None
    part: Part | None
    samples: int | None
    rounds: int
    seconds: float
    runtime_rss_mib: float
    histogram_edges_us: list[float]
    options: dict[str, Any]
    profile: list[ProfileRow] | None
    notices: list[str]
    environment: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON document."""
        document = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        document["variants"] = [variant.to_dict() for variant in self.variants]
        document["comparisons"] = [dataclasses.asdict(entry) for entry in self.comparisons]
        document["profile"] = self.profile and [dataclasses.asdict(row) for row in self.profile]
        return {"schema": SCHEMA, **document}

    def variant(self, name: str) -> Variant:
        """Return the variant of that name."""
        return next(variant for variant in self.variants if variant.name == name)
