"""What tests on emulated CPUs share."""

import os

import pytest

from toolkit.devices import sysroot
from toolkit.errors import ToolkitError

REQUIRED = "TOOLKIT_REQUIRE_EMULATION"

# One worker runs them all: together they would slow each other down.
on_emulated_cpus = [pytest.mark.slow]


@pytest.fixture(scope="session")
def emulation():
    """Emulated CPUs that are set up; skips with the reason where they cannot be."""
    try:
        return sysroot.make()[0]
    except ToolkitError as error:
        if os.environ.get(REQUIRED):
            raise
        pytest.skip(str(error))
