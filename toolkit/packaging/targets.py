"""Which templates each target is made of."""

import hashlib
from pathlib import Path

import toolkit
from toolkit.packaging.application import Application, Target, Tensor
from toolkit.packaging.manifest import write_manifest
from toolkit.packaging.rendering import copy_modules, render

# npm's packages follow onnxruntime by some weeks; each was run with this version.
NPM_VERSION = "1.30.0"
SHARP_VERSION = "0.35.5"  # decodes pictures in Node

_RUNTIME = (
    "runtime/ort-wasm-simd-threaded.mjs",
    "runtime/ort-wasm-simd-threaded.wasm",
    "runtime/ort.wasm.min.mjs",
)

_PICTURE_MODULES = ("images.py", "digits.py", "components.py")


def write_code(target: Target, application: Application, folder: Path) -> None:
    """Write everything but the model, its contract and its golden samples into a folder."""
    source = _source(application.inputs)
    if target == "python":
        folders = ["python", "python-tensor" if source == "tensor" else "python-picture"]
        render(folders, application, folder, source=source)
        _copy_runtime(folder / "toolkit", pictures=source != "tensor")
    elif target == "web":
        _write_page(source, application, folder)
    elif target in ("c", "cpp"):
        kinds = {"mnist": ["picture", "mnist"], "picture": ["picture"], "tensor": ["tensor"]}
        folders = [target, *(f"{target}-{kind}" for kind in kinds[source]), "native"]
        render(folders, application, folder, source=source, language=target)
    elif target == "node":
        folders = ["node", "node-tensor" if source == "tensor" else "node-picture"]
        versions = {"node_version": NPM_VERSION, "sharp_version": SHARP_VERSION}
        render(folders, application, folder, source=source, **versions)
        copy_modules(_modules(source), folder)


def _write_page(source: str, application: Application, folder: Path) -> None:
    extra = {
        "mnist": ["web-images", "web-mnist"],
        "picture": ["web-images", "web-picture"],
        "tensor": ["web-tensor"],
    }[source]
    render(
        ["web", *extra],
        application,
        folder,
        source=source,
        web_version=NPM_VERSION,
    )
    public = folder / "public"
    copy_modules(_modules(source), public)
    sums = write_manifest(public)
    (public / "SHA256SUMS").unlink()
    digest = hashlib.sha256(repr(sorted(sums.items())).encode()).hexdigest()[:16]
    render(["web-offline"], application, folder, files=sorted([*sums, *_RUNTIME]), digest=digest)


def _copy_runtime(folder: Path, *, pictures: bool) -> None:
    """Copy toolkit.runtime and the two modules that it needs."""
    package = Path(toolkit.__file__).parent
    (folder / "runtime").mkdir(parents=True)
    (folder / "__init__.py").write_text(
        '"""The runtime of a model: what `toolkit.runtime` needs, and nothing else."""\n',
        encoding="utf-8",
    )
    for name in ("contract.py", "errors.py"):
        (folder / name).write_bytes((package / name).read_bytes())
    for path in sorted((package / "runtime").glob("*.py")):
        if pictures or path.name not in _PICTURE_MODULES:
            (folder / "runtime" / path.name).write_bytes(path.read_bytes())


def _modules(source: str) -> list[str]:
    return ["tensor.js", "mnist.js"] if source == "mnist" else ["tensor.js"]


def _source(inputs: tuple[Tensor, ...]) -> str:
    """Return where an application gets its input: "mnist" digits, a "picture", or a "tensor"."""
    picture = inputs[0].picture
    if len(inputs) > 1 or picture is None:
        return "tensor"
    return "mnist" if picture.preparation == "mnist" else "picture"
