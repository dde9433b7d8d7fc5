"""Where the time of a call goes, node by node, from onnxruntime's profiler.

The profiler counts whole microseconds and costs one or two per node: what matters is which nodes
take most, and how two models differ. The sum is longer than a call that is not profiled.
"""

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from toolkit.measuring.options import DEFAULTS, RuntimeOptions
from toolkit.runtime.session import Provider, create_session

_WARMUP = 10
_KERNEL = "_kernel_time"


@dataclass(frozen=True)
class NodeTime:
    """One node of the graph that onnxruntime runs, after its own rewriting.

    Attributes:
        name: onnxruntime's name for it, derived from the node or tensor that it comes from.
        operator: Its operator, such as Conv or QLinearConv.
        provider: The execution provider that ran it.
        us: Mean of the middle half of its times, in microseconds.
        dtype: ONNX's name for the element type of its first output; empty when it is unknown.
    """

    name: str
    operator: str
    provider: str
    us: float
    dtype: str = ""


def profile(
    path: Path,
    feeds: Mapping[str, npt.NDArray[Any]],
    *,
    provider: Provider = "cpu",
    threads: int | None = None,
    options: RuntimeOptions = DEFAULTS,
    calls: int = 100,
) -> list[NodeTime]:
    """Run a model with the profiler on; return its nodes in the order they run.

    Args:
        path: The model.
        feeds: The tensors of a call, by name.
        provider: As `toolkit.runtime.session.create_session` takes it.
        threads: The same.
        options: How onnxruntime runs it.
        calls: How often; ten more warm it up.

    Raises:
        ModelError: The model cannot be opened.
    """
    with tempfile.TemporaryDirectory(prefix="toolkit-profile-") as folder:

        def configure(session_options: Any) -> None:
            options.configure(session_options)
            session_options.enable_profiling = True
            session_options.profile_file_prefix = str(Path(folder) / "profile")

        session = create_session(path, provider=provider, threads=threads, configure=configure)
        names = [output.name for output in session.get_outputs()]
        for _ in range(_WARMUP + calls):
            session.run(names, dict(feeds))
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    return _nodes(events)


def _nodes(events: list[dict[str, Any]]) -> list[NodeTime]:
    times: dict[tuple[str, str, str, str, str], list[float]] = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(_KERNEL):
            details = event["args"]
            outputs = details.get("output_type_shape") or [{}]
            key = (
                str(details.get("node_index", "")),
                event["name"].removesuffix(_KERNEL),
                str(details["op_name"]),
                str(details["provider"]),
                next(iter(outputs[0]), ""),
            )
            times.setdefault(key, []).append(float(event["dur"]))
    return [
        NodeTime(name, operator, provider, _middle(values[_WARMUP:]), dtype)
        for (_, name, operator, provider, dtype), values in times.items()
        if len(values) > _WARMUP
    ]


def _middle(values: list[float]) -> float:
    """Return the mean of the middle half: finer than the median of whole microseconds."""
    ordered = np.sort(values)
    cut = len(ordered) // 4
    return float(ordered[cut : len(ordered) - cut].mean())
