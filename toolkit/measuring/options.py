"""How onnxruntime runs a model while it is measured: what an application could set as well."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

Optimization = Literal["all", "extended", "basic", "none"]


@dataclass(frozen=True)
class RuntimeOptions:
    """Options of the runtime; the defaults are onnxruntime's own.

    Attributes:
        spinning: Whether idle threads of an operator wait in a busy loop: answers come sooner,
            at the price of CPU time.
        arena: Whether memory is kept from call to call.
        optimization: How far onnxruntime rewrites the graph while it loads it.
        cpus: Cores that the process may use, or None for all.
    """

    spinning: bool = True
    arena: bool = True
    optimization: Optimization = "all"
    cpus: tuple[int, ...] | None = None

    def configure(self, options: Any) -> None:
        """Set an ``onnxruntime.SessionOptions``."""
        import onnxruntime

        level = onnxruntime.GraphOptimizationLevel
        options.graph_optimization_level = {
            "all": level.ORT_ENABLE_ALL,
            "extended": level.ORT_ENABLE_EXTENDED,
            "basic": level.ORT_ENABLE_BASIC,
            "none": level.ORT_DISABLE_ALL,
        }[self.optimization]
        options.enable_cpu_mem_arena = self.arena
        options.add_session_config_entry(
            "session.intra_op.allow_spinning", "1" if self.spinning else "0"
        )

    @contextlib.contextmanager
    def pinned(self) -> Iterator[None]:
        """Keep this process, with its threads and children to come, on ``cpus`` in the block.

        Raises:
            ValueError: This system cannot pin, or the process may not use one of the cores.
        """
        if self.cpus is None:
            yield
            return
        if not hasattr(os, "sched_setaffinity"):
            raise ValueError("cpus is given, but this system cannot keep a process on some cores")
        allowed = os.sched_getaffinity(0)
        missing = set(self.cpus) - allowed
        if missing:
            raise ValueError(
                f"cpus names core {min(missing)}, this process may use "
                f"{', '.join(map(str, sorted(allowed)))}"
            )
        os.sched_setaffinity(0, self.cpus)
        try:
            yield
        finally:
            os.sched_setaffinity(0, allowed)


DEFAULTS = RuntimeOptions()
