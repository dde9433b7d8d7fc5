"""Takes packages out of Debian's archive without installing them: no root, no container.

apt runs with a configuration and a state of its own, so that it can look at another release and
another architecture than this machine's; it checks the archive's signature as ever.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

from toolkit.errors import DeviceError

RELEASE = "trixie"  # the first with a qemu that emulates /proc/cpuinfo for ARM (10.0)
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_SOURCES = Path("/etc/apt")
_RELEASES = {"bullseye", "bookworm", "trixie", "forky", "oldstable", "stable", "testing", "sid"}
_ELSEWHERE = (
    "Run this on Debian 12 or later, or in its container, or name a mirror of Debian: "
    "toolkit device setup emulated --mirror URL"
)


def mirror(sources: Path = _SOURCES) -> str:
    """Return the mirror of Debian that this machine's apt is set up with.

    Args:
        sources: The folder of ``sources.list`` and ``sources.list.d``.

    Raises:
        DeviceError: There is none, as on Ubuntu or without apt.
    """
    files = [sources / "sources.list", *sorted((sources / "sources.list.d").glob("*"))]
    for path in files:
        if not path.is_file():
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        entries = _deb822(text) if path.suffix == ".sources" else _one_line(text)
        for url, suites in entries:
            if _RELEASES & set(suites):
                return url
    raise DeviceError(f"No mirror of Debian is set up in '{sources}'. {_ELSEWHERE}")


class Archive:
    """Debian's archive for one architecture.

    Args:
        url: The mirror.
        architecture: Debian's name: "amd64", "arm64".
        folder: An empty folder for apt's state.

    Raises:
        DeviceError: A program or the archive's keyring is missing, or the mirror does not answer.
    """

    def __init__(self, url: str, architecture: str, folder: Path) -> None:
        for program, package in (("apt-get", "apt"), ("dpkg-deb", "dpkg")):
            if not shutil.which(program):
                raise DeviceError(
                    f"'{program}' of the package {package} is not on this machine. {_ELSEWHERE}"
                )
        if not KEYRING.exists():
            raise DeviceError(
                f"'{KEYRING}' is missing, so Debian's archive cannot be checked: "
                "apt-get install debian-archive-keyring"
            )
        self._folder = folder
        for name in ("lists/partial", "cache/archives/partial"):
            (folder / name).mkdir(parents=True)
        (folder / "status").touch()  # nothing is installed, so all dependencies are fetched
        source = f"deb [signed-by={KEYRING} arch={architecture}] {url} {RELEASE} main\n"
        (folder / "sources.list").write_text(source, encoding="utf-8")
        settings = {
            "APT::Architecture": architecture,
            "APT::Architectures": architecture,
            "APT::Install-Recommends": "false",
            "APT::Sandbox::User": "",
            "Acquire::Languages": "none",
            "Dir::Etc::sourcelist": folder / "sources.list",
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::State": folder,
            "Dir::State::status": folder / "status",
            "Dir::Cache": folder / "cache",
        }
        lines = [f'{name} "{value}";\n' for name, value in settings.items()]
        (folder / "apt.conf").write_text("".join(lines), encoding="utf-8")
        self._apt("update")

    def fetch(self, *packages: str) -> list[Path]:
        """Download packages with all that they depend on; return the .deb files."""
        self._apt("install", "--yes", "--download-only", *packages)
        return sorted((self._folder / "cache" / "archives").glob("*.deb"))

    def fetch_alone(self, package: str) -> Path:
        """Download one package without what it depends on; return the .deb file."""
        self._apt("download", package)
        return next(self._folder.glob(f"{package}_*.deb"))

    def _apt(self, *arguments: str) -> None:
        environment = {**os.environ, "APT_CONFIG": str(self._folder / "apt.conf"), "LC_ALL": "C"}
        done = subprocess.run(
            ["apt-get", "--quiet", "--error-on=any", *arguments]
            if arguments[0] == "update"
            else ["apt-get", "--quiet", *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd=self._folder,
            env=environment,
        )
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if line.startswith(("E:", "W:"))]
            reason = lines[0][3:] if lines else f"exit status {done.returncode}"
            raise DeviceError(f"apt-get {arguments[0]} from Debian's archive failed: {reason}")


def unpack(package: Path, folder: Path, *members: str) -> None:
    """Unpack the files of a .deb into a folder: all, or the named ones ("./usr/bin/x").

    Raises:
        DeviceError: The package is damaged or the disk is full.
    """
    if not members:
        command = ["dpkg-deb", "--extract", str(package), str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        reason = done.stderr.strip()
    else:
        folder.mkdir(parents=True, exist_ok=True)
        with subprocess.Popen(
            ["dpkg-deb", "--fsys-tarfile", str(package)], stdout=subprocess.PIPE
        ) as content:
            done = subprocess.run(
                ["tar", "-x", "-C", str(folder), *members],
                stdin=content.stdout,
                capture_output=True,
                text=True,
                check=False,
            )
        reason = done.stderr.strip()
    if done.returncode:
        raise DeviceError(f"'{package.name}' cannot be unpacked into '{folder}': {reason}.")


def _deb822(text: str) -> list[tuple[str, list[str]]]:
    """Return address and suites of each stanza of a .sources file."""
    entries = []
    for stanza in re.split(r"\n\s*\n", text):
        fields = dict(re.findall(r"(?m)^([A-Za-z-]+):[ \t]*(.*)$", stanza))
        if fields.get("Enabled", "yes").lower() != "no" and "deb" in fields.get("Types", ""):
            suites = fields.get("Suites", "").split()
            entries += [(url, suites) for url in fields.get("URIs", "").split()]
    return entries


def _one_line(text: str) -> list[tuple[str, list[str]]]:
    """Return address and suite of each "deb [options] address suite component..." line."""
    found = re.findall(r"(?m)^\s*deb\s+(?:\[[^\]]*\]\s+)?(\S+)\s+(\S+)", text)
    return [(url, [suite]) for url, suite in found]
