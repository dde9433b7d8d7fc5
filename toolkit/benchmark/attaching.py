"""Writes the figures of a bench into the models' contracts, as evidence that travels with them."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toolkit import contract as contracts
from toolkit.benchmark.result import BenchResult, Variant
from toolkit.contract import Contract
from toolkit.errors import ModelError
from toolkit.files import check_output, whole_file
from toolkit.runtime import Model

CHECK = "bench"


def check_attachable(models: Mapping[str, Model]) -> None:
    """Check, before anything is measured, that figures can be written into the models.

    Raises:
        ModelError: A model has no contract of its own.
        OutputError: Its folder cannot be written.
    """
    for name, model in models.items():
        if model.contract.assumed:
            raise ModelError(
                f"'{name}' carries no contract that figures could be attached to; "
                "make it with `toolkit export`."
            )
        check_output(model.path, force=True)


def attach(result: BenchResult) -> None:
    """Replace the bench figures in the contract of each model by those of the result.

    The file is written anew with its graph unchanged; data that lies outside it stays there. A
    model measured in several settings gets one entry for each.

    Raises:
        OutputError: A file cannot be written.
    """
    for path in dict.fromkeys(variant.path for variant in result.variants):
        entries = [
            _evidence(variant, result) for variant in result.variants if variant.path == path
        ]
        _write(path, entries)


def _evidence(variant: Variant, result: BenchResult) -> dict[str, Any]:
    machine = result.environment
    return {
        "check": CHECK,
        "time": machine["time"],
        "cpu": machine["cpu"],
        "onnxruntime": machine["onnxruntime"],
        "provider": variant.providers[0],
        "threads": variant.threads,
        "batch": variant.batch,
        "latency_us": {
            "p50": round(variant.latency_us.p50, 1),
            "p99": round(variant.latency_us.p99, 1),
        },
        "throughput_per_s": round(variant.throughput_per_s, 1),
        "load_ms": round(variant.load_ms, 1),
        "rss_over_runtime_mib": round(variant.rss_over_runtime_mib, 1),
        "data": result.data,
        "top1": variant.top1,
        "compared": [
            {
                "baseline": entry.baseline,
                "latency_ratio": round(entry.latency_ratio, 4),
                "interval": [round(end, 4) for end in entry.interval],
                "verdict": entry.verdict,
            }
            for entry in result.comparisons
            if entry.candidate == variant.name
        ],
    }


def _write(path: Path, entries: list[dict[str, Any]]) -> None:
    import onnx

    model = onnx.load(path, load_external_data=False)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    contract: Contract = contracts.from_json(metadata[contracts.KEY])
    kept = [entry for entry in contract.evidence if entry.get("check") != CHECK]
    contract = dataclasses.replace(contract, evidence=(*kept, *entries))
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, {**metadata, contracts.KEY: contract.to_json()})
    with whole_file(path) as temporary:
        onnx.save(model, temporary)
