"""This machine as a device: the runner in a process of its own."""

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, cast

from toolkit.devices.device import Device, Reply
from toolkit.devices.travelling import archive
from toolkit.runtime.session import INSTALL

RUNNER = ("-m", "toolkit.devices.runner")


class LocalDevice(Device):
    """Runs jobs in a child process that has the travelling code alone, as other devices do."""

    def _place(self, models: Sequence[Path]) -> list[str]:
        return [str(path.resolve()) for path in models]

    def _exchange(self, job: bytes) -> Reply:
        with tempfile.TemporaryDirectory(prefix="toolkit-device-") as folder:
            code = Path(folder) / archive().name
            code.write_bytes(archive().content)
            return _converse([*self._command(Path(folder)), *RUNNER], self._environment(code), job)

    def _remedy(self) -> str:
        return INSTALL

    def _command(self, folder: Path) -> list[str]:
        """Return the command that starts Python; ``folder`` lasts as long as the process."""
        return [sys.executable]

    def _environment(self, code: Path) -> dict[str, str]:
        """Return the process' environment, with the travelling code on Python's path."""
        search_path = filter(None, [str(code), os.environ.get("PYTHONPATH")])
        # The current folder, which may hold a numpy.py, stays out of Python's path.
        return {**os.environ, "PYTHONPATH": os.pathsep.join(search_path), "PYTHONSAFEPATH": "1"}


def _converse(command: list[str], environment: dict[str, str], job: bytes) -> Reply:
    """Start a runner, give it the job, and wait for its answer."""
    with tempfile.TemporaryFile() as log:
        # The runner ends itself when its stdin closes, so `communicate` would be its end.
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=environment
        )
        stdin, stdout = cast("BinaryIO", process.stdin), cast("BinaryIO", process.stdout)
        try:
            # It may refuse the job before it has read it; its answer says why.
            with contextlib.suppress(BrokenPipeError):
                stdin.write(job)
                stdin.flush()
            output = stdout.read()
            status = process.wait()
        finally:
            process.kill()
            process.wait()
            stdout.close()
            with contextlib.suppress(BrokenPipeError):
                stdin.close()
        log.seek(0)
        return Reply(output, log.read().decode(errors="replace"), status)
