"""Opens an ONNX file with onnxruntime, and is honest about what went wrong or which device runs it.

onnxruntime falls back to the CPU without an error when a provider cannot start, and it lists
providers whose libraries are missing; so what a session really got is compared with what was
asked for.
"""

import contextlib
import io
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from toolkit import contract as contracts
from toolkit.contract import Session
from toolkit.errors import MissingPackageError, ModelError, ProviderError

Provider = Literal["auto", "cpu", "cuda", "tensorrt"]

INSTALL = "pip install 'toolkit[cpu]'"
INSTALL_GPU = "pip uninstall -y onnxruntime; pip install 'toolkit[gpu]'"

_NAMES = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
_FATAL = 4  # onnxruntime's log level: its warnings and errors come to us as exceptions
_WARNING = 2  # onnxruntime's own default


def create_session(
    path_or_bytes: str | os.PathLike[str] | bytes,
    *,
    provider: Provider = "auto",
    threads: int | None = None,
    optimize: bool = True,
    disabled_optimizers: Sequence[str] = (),
    configure: Callable[[Any], None] | None = None,
) -> Any:
    """Return an ``onnxruntime.InferenceSession`` that runs where it was asked to.

    The session options that a model's contract asks for are applied (`toolkit.contract.Session`).

    Args:
        path_or_bytes: An ONNX file, or the bytes of one.
        provider: "auto" takes CUDA when it really starts, else the CPU; any other name is an
            error when that provider does not start. Nodes that a GPU cannot run stay on the CPU.
        threads: Threads inside one operator; None leaves it to the model's contract, and where
            that does not say to onnxruntime (one per core).
        optimize: Whether onnxruntime may rewrite the graph while it loads it.
        disabled_optimizers: Names of onnxruntime's graph optimizers that may not.
        configure: Called with the ``onnxruntime.SessionOptions`` after all else was set.

    Raises:
        ModelError: The file is missing, damaged, no ONNX model, or too new for this onnxruntime.
        ProviderError: The provider is not part of this onnxruntime, or it did not start.
        MissingPackageError: onnxruntime is not installed.
        ValueError: ``threads`` is below 1, or ``provider`` is no known name.
    """
    if provider not in get_args(Provider):
        raise ValueError(f"provider is {provider!r}, not one of {get_args(Provider)}")
    if threads is not None and threads < 1:
        raise ValueError(f"threads is {threads}, it must be at least 1")
    ort = import_onnxruntime()
    what = "The model" if isinstance(path_or_bytes, bytes) else f"'{os.fspath(path_or_bytes)}'"
    source: str | bytes
    if isinstance(path_or_bytes, bytes):
        source = path_or_bytes
    else:
        source = os.fspath(path_or_bytes)
        check_model_file(Path(source))

    wanted = _providers(ort, provider)

    def start(applied: Session) -> Any:
        options = ort.SessionOptions()
        options.log_severity_level = _FATAL
        if applied.threads is not None:
            options.intra_op_num_threads = applied.threads
        if not optimize:
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        if configure is not None:
            configure(options)
        disabled = list(applied.disabled_optimizers)
        more = {"disabled_optimizers": disabled} if disabled else {}
        try:
            with _quiet(ort, gpu=len(wanted) > 1):
                return ort.InferenceSession(
                    source, options, providers=wanted, enable_fallback=0, **more
                )
        # onnxruntime's exceptions share no base class below Exception.
        except Exception as error:
            raise _load_error(ort, what, str(error)) from error

    own = Session(tuple(disabled_optimizers), threads)
    session = start(own)
    needed = _with_contract(own, session, what)
    if needed != own:
        session = start(needed)  # what a contract asks for is known once the file is open
    got = session.get_providers()
    if provider != "auto" and wanted[0] not in got:
        raise ProviderError(
            f"The provider '{provider}' did not start: its CUDA, cuDNN or TensorRT libraries or a "
            f"GPU are missing, onnxruntime fell back to {', '.join(got)}. `toolkit doctor` tells "
            "what is missing; --provider cpu runs without it."
        )
    return session


def import_onnxruntime() -> Any:
    """Import and return onnxruntime.

    Raises:
        MissingPackageError: It is not installed, or the package is there without its library.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingPackageError(
            f"Running ONNX models needs onnxruntime, which does not import ({error}): {INSTALL}"
        ) from error
    # Two wheels that overwrote each other, one uninstalled since, leave an empty namespace.
    if not hasattr(onnxruntime, "InferenceSession"):
        raise MissingPackageError(
            "onnxruntime is installed without its library; install it again: "
            f"pip uninstall -y onnxruntime onnxruntime-gpu; {INSTALL}"
        )
    return onnxruntime


def check_model_file(path: Path) -> None:
    """Check that a file is there, readable, not empty, and not of a known other kind.

    Raises:
        ModelError: It is none of these; the message says which.
    """
    if path.is_dir():
        if (path / "saved_model.pb").exists():
            raise ModelError(_not_exported(path, "a SavedModel"))
        raise ModelError(f"'{path}' is a directory; name an .onnx file.")
    try:
        with path.open("rb") as file:
            start = file.read(8)
    except FileNotFoundError as error:
        raise ModelError(f"'{path}' does not exist.") from error
    except OSError as error:
        raise ModelError(f"'{path}' cannot be read: {error.strerror}.") from error
    if not start:
        raise ModelError(f"'{path}' is empty; write it again.")
    if path.suffix in (".keras", ".h5") or start.startswith((b"PK\x03\x04", b"\x89HDF")):
        raise ModelError(_not_exported(path, "a Keras model"))
    if start[4:] == b"TFL3":
        raise ModelError(_not_exported(path, "a TensorFlow Lite model"))


def _not_exported(path: Path, what: str) -> str:
    return (
        f"'{path}' is {what}, not an ONNX file; export it first: "
        f"toolkit export {path} -o {path.with_suffix('.onnx').name}"
    )


def _with_contract(own: Session, session: Any, what: str) -> Session:
    """Return the caller's options joined with those that the model's contract asks for."""
    text = session.get_modelmeta().custom_metadata_map.get(contracts.KEY, "")
    if '"session"' not in text:
        return own
    try:
        asked = contracts.from_json(text).session
    except ModelError as error:
        raise ModelError(f"{what}: {error}") from error
    names = dict.fromkeys((*own.disabled_optimizers, *asked.disabled_optimizers))
    return Session(tuple(names), asked.threads if own.threads is None else own.threads)


def _providers(ort: Any, provider: Provider) -> list[str]:
    """Return the providers to ask for, best first."""
    available = ort.get_available_providers()
    if provider == "auto":
        return [name for name in (_NAMES["cuda"], _NAMES["cpu"]) if name in available]
    name = _NAMES[provider]
    if name not in available:
        raise ProviderError(
            f"The provider '{provider}' is not part of the installed onnxruntime "
            f"{ort.__version__}, which has {', '.join(available)}. "
            f"For an NVIDIA GPU: {INSTALL_GPU}"
        )
    return [name] if provider == "cpu" else [name, _NAMES["cpu"]]


@contextlib.contextmanager
def _quiet(ort: Any, *, gpu: bool) -> Iterator[None]:
    """Keep onnxruntime from printing while it tries to start a GPU provider."""
    if not gpu:
        yield
        return
    ort.set_default_logger_severity(_FATAL)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            # Finds CUDA and cuDNN in pip's nvidia-* packages; since onnxruntime 1.21.
            if hasattr(ort, "preload_dlls"):
                ort.preload_dlls()
            yield
    finally:
        ort.set_default_logger_severity(_WARNING)


def _load_error(ort: Any, what: str, message: str) -> ModelError:
    """Translate onnxruntime's message into one line with a remedy."""
    version = ort.__version__
    ir = re.search(r"Unsupported model IR version: (\d+), max supported IR version: (\d+)", message)
    if ir:
        return ModelError(
            f"{what} has IR version {ir[1]}, onnxruntime {version} reads up to {ir[2]}. "
            "Export it with --opset 17 (which writes IR version 8), or update onnxruntime."
        )
    opset = re.search(r"Opset (\d+) is under development.* is till opset (\d+)", message, re.DOTALL)
    if opset:
        return ModelError(
            f"{what} has opset {opset[1]}, onnxruntime {version} knows up to {opset[2]}. "
            f"Export it with --opset 17, or update onnxruntime."
        )
    if "Protobuf parsing failed" in message or "No graph was found" in message:
        return ModelError(
            f"{what} is no ONNX model, or it is damaged; write it again with `toolkit export`."
        )
    # "[ONNXRuntimeError] : 1 : FAIL : Load model from m.onnx failed:/src/x.cc:46 void f() Reason"
    reason = re.sub(r"^.*?Load model from .*? failed:", "", message.strip(), flags=re.DOTALL)
    reason = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", reason)
    reason = re.sub(r"/\S+\.(?:cc|h):\d+ \S.*?\)(?: const)? ", "", reason, count=1, flags=re.DOTALL)
    reason = " ".join(reason.split())[:300].rstrip(".")
    return ModelError(f"{what} cannot be run by onnxruntime {version}: {reason}.")
