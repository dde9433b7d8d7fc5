"""A bench as Markdown for a pull request, and as CSV for a spreadsheet."""

import csv as csv_format
import html
import io
import re
from collections.abc import Sequence

from toolkit.benchmark.result import BenchResult, Check, Comparison, Variant
from toolkit.benchmark.summary import footnotes, headline, percent, sentences
from toolkit.reporting.text import printable

_MARKUP = re.compile(r"([\\`*_\[\]|~#!])")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def markdown(result: BenchResult) -> str:
    """Return headline, variants, comparisons and checks as tables; names are escaped."""
    several = len({entry.baseline for entry in result.comparisons}) > 1
    blocks = [f"### {_text(headline(result))}", _text(" ".join(sentences(result)))]
    failed = [check for check in result.checks if not check.passed]
    if result.checks:
        kept = len(result.checks) - len(failed)
        blocks.append(
            f"**{len(failed)} of {len(result.checks)} checks failed.**"
            if failed
            else f"All {kept} checks passed."
        )
        blocks.append(
            _table(
                ["variant", "against", "figure", "value", "95 % interval", "limit", ""],
                [check_cells(check) for check in result.checks],
                left=3,
            )
        )
    blocks.append(
        _table(
            ["variant", "top-1", "p50 µs", "p99 µs", "per second", "load ms", "MiB", "size kB"],
            [_variant_cells(variant) for variant in result.variants],
        )
    )
    if result.comparisons:
        blocks.append(
            _table(
                ["variant", "time", "95 % interval", "verdict", "top-1 points", "other answers"],
                [_comparison_cells(entry, several=several) for entry in result.comparisons],
            )
        )
    notes = "\n".join(f"- {_text(line)}" for line in footnotes(result))
    blocks.append(f"<details><summary>Where this was measured</summary>\n\n{notes}\n\n</details>")
    return "\n\n".join(block for block in blocks if block) + "\n"


def check_cells(check: Check) -> list[str]:
    """Return the cells of a check: variant, against, figure, value, interval, limit, outcome."""
    low, high = check.interval
    if check.figure == "time":
        value, interval = f"{check.value:.3f}", f"{low:.3f} to {high:.3f}"
        limit = "" if check.limit is None else f"{check.limit:g}"
    else:
        value, interval = f"{check.value:+.2f}", f"{low:+.2f} to {high:+.2f}"
        limit = "" if check.limit is None else f"{check.limit:g}"
    beyond = check.limit is not None and check.value > check.limit
    outcome = "FAILED" if not check.passed else "within noise" if beyond else ""
    if check.limit is not None and not outcome:
        outcome = "passed"
    figure = "time, ratio" if check.figure == "time" else "drop, points"
    return [check.variant, check.against, figure, value, interval, limit, outcome]


def csv(result: BenchResult) -> str:
    """Return one line per variant with all of its figures; units stand in the names of columns.

    A text that a spreadsheet would run as a formula gets an apostrophe before it.
    """
    compared = {entry.candidate: entry for entry in result.comparisons}
    rows = [_record(variant, compared.get(variant.name), result) for variant in result.variants]
    file = io.StringIO()
    writer = csv_format.DictWriter(file, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def _record(
    variant: Variant, entry: Comparison | None, result: BenchResult
) -> dict[str, str | float | None]:
    accuracy, latency = variant.accuracy, variant.latency_us
    interval = None if accuracy is None else accuracy.top1_interval
    return {
        "variant": _plain(variant.name),
        "model": _plain(variant.model),
        "path": _plain(str(variant.path)),
        "sha256": variant.sha256,
        "runtime": variant.runtime,
        "device": _plain(variant.device),
        "provider": variant.providers[0],
        "threads": variant.threads,
        "batch": variant.batch,
        "data": _plain(result.data or ""),
        "samples": None if accuracy is None else accuracy.samples,
        "top1": variant.top1,
        "top1_low": None if interval is None else interval[0],
        "top1_high": None if interval is None else interval[1],
        "agreement": None if accuracy is None else accuracy.agreement,
        "p50_us": latency.p50,
        "p90_us": latency.p90,
        "p99_us": latency.p99,
        "p999_us": latency.p999,
        "mean_us": latency.mean,
        "cpu_us": variant.cpu_us,
        "throughput_per_s": variant.throughput_per_s,
        "import_ms": variant.import_ms,
        "load_ms": variant.load_ms,
        "first_run_ms": variant.first_run_ms,
        "peak_rss_mib": variant.peak_rss_mib,
        "rss_over_runtime_mib": variant.rss_over_runtime_mib,
        "size_bytes": variant.size_bytes,
        "compressed_bytes": variant.compressed_bytes,
        "baseline": None if entry is None else _plain(entry.baseline),
        "latency_ratio": None if entry is None else entry.latency_ratio,
        "ratio_low": None if entry is None else entry.interval[0],
        "ratio_high": None if entry is None else entry.interval[1],
        "verdict": None if entry is None else entry.verdict,
        "drop_points": None if entry is None else entry.drop_points,
        "mcnemar_p": None if entry is None else entry.mcnemar_p,
        "flips": None if entry is None else entry.flips,
    }


def _plain(text: str) -> str:
    text = printable(text)
    return f"'{text}" if text.startswith(_FORMULA) else text


def _variant_cells(variant: Variant) -> list[str]:
    latency = variant.latency_us
    return [
        variant.name,
        "–" if variant.top1 is None else percent(variant.top1),
        f"{latency.p50:,.1f}",
        f"{latency.p99:,.1f}",
        f"{variant.throughput_per_s:,.0f}",
        f"{variant.load_ms:.1f}",
        f"{variant.peak_rss_mib:.1f}",
        f"{variant.size_bytes / 1000:,.1f}",
    ]


def _comparison_cells(entry: Comparison, *, several: bool) -> list[str]:
    low, high = entry.interval
    return [
        f"{entry.candidate} / {entry.baseline}" if several else entry.candidate,
        f"{entry.latency_ratio:.3f}",
        f"{low:.3f} to {high:.3f}",
        entry.verdict,
        "–" if entry.drop_points is None else f"{0 - entry.drop_points:+.2f}",
        "–" if entry.flips is None else f"{entry.flips:,}",
    ]


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> str:
    """Return a table whose first ``left`` columns are text."""
    rule = ["---" if at < left else "--:" for at in range(len(header))]
    lines = [header, rule, *([_text(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _text(text: str) -> str:
    """Return a text in which nothing is markup, HTML or another cell."""
    return _MARKUP.sub(r"\\\1", html.escape(printable(text), quote=False))
