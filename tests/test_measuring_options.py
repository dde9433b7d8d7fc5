import os

import onnxruntime
import pytest

from toolkit.measuring.options import RuntimeOptions

LEVELS = onnxruntime.GraphOptimizationLevel


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (RuntimeOptions(), (LEVELS.ORT_ENABLE_ALL, True, "1")),
        (
            RuntimeOptions(spinning=False, arena=False, optimization="basic"),
            (LEVELS.ORT_ENABLE_BASIC, False, "0"),
        ),
        (RuntimeOptions(optimization="none"), (LEVELS.ORT_DISABLE_ALL, True, "1")),
    ],
)
def test_options_are_set_on_the_session(options, expected):
    target = onnxruntime.SessionOptions()
    options.configure(target)
    assert (
        target.graph_optimization_level,
        target.enable_cpu_mem_arena,
        target.get_session_config_entry("session.intra_op.allow_spinning"),
    ) == expected


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system cannot pin")
def test_the_process_is_pinned_in_the_block_and_freed_behind_it():
    allowed = os.sched_getaffinity(0)
    core = min(allowed)
    with RuntimeOptions(cpus=(core,)).pinned():
        assert os.sched_getaffinity(0) == {core}
    assert os.sched_getaffinity(0) == allowed


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system cannot pin")
def test_a_core_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="core 9999"), RuntimeOptions(cpus=(9999,)).pinned():
        pass
