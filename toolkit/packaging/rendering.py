"""Turns the templates of a target into the files of an application.

A folder of templates is copied as it is; a file that ends in ``.j2`` is rendered by Jinja and
loses that ending. What stands in the templates is the code that a person reads, so they hold as
little markup as possible: names and sizes are gathered in one generated file per language, or
read from contract.json.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2

from toolkit.packaging import literals
from toolkit.packaging.application import Application

TEMPLATES = Path(__file__).parent / "templates"

_C_TYPES = {
    "uint8": "uint8_t",
    "int8": "int8_t",
    "int32": "int32_t",
    "int64": "int64_t",
    "float32": "float",
    "float64": "double",
}
_JS_ARRAYS = {
    "uint8": "Uint8Array",
    "int8": "Int8Array",
    "int32": "Int32Array",
    "int64": "BigInt64Array",
    "float32": "Float32Array",
    "float64": "Float64Array",
}
_ONNX_TYPES = {
    "uint8": "UINT8",
    "int8": "INT8",
    "int32": "INT32",
    "int64": "INT64",
    "float32": "FLOAT",
    "float64": "DOUBLE",
}


def render(folders: Sequence[str], application: Application, place: Path, **more: Any) -> None:
    """Write the files of some template folders into an existing folder.

    Args:
        folders: Names of folders in ``templates/``.
        application: What they may mention, as ``app``.
        place: Where the files go.
        more: Further names for the templates.
    """
    environment = _environment()
    for source in (TEMPLATES / name for name in folders):
        for path in sorted(source.rglob("*")):
            if path.is_dir():
                continue
            target = place / path.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix == ".j2":
                template = environment.get_template(path.relative_to(TEMPLATES).as_posix())
                target = target.with_suffix("")
                target.write_text(template.render(app=application, **more), encoding="utf-8")
            else:
                target.write_bytes(path.read_bytes())
            if target.suffix == ".sh":
                target.chmod(0o755)


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        # HTML escapes by itself; the other languages have a filter each.
        autoescape=jinja2.select_autoescape(["html.j2"], default=False),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "c_string": literals.c_string,
        "c_float": literals.c_float,
        "c_comment": literals.c_comment,
        "js_string": literals.js_string,
        "markdown": literals.markdown,
        "c_length": lambda text: len(text.encode("utf-8", "replace")),
        "c_type": _C_TYPES.__getitem__,
        "cpp_type": _cpp_type,
        "js_array": _JS_ARRAYS.__getitem__,
        "onnx_type": lambda dtype: f"ONNX_TENSOR_ELEMENT_DATA_TYPE_{_ONNX_TYPES[dtype]}",
    }
    return environment


def _cpp_type(dtype: str) -> str:
    name = _C_TYPES[dtype]
    return f"std::{name}" if name.endswith("_t") else name


def copy_modules(names: Sequence[str], place: Path) -> None:
    """Copy JavaScript modules that the page and the Node application share."""
    for name in names:
        (place / name).write_bytes((TEMPLATES / "javascript" / name).read_bytes())
