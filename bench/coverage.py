"""Which layers and networks of Keras export right, are refused, or fail: writes docs/coverage.md.

    python bench/coverage.py [--only PATTERN ...] [--layers | --networks] [--fresh]

Layers take minutes, the networks of keras.applications hours and, the largest of them, 16 GB of
memory. Results are kept in build/coverage.jsonl as they come, and what stands there is not run
again (`--fresh` forgets it), so that the work may be stopped and taken up. The page is written
when every case has a result; a selection (`--only 'Conv*'`, `--only ResNet50V2`) is run again,
printed, and goes into the page too when the rest is there.

"right" means that max |a - b| / max |a| against Keras is below 1e-4 on random samples, at batch 3
and 1, with all optimizations of onnxruntime and with none. "refused" means that export wrote
nothing and named the layer. Everything else is "wrong" or "failed", and the exit status 3.
"""

import argparse
import fnmatch
import importlib.metadata
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from coverage_layers import CASES, NO_CASE
from coverage_networks import NETWORKS

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "coverage.md"
RESULTS = ROOT / "build" / "coverage.jsonl"
WORKER = Path(__file__).with_name("coverage_worker.py")
PACKAGES = ("keras", "tensorflow", "tf2onnx", "onnxruntime")
VERDICTS = ("right", "refused", "wrong", "failed")

Result = dict[str, Any]


def main() -> int:
    """Run what has no result yet, write the page; return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", action="append", metavar="PATTERN", help="names, as in a shell")
    parser.add_argument("--layers", action="store_true", help="layer cases alone")
    parser.add_argument("--networks", action="store_true", help="networks alone")
    parser.add_argument("--fresh", action="store_true", help="run again what has a result")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FILE")
    parser.add_argument("--page", type=Path, default=PAGE, metavar="FILE")
    options = parser.parse_args()

    layers = [] if options.networks else chosen(CASES, options.only)
    networks = [] if options.layers else chosen(NETWORKS, options.only)
    if not layers and not networks:
        parser.error(f"no case is named {' or '.join(options.only)}")
    options.results.parent.mkdir(parents=True, exist_ok=True)
    known = read(options.results)
    if not options.fresh and not options.only:
        layers = [name for name in layers if name not in known]
        networks = [name for name in networks if name not in known]
    with options.results.open("a", encoding="utf-8") as file:
        for result in itertools.chain(run_layers(layers), run_networks(networks)):
            known[result["name"]] = result
            file.write(json.dumps(result) + "\n")
            file.flush()
            print(line_of(result), flush=True)
    missing = [name for name in (*CASES, *NETWORKS) if name not in known]
    print(", ".join(f"{count} {verdict}" for verdict, count in counts(known.values())))
    if missing:
        print(f"{options.page} is not written: {len(missing)} cases have no result yet")
    else:
        options.page.write_text(page(known), encoding="utf-8")
        print(f"{options.page} written")
    return 3 if any(known[name]["verdict"] in VERDICTS[2:] for name in known) else 0


def chosen(names: Sequence[str] | dict[str, Any], patterns: Sequence[str] | None) -> list[str]:
    """Return the names that a pattern fits; all without patterns."""
    return [
        name
        for name in names
        if patterns is None or any(fnmatch.fnmatch(name, pattern) for pattern in patterns)
    ]


def read(path: Path) -> dict[str, Result]:
    """Return the last result of each name."""
    if not path.exists():
        return {}
    lines = path.read_text(encoding="utf-8").splitlines()
    return {result["name"]: result for result in map(json.loads, lines)}


def run_layers(names: Sequence[str]) -> Iterator[Result]:
    """Run layer cases in one process; in another one behind a case that kills it."""
    waiting = list(names)
    while waiting:
        process = subprocess.Popen(
            [sys.executable, WORKER, "layers"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment(),
            text=True,
        )
        assert process.stdin is not None  # noqa: S101 - it was asked for
        assert process.stdout is not None  # noqa: S101
        with process:
            while waiting:
                print(waiting[0], file=process.stdin, flush=True)
                answer = process.stdout.readline()
                name = waiting.pop(0)
                if answer:
                    yield {"name": name, **json.loads(answer)}
                else:
                    yield {"name": name, **obituary(process.wait())}
                    break
            process.stdin.close()


def run_networks(names: Sequence[str]) -> Iterator[Result]:
    """Build each network in one process and export it in another, which is measured."""
    for name in names:
        with tempfile.TemporaryDirectory(prefix="coverage-") as folder:
            result = {"name": name, **started("build", name, folder)}
            if "verdict" not in result:
                result |= started("export", folder)
            yield result


def started(*arguments: str) -> Result:
    """Run a worker to its end and return its result."""
    done = subprocess.run(
        [sys.executable, WORKER, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment(),
        text=True,
        check=False,
    )
    lines = done.stdout.splitlines()
    return dict(json.loads(lines[-1])) if lines else obituary(done.returncode)


def environment() -> dict[str, str]:
    """Keep TensorFlow on the CPU, and let the workers import this checkout."""
    path = os.environ.get("PYTHONPATH")
    return {
        **os.environ,
        "PYTHONPATH": f"{ROOT}{os.pathsep}{path}" if path else str(ROOT),
        "CUDA_VISIBLE_DEVICES": "-1",
    }


def obituary(status: int) -> Result:
    """Return the result of a case that killed its process."""
    how = f"signal {-status}" if status < 0 else f"status {status}"
    return {"verdict": "failed", "reason": f"its process ended with {how}"}


def counts(results: Any) -> list[tuple[str, int]]:
    """Return how many results have each verdict, all of the verdicts."""
    found = Counter(result["verdict"] for result in results)
    return [(verdict, found[verdict]) for verdict in VERDICTS]


def line_of(result: Result) -> str:
    """Return a result as a line for the terminal."""
    figures = [f"{result[way]:.0e}" for way in ("optimized", "plain") if way in result]
    peak = [f"{result['peak_mib']:,.0f} MiB"] if "peak_mib" in result else []
    head = f"{time.strftime('%H:%M:%S')}  {result['verdict']:8}"
    return "  ".join((head, result["name"], *figures, *peak, result.get("reason", "")))


def page(known: dict[str, Result]) -> str:
    """Return docs/coverage.md."""
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)
    layers = [known[name] for name in CASES]
    networks = [known[name] for name in NETWORKS]
    classes = {case.layer for case in CASES.values()} - {"keras.ops"}
    lines = [
        "# What exports",
        "",
        f"Written by `python bench/coverage.py` with {versions}.",
        "",
        "Each case was saved as a `.keras` file and exported; the ONNX file was then run with all",
        "optimizations of onnxruntime and with none. *Right*: max |a - b| / max |a| against Keras",
        "is below 1e-4 either way. *Refused*: export wrote nothing and named the layer. Weights,",
        "biases and statistics of normalizations are random.",
        "",
        "| | cases | " + " | ".join(VERDICTS) + " |",
        "|---|---|" + "---|" * len(VERDICTS),
    ]
    for title, results in (
        (f"layers ({len(classes)} classes)", layers),
        ("networks of keras.applications", networks),
    ):
        figures = " | ".join(str(count) for _, count in counts(results))
        lines.append(f"| {title} | {len(results)} | {figures} |")
    lines += [
        "",
        "## Layers",
        "",
        "| case | verdict | optimized | plain | nodes |",
        "|---|---|---|---|---|",
        *(
            f"| {result['name']} | {result['verdict']} | {figure(result)} |"
            for result in sorted(layers, key=lambda result: result["name"].lower())
        ),
        "",
        "Without a case:",
        "",
        *(f"- {name}: {reason}" for name, reason in sorted(NO_CASE.items())),
        "",
        "## Networks of keras.applications",
        "",
        "With random weights, for pictures of the size given, with the logits as output. Peak",
        "memory is that of the export's process with TensorFlow.",
        "",
        "| network | parameters | pictures | peak memory | verdict | optimized | plain | nodes |",
        "|---|---|---|---|---|---|---|---|",
        *(
            f"| {result['name']} | {result['parameters'] / 1e6:.1f} million | {result['size']} | "
            f"{result['peak_mib'] / 1024:.1f} GiB | {result['verdict']} | {figure(result)} |"
            for result in sorted(networks, key=lambda result: result["name"].lower())
        ),
        "",
    ]
    return "\n".join(lines)


def figure(result: Result) -> str:
    """Return the cells behind a verdict: the figures, or the reason why there are none."""
    if "optimized" not in result:
        return f"{result['reason']} | | "
    return f"{result['optimized']:.0e} | {result['plain']:.0e} | {result['nodes']}"


if __name__ == "__main__":
    sys.exit(main())
