"""Turns the templates of a target into the files of an application.

A target's folder is copied as it is; a file that ends in ``.j2`` is rendered by Jinja and loses
that ending. What stands in the templates is the code that a person reads, so they hold as little
markup as possible: names and sizes are gathered in one generated file per language, or read from
contract.json.
"""

from pathlib import Path
from typing import Any

import jinja2

from toolkit.packaging import literals
from toolkit.packaging.application import Application, Target

TEMPLATES = Path(__file__).parent / "templates"

_C_TYPES = {
    "uint8": "uint8_t",
    "int8": "int8_t",
    "int32": "int32_t",
    "int64": "int64_t",
    "float32": "float",
    "float64": "double",
}
_ONNX_TYPES = {
    "uint8": "UINT8",
    "int8": "INT8",
    "int32": "INT32",
    "int64": "INT64",
    "float32": "FLOAT",
    "float64": "DOUBLE",
}


def render(target: Target, application: Application, folder: Path, **more: Any) -> None:
    """Write a target's files into an existing folder.

    Args:
        target: Which templates.
        application: What they may mention.
        folder: Where the files go.
        more: Further names for the templates.
    """
    environment = _environment()
    source = TEMPLATES / target
    for path in sorted(source.rglob("*")):
        if path.is_dir() or "__pycache__" in path.parts:
            continue
        place = folder / path.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".j2":
            template = environment.get_template(path.relative_to(TEMPLATES).as_posix())
            text = template.render(app=application, **more)
            place = place.with_suffix("")
            place.write_text(text, encoding="utf-8")
        else:
            place.write_bytes(path.read_bytes())
        place.chmod(path.stat().st_mode & 0o777 | 0o644)


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(  # noqa: S701 - pages are escaped, see below
        loader=jinja2.FileSystemLoader(TEMPLATES),
        # HTML escapes by itself; the other languages have a filter each.
        autoescape=lambda name: name is not None and name.endswith((".html.j2", ".svg.j2")),
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
        "c_type": _C_TYPES.__getitem__,
        "onnx_type": lambda dtype: f"ONNX_TENSOR_ELEMENT_DATA_TYPE_{_ONNX_TYPES[dtype]}",
    }
    return environment
