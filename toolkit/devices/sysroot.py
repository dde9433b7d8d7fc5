"""What emulation needs, in a folder of the cache: qemu, and an ARM Python with onnxruntime.

Nothing is installed into the system and nothing needs root. The folder appears under its name
when it is complete and was seen to work; its name carries the versions, which are those of the
onnxruntime and numpy installed here.
"""

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from toolkit.devices import debian
from toolkit.errors import DeviceError, MissingPackageError
from toolkit.runtime.session import INSTALL

SETUP = "toolkit device setup emulated"
_LAYOUT = 1  # a change of what the folder holds makes a new name
_PYTHON = "3.13"  # Debian trixie's
_QEMU = ("qemu-aarch64", "qemu-x86_64")
_WHEELS = ("manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux2014_aarch64")
_DEBIAN_NAMES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True)
class Sysroot:
    """A complete folder."""

    folder: Path

    @property
    def root(self) -> Path:
        """Debian's files for ARM, where qemu looks first."""
        return self.folder / "root"

    @property
    def python(self) -> Path:
        """The ARM interpreter."""
        return self.root / "usr" / "bin" / f"python{_PYTHON}"

    @property
    def packages(self) -> Path:
        """The ARM onnxruntime and numpy."""
        return self.folder / "packages"

    def qemu(self, machine: str) -> Path:
        """Return the emulator for "aarch64" or "x86_64"."""
        return self.folder / "usr" / "bin" / f"qemu-{machine}"


def is_made() -> bool:
    """Tell whether the folder for the versions installed here is there."""
    return _folder().is_dir()


def find() -> Sysroot:
    """Return the folder that was set up for the versions installed here.

    Raises:
        DeviceError: It was not set up.
    """
    if not is_made():
        raise DeviceError(
            f"The emulated CPUs are not set up for onnxruntime {_versions()['onnxruntime']}; "
            f"once, in about 20 s and 220 MB: {SETUP}"
        )
    return Sysroot(_folder())


def make(
    *, mirror: str | None = None, note: Callable[[str], object] = lambda text: None
) -> tuple[Sysroot, bool]:
    """Make the folder, and tell whether it had to be made.

    Args:
        mirror: A mirror of Debian; by default the one that this machine's apt uses.
        note: Called with a few words before each step.

    Raises:
        DeviceError: Debian's packages are not to be had here, or what came does not work.
        MissingPackageError: onnxruntime or pip is not installed.
    """
    folder = _folder()
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _alone(folder.parent / ".lock", note):
            made = not folder.is_dir()
            if made:
                _make_whole(folder, mirror or debian.mirror(), note)
    except OSError as error:
        raise DeviceError(f"'{folder}' cannot be set up: {error.strerror}.") from error
    return Sysroot(folder), made


def _folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    versions = "-".join(f"{name}-{version}" for name, version in _versions().items())
    return Path(base) / "toolkit" / "emulated" / f"{versions}-{_LAYOUT}"


def _versions() -> dict[str, str]:
    for name in ("onnxruntime", "onnxruntime-gpu"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            return {"onnxruntime": metadata.version(name), "numpy": metadata.version("numpy")}
    raise MissingPackageError(f"onnxruntime is not installed: {INSTALL}")


def _make_whole(folder: Path, url: str, note: Callable[[str], object]) -> None:
    # A folder of this name is left from a run that was killed, as we hold the lock.
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        _fill(part, url, note)
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _fill(part: Path, url: str, note: Callable[[str], object]) -> None:
    host = _DEBIAN_NAMES.get(os.uname().machine)
    if host is None or not sys.platform.startswith("linux"):
        raise DeviceError(
            f"CPUs are emulated on Linux x86-64 and ARM64, not on {sys.platform} "
            f"{os.uname().machine}. Use a machine or container of one of these."
        )
    sysroot, apt = Sysroot(part), part / "apt"
    note("fetching qemu")
    qemu = debian.Archive(url, host, apt / "host").fetch_alone("qemu-user")
    debian.unpack(qemu, part, *(f"./usr/bin/{name}" for name in _QEMU))
    note("fetching Python for ARM")
    archive = debian.Archive(url, "arm64", apt / "arm64")
    sysroot.root.mkdir()
    # Only unpacked: no maintainer script, which would be an ARM program, is run.
    for package in archive.fetch("python3-minimal", "libpython3-stdlib", "libstdc++6", "zlib1g"):
        debian.unpack(package, sysroot.root)
    (sysroot.root / "lib").symlink_to("usr/lib")
    shutil.rmtree(sysroot.root / "usr" / "share")
    wheels = [f"{name}=={version}" for name, version in _versions().items()]
    note(f"fetching {' and '.join(wheels)} for ARM")
    _download(wheels, part / "wheels")
    for wheel in (part / "wheels").glob("*.whl"):
        with zipfile.ZipFile(wheel) as content:
            content.extractall(sysroot.packages)
    shutil.rmtree(apt)
    shutil.rmtree(part / "wheels")
    note("trying it")
    _try(sysroot)


def _download(requirements: list[str], folder: Path) -> None:
    """Let pip fetch ARM wheels, from wherever it is set up to fetch from."""
    platforms = [option for name in _WHEELS for option in ("--platform", name)]
    done = subprocess.run(
        [
            sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder),
            "--only-binary=:all:", "--implementation", "cp", "--python-version", _PYTHON,
            *platforms, *requirements,
        ],
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    if "No module named pip" in done.stderr:
        raise MissingPackageError("pip is not installed: python -m ensurepip")
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR:")]
        reason = lines[-1][7:] if lines else f"exit status {done.returncode}"
        raise DeviceError(f"pip cannot download {' and '.join(requirements)} for ARM: {reason}")


def _try(sysroot: Sysroot) -> None:
    command = [
        str(sysroot.qemu("aarch64")), "-cpu", "cortex-a53", "-L", str(sysroot.root),
        str(sysroot.python), "-c", "import onnxruntime; print(onnxruntime.__version__)",
    ]  # fmt: skip
    environment = {"PYTHONPATH": str(sysroot.packages), "PATH": os.defpath}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise DeviceError(f"The emulated ARM Python does not work: {last}")


@contextlib.contextmanager
def _alone(lock: Path, note: Callable[[str], object]) -> Iterator[None]:
    """Hold a lock that the system lets go of when this process ends, however it ends."""
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            note("waiting for another set-up")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
