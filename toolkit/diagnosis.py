"""`doctor`: what this machine can run, what is missing, and the command that mends it."""

import importlib.metadata
import platform
import shutil
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from toolkit import __version__
from toolkit.errors import ToolkitError
from toolkit.runtime.session import Provider, create_session

PACKAGES = {
    "numpy": "",
    "onnx": "",
    "onnx-ir": "",
    "onnxruntime": "cpu",
    "onnxruntime-gpu": "gpu",
    "tensorflow": "train",
    "keras": "train",
    "tf2onnx": "train",
    "matplotlib": "train",
}
PROVIDERS: dict[str, Provider] = {
    "CPUExecutionProvider": "cpu",
    "CUDAExecutionProvider": "cuda",
    "TensorrtExecutionProvider": "tensorrt",
}
Status = Literal["ok", "missing", "problem"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        topic: What it is about: "python", "package", "provider", "cpu".
        name: The thing itself.
        status: "ok"; "missing" when only some commands need it; "problem" when it must be mended.
        detail: The version or what was found.
        remedy: The command or sentence that mends it, or an empty string.
    """

    topic: str
    name: str
    status: Status
    detail: str
    remedy: str = ""


@dataclass(frozen=True)
class DoctorResult:
    """What this machine has; ``healthy`` is False when any finding is a problem."""

    findings: tuple[Finding, ...]
    healthy: bool

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON document."""
        return {
            "schema": "toolkit.doctor/1",
            "healthy": self.healthy,
            "findings": [asdict(finding) for finding in self.findings],
        }


def doctor() -> DoctorResult:
    """Look at this machine: Python, packages, execution providers, CPU features.

    Providers are tried with a real session: onnxruntime lists providers whose libraries cannot
    be loaded, and falls back to the CPU without an error.
    """
    findings = (_python(), *_packages(), *_providers(), *_cpu())
    return DoctorResult(findings, all(finding.status != "problem" for finding in findings))


def _python() -> Finding:
    version = platform.python_version()
    detail = f"{version}, toolkit {__version__}, {platform.system()} {platform.machine()}"
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        return Finding("python", "python", "problem", detail, "Use Python 3.11, 3.12 or 3.13.")
    return Finding("python", "python", "ok", detail)


def _packages() -> list[Finding]:
    versions = {name: _version(name) for name in PACKAGES}
    findings = []
    for name, extra in PACKAGES.items():
        version = versions[name]
        if version is not None:
            findings.append(Finding("package", name, "ok", version))
        elif name == "onnxruntime-gpu" or (name == "onnxruntime" and versions["onnxruntime-gpu"]):
            continue  # one of the two is enough
        else:
            must = name == "onnxruntime"
            findings.append(
                Finding(
                    "package",
                    name,
                    "problem" if must else "missing",
                    "not installed",
                    f"pip install 'toolkit[{extra}]'" if extra else f"pip install {name}",
                )
            )
    if versions["onnxruntime"] and versions["onnxruntime-gpu"]:
        findings.append(
            Finding(
                "package",
                "onnxruntime and onnxruntime-gpu",
                "problem",
                "both are installed and overwrite each other's files",
                "pip uninstall -y onnxruntime onnxruntime-gpu && pip install 'toolkit[gpu]'",
            )
        )
    return findings


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _providers() -> list[Finding]:
    try:
        import onnxruntime
    except ImportError as error:
        return [
            Finding(
                "provider",
                "cpu",
                "problem",
                f"onnxruntime cannot be imported: {error}",
                "pip install --force-reinstall onnxruntime",
            )
        ]
    model = _identity_model()
    available = set(onnxruntime.get_available_providers())
    findings = []
    for provider, name in PROVIDERS.items():
        if provider not in available:
            continue
        try:
            create_session(model, provider=name)
        except ToolkitError as error:
            findings.append(Finding("provider", name, "missing", str(error)))
        else:
            findings.append(Finding("provider", name, "ok", "a session runs on it"))
    lacking = [name for provider, name in PROVIDERS.items() if provider not in available]
    if lacking:
        findings.append(_lacking(", ".join(lacking)))
    return findings


def _lacking(names: str) -> Finding:
    """Say that providers are not in this onnxruntime; where there is no GPU, nothing is amiss."""
    if not _nvidia_gpu():
        detail = "not in this build of onnxruntime; no NVIDIA GPU is seen that would need it"
        return Finding("provider", names, "missing", detail)
    return Finding(
        "provider",
        names,
        "missing",
        "not in this build of onnxruntime, and an NVIDIA GPU is seen",
        "pip uninstall -y onnxruntime && pip install 'toolkit[gpu]'",
    )


def _nvidia_gpu() -> bool:
    """Return whether NVIDIA's driver shows itself: in the kernel, or by its tool."""
    return Path("/proc/driver/nvidia").exists() or shutil.which("nvidia-smi") is not None


def _identity_model() -> bytes:
    """Return the smallest model there is, to try a provider with."""
    from onnx import TensorProto, helper

    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "doctor", [x], [y])
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=8)
    return bytes(model.SerializeToString())


def _cpu() -> list[Finding]:
    from toolkit.measuring.environment import cpu_features, cpu_model, usable_cores

    findings = [Finding("cpu", "model", "ok", f"{cpu_model()}, {usable_cores()} cores usable")]
    features = cpu_features()
    if not features:
        return [*findings, Finding("cpu", "features", "missing", "cannot be read on this system")]
    findings.append(Finding("cpu", "features", "ok", ", ".join(sorted(features))))
    findings.append(_int8_advice(features))
    return findings


def _int8_advice(features: frozenset[str]) -> Finding:
    """Say what the CPU's features mean for int8 models."""
    if features & {"avx512_vnni", "avx_vnni"}:
        return Finding("cpu", "int8", "ok", "VNNI: int8 is exact and fast")
    if "avx2" in features:
        return Finding(
            "cpu",
            "int8",
            "missing",
            "AVX2 without VNNI: sums of u8 x s8 products saturate at 16 bits; results can differ",
            "compare accuracy on this machine: toolkit evaluate MODEL --data DATA",
        )
    if "asimddp" in features:
        return Finding("cpu", "int8", "ok", "dot product instructions: int8 is exact and fast")
    if "asimd" in features:
        return Finding("cpu", "int8", "ok", "NEON without dot product: int8 is exact")
    return Finding("cpu", "int8", "ok", "no int8 instructions: results are exact, speed is not")
