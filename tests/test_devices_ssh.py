"""Devices over ssh, against a real sshd on this machine: as seen from here, another machine."""

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from emulation import emulation
from onnx import TensorProto, helper

from toolkit.devices import Run, open_device
from toolkit.devices.address import parse
from toolkit.errors import DeviceError, MissingPackageError, ModelError, RecipeError

__all__ = ["emulation"]

SSHD = shutil.which("sshd", path=f"/usr/sbin:{os.environ.get('PATH', '')}")


class Server:
    """An sshd on a free port, with a host key and an authorized key of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.home = folder / "home"
        (self.home / ".ssh").mkdir(parents=True, mode=0o700)
        self.key(folder / "host_key")
        self.key(self.home / ".ssh" / "id_ed25519")
        shutil.copy(self.home / ".ssh" / "id_ed25519.pub", folder / "authorized_keys")
        config = {
            "Port": self.port,
            "ListenAddress": "127.0.0.1",
            "HostKey": folder / "host_key",
            "AuthorizedKeysFile": folder / "authorized_keys",
            "PidFile": folder / "pid",
            "UsePAM": "no",
            "StrictModes": "no",
            "PasswordAuthentication": "no",
        }
        text = "".join(f"{name} {value}\n" for name, value in config.items())
        (folder / "sshd_config").write_text(text)
        self.trust()
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)
        self.process = subprocess.Popen(
            [SSHD, "-D", "-e", "-f", folder / "sshd_config"], stderr=subprocess.DEVNULL
        )
        for _ in range(100):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return
            time.sleep(0.05)
        raise AssertionError("sshd did not start")

    @staticmethod
    def key(path: Path) -> None:
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)

    @staticmethod
    def python(path: Path, command: str) -> None:
        path.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        path.chmod(0o755)

    def trust(self, key: Path | None = None) -> None:
        """Write the host's key into known_hosts."""
        public = (key or self.folder / "host_key").with_suffix(".pub").read_text()
        line = f"[127.0.0.1]:{self.port} {public}"
        (self.home / ".ssh" / "known_hosts").write_text(line)

    def spec(self, folder: Path | str, python: Path | str = sys.executable) -> str:
        # Named, as a login shell may put another python3 in front.
        return f"ssh://{getpass.getuser()}@127.0.0.1:{self.port}{folder}?python={python}"

    def sessions(self) -> list[int]:
        """Return the processes that serve connections."""
        done = subprocess.run(
            ["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True, check=False
        )
        return [int(line) for line in done.stdout.split()]

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    if SSHD is None:
        pytest.skip("no sshd: apt-get install openssh-server")
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    server = Server(tmp_path_factory.mktemp("sshd"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(cache))
        patch.setenv("HOME", str(server.home))
        patch.delenv("SSH_AUTH_SOCK", raising=False)
        yield server
    server.stop()


@pytest.fixture
def there(tmp_path):
    """The folder on the device."""
    return tmp_path / "there"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return doubling_model(tmp_path_factory.mktemp("models") / "double.onnx")


def doubling_model(path: Path, *, ir_version: int = 8, opset: int = 17) -> Path:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3])
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "double", [x], [y])
    made = helper.make_model(
        graph, ir_version=ir_version, opset_imports=[helper.make_opsetid("", opset)]
    )
    path.write_bytes(made.SerializeToString())
    return path


X = np.arange(6, dtype=np.float32).reshape(2, 3)


def names(folder: Path) -> set[str]:
    return {path.suffix for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("spec", "host", "port", "user", "folder", "python"),
    [
        ("ssh://pi@board", "board", None, "pi", "~/.cache/toolkit", None),
        ("ssh://board:2222/", "board", 2222, None, "~/.cache/toolkit", None),
        ("ssh://pi@10.0.0.7/data/tk", "10.0.0.7", None, "pi", "/data/tk", None),
        ("ssh://pi@[fe80::1]:22/~/tk", "fe80::1", 22, "pi", "~/tk", None),
        ("ssh://pi@board?python=/opt/py/bin/python", "board", None, "pi", "~/.cache/toolkit",
         "/opt/py/bin/python"),
        ("ssh://pi@board/with%20space", "board", None, "pi", "/with space", None),
    ],
)  # fmt: skip
def test_an_address_is_taken_apart(spec, host, port, user, folder, python):
    found = parse(spec)
    assert (found.host, found.port, found.user) == (host, port, user)
    assert (found.folder, found.python) == (folder, python)


@pytest.mark.parametrize(
    "spec",
    ["ssh://", "ssh:board", "ssh://pi@", "ssh://-oProxyCommand=x", "ssh://pi@board:x",
     "ssh://pi@board:99999", "ssh://pi@board?pyhton=x", "ssh://pi@board?python=", "ssh://a@b#c",
     "ssh://[::1"],
)  # fmt: skip
def test_an_address_of_another_form_is_refused(spec):
    with pytest.raises(RecipeError, match=r"ssh://|\?python=PATH"):
        open_device(spec)


def test_a_password_in_the_address_is_refused_and_not_repeated():
    with pytest.raises(RecipeError, match="password") as error:
        open_device("ssh://pi:hunter2@board")
    assert "hunter2" not in str(error.value)


@pytest.mark.slow
def test_a_model_runs_there_and_travels_once(server, there, model):
    with open_device(server.spec(there)) as device:
        assert device.infer([(model, {"x": X})]).outputs[0]["y"].tolist() == (X + X).tolist()
        assert device.describe().int8 == open_device("local").describe().int8
    files = {path: path.stat().st_ino for path in (there / "files").iterdir()}
    assert names(there) == {".zip", ".onnx"}
    with open_device(server.spec(there)) as device:
        device.infer([(model, {"x": X})])
        assert device._sent == []
    assert {path: path.stat().st_ino for path in (there / "files").iterdir()} == files


@pytest.mark.slow
def test_times_come_back_with_heat_and_clock(server, there, model):
    with open_device(server.spec(there)) as device:
        measured = device.measure(
            {"double": Run(model, {"x": X})}, rounds=8, max_seconds=5, cold_starts=1
        )
    assert measured.timings.rounds >= 8
    assert measured.timings.latencies_ns("double").min() > 0
    assert measured.cold_starts["double"][0].peak_rss_mib > 10
    assert measured.runtime[0].peak_rss_mib > 10
    assert set(measured.before) == {"temperature_c", "frequency_mhz", "throttled"}


@pytest.mark.slow
def test_an_arm_board_is_a_device_like_any_other(server, there, model, emulation, tmp_path):
    python = tmp_path / "python-arm"
    server.python(
        python,
        f"env PYTHONPATH=$PYTHONPATH:{emulation.packages} {emulation.qemu('aarch64')} "
        f"-cpu cortex-a72 -L {emulation.root} {emulation.python}",
    )
    with open_device(server.spec(there, python)) as device:
        found = device.infer([(model, {"x": X})])
    assert found.outputs[0]["y"].tolist() == (X + X).tolist()
    assert (found.device.machine, found.device.int8.name) == ("aarch64", "NEON")


@pytest.mark.slow
def test_an_installation_that_fails_leaves_nothing(server, there, tmp_path):
    python = tmp_path / "python"
    # Its virtual environments have a pip that fails.
    python.write_text(
        f"""#!/bin/sh
if [ "$1 $2" = "-m venv" ]; then
    mkdir -p "$3/bin" && printf '#!/bin/sh\necho "ERROR: no wheel" >&2; exit 1' > "$3/bin/python"
    exec chmod +x "$3/bin/python"
fi
exec {os.path.realpath(sys.executable)} -I -S "$@"
"""
    )
    python.chmod(0o755)
    with open_device(server.spec(there, python), install=True) as device:
        with pytest.raises(
            DeviceError, match=r"cannot be installed: no wheel.*python3-onnxruntime"
        ):
            device.describe()
    assert not there.exists()


def test_a_host_that_nobody_knows(server):
    with open_device("ssh://pi@no-such-host.invalid") as device:
        with pytest.raises(DeviceError, match="no such host is known"):
            device.describe()


def test_a_port_where_nobody_listens(server):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        with open_device(f"ssh://pi@127.0.0.1:{free.getsockname()[1]}") as device:
            with pytest.raises(DeviceError, match="Check that an ssh server runs there"):
                device.describe()


def test_a_host_key_that_is_not_known_yet(server, there):
    (server.home / ".ssh" / "known_hosts").unlink()
    try:
        with open_device(server.spec(there)) as device:
            with pytest.raises(DeviceError, match=r"not in known_hosts\. Connect once") as error:
                device.describe()
    finally:
        server.trust()
    assert f"ssh -p {server.port} {getpass.getuser()}@127.0.0.1" in str(error.value)
    assert not there.exists()


def test_a_host_key_that_changed(server, there, tmp_path):
    server.key(tmp_path / "other_key")
    server.trust(tmp_path / "other_key")
    try:
        with open_device(server.spec(there)) as device:
            with pytest.raises(DeviceError, match="not the one in known_hosts"):
                device.describe()
    finally:
        server.trust()


def test_a_key_that_is_refused(server, there):
    authorized = server.folder / "authorized_keys"
    text = authorized.read_text()
    authorized.write_text("")
    try:
        with open_device(server.spec(there)) as device:
            with pytest.raises(DeviceError, match="refused every key"):
                device.describe()
    finally:
        authorized.write_text(text)


def test_a_device_without_python(server, there):
    with open_device(server.spec(there, "/no/such/python")) as device:
        with pytest.raises(DeviceError, match="no Python that runs"):
            device.describe()
    assert not there.exists()


@pytest.mark.parametrize(
    ("code", "kind", "message"),
    [
        ("import sys; sys.version_info = (3, 9, 2)", DeviceError, r"Python is 3\.9 there, 3\.11"),
        ("import sys; sys.modules['numpy'] = None", MissingPackageError, "numpy not installed"),
    ],
)
def test_a_device_whose_python_will_not_do(server, there, tmp_path, code, kind, message):
    # Both are found by the runner, as the packages' files are there.
    (tmp_path / "sitecustomize.py").write_text(code)
    python = tmp_path / "python"
    server.python(python, f"env PYTHONPATH={tmp_path}:$PYTHONPATH {sys.executable}")
    with open_device(server.spec(there, python)) as device:
        with pytest.raises(kind, match=message):
            device.describe()
    assert not there.exists()


def test_a_device_without_onnxruntime(server, there, tmp_path):
    python = tmp_path / "python"
    server.python(python, f"{os.path.realpath(sys.executable)} -I -S")
    with open_device(server.spec(there, python)) as device:
        with pytest.raises(
            MissingPackageError, match="numpy and onnxruntime not installed"
        ) as error:
            device.describe()
    assert "--install" in str(error.value)
    assert not there.exists()


@pytest.mark.slow
def test_a_model_too_new_for_the_onnxruntime_there(server, there, tmp_path):
    path = doubling_model(tmp_path / "new.onnx", ir_version=99)
    with open_device(server.spec(there)) as device:
        with pytest.raises(ModelError, match=r"IR version 99.*--opset 17") as error:
            device.infer([(path, {"x": X})])
    assert f"'{path}'" in str(error.value)
    assert not there.exists()


@pytest.mark.slow
def test_a_connection_that_drops_ends_what_runs_there(server, there, model):
    with open_device(server.spec(there)) as device:
        device.describe()
        for session in server.sessions():
            os.kill(session, signal.SIGKILL)
        with pytest.raises(DeviceError, match="the connection was lost"):
            device.infer([(model, {"x": X})])
        # The next use connects again.
        assert device.infer([(model, {"x": X})]).outputs[0]["y"].tolist() == (X + X).tolist()


@pytest.mark.slow
def test_a_connection_that_drops_during_a_run_leaves_no_process(server, there, model):
    with open_device(server.spec(there)) as device:
        device.describe()
        timer = threading.Timer(2, lambda: [os.kill(n, signal.SIGKILL) for n in server.sessions()])
        timer.start()
        with pytest.raises(DeviceError, match=r"the connection was lost.*what ran there has ended"):
            device.measure({"x": Run(model, {"x": X})}, rounds=10**7, max_seconds=60)
    for _ in range(100):
        if not processes_in(there):
            return
        time.sleep(0.05)
    raise AssertionError(processes_in(there))


def processes_in(folder: Path) -> list[str]:
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (entry / "cwd").readlink() == folder:
                found.append(entry.name)
    return found


@pytest.mark.slow
def test_a_disk_that_is_full(server, tmp_path, model):
    if os.getuid() != 0:
        pytest.skip("only root can mount a small disk")
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no right to mount a small disk here")
    try:
        with open_device(server.spec(disk / "there")) as device:
            with pytest.raises(DeviceError, match="No space left on device"):
                device.infer([(model, {"x": X})])
        assert names(disk) == set()
    finally:
        subprocess.run(["umount", str(disk)], check=True)
