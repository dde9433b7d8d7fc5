"""docs/devices.md, followed: its commands run, with an sshd on this machine as the board."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from emulation import emulation
from test_devices_ssh import server

__all__ = ["emulation", "server"]

PAGE = Path(__file__).parent.parent / "docs" / "devices.md"
BOARD = "ssh://pi@raspberrypi"


def commands(text: str) -> list[str]:
    """Return the lines of the blocks marked `sh`: what is typed on one's own machine."""
    blocks = re.findall(r"^( *)```sh\n(.*?)^\1```", text, re.MULTILINE | re.DOTALL)
    return [line.strip() for _, block in blocks for line in block.splitlines()]


def test_the_page_shows_the_chain_in_order():
    names = [line.split()[1] for line in commands(PAGE.read_text(encoding="utf-8"))]
    assert names == [
        "device", "device", "device", "quantize", "verify", "verify", "quantize", "verify",
        "device", "device", "verify",
    ]  # fmt: skip


@pytest.mark.slow
def test_every_command_of_the_page_does_what_it_says(server, emulation, tmp_path):
    there = tmp_path / "there"
    # The board has a Python without packages: `device setup` installs them.
    board = server.spec(there, os.path.realpath(sys.executable))
    toolkit = str(Path(sys.executable).with_name("toolkit"))
    for line in commands(PAGE.read_text(encoding="utf-8")):
        arguments = line.replace(BOARD, board).split()
        # Named explicitly, that Python wins over the environment that was set up for it.
        if "setup" not in line:
            arguments = [
                part.replace(os.path.realpath(sys.executable), f"{there}/venv/bin/python")
                for part in arguments
            ]
        done = subprocess.run(
            [toolkit, *arguments[1:]], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    assert "same" in done.stdout
    assert (tmp_path / "mnist_cnn.int8.onnx").stat().st_size < 251_000
