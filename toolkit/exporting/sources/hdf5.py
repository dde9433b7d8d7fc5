"""HDF5 files of Keras: the serialized model stands in an attribute. Looked into by the child."""

import json
from pathlib import Path
from typing import Any

from toolkit.errors import ModelError
from toolkit.exporting.sources.keras_code import refuse_code
from toolkit.exporting.sources.model import first_line
from toolkit.exporting.sources.source import Source
from toolkit.keras_files import CONFIG_LIMIT_BYTES

# A dataset may be this much larger than the file: gzip makes trained weights a little smaller, and
# zeros a thousand times. A file can also declare any size and store nothing.
_GROWTH = 100
_GROWTH_FREE_BYTES = 64 * 2**20


def check(source: Source) -> str:
    """Check that an HDF5 file may be loaded; return the version of Keras that wrote it.

    Raises:
        ModelError: It is damaged, holds weights alone, leads to other files, would expand to an
            unreasonable size, or holds code that may not run.
    """
    import h5py

    path = source.path
    try:
        with h5py.File(path, "r") as file:
            text = file.attrs.get("model_config")
            version = file.attrs.get("keras_version", "")
            _check_contents(path, file)
    except (OSError, KeyError, RuntimeError, ValueError, TypeError) as error:
        raise ModelError(f"'{path}' is damaged: {first_line(error)}") from error
    config = _parsed(path, text)
    if not source.unsafe_load:
        refuse_code(config, str(path))
    return version.decode(errors="replace") if isinstance(version, bytes) else str(version)


def _check_contents(path: Path, file: Any) -> None:
    """Refuse links to other files and datasets that are far larger than the file."""
    import h5py

    size = path.stat().st_size
    limit = _GROWTH * size + _GROWTH_FREE_BYTES
    declared = 0
    pending = [file]
    seen: set[int] = set()
    while pending:
        group = pending.pop()
        address = h5py.h5o.get_info(group.id).addr
        if address in seen:  # a hard link back to a group above
            continue
        seen.add(address)
        for name in group:
            if isinstance(group.get(name, getlink=True), h5py.ExternalLink | h5py.SoftLink):
                raise ModelError(f"'{path}': '{name}' is a link, which no model has; not opened.")
            entry = group[name]
            if isinstance(entry, h5py.Group):
                pending.append(entry)
            elif isinstance(entry, h5py.Dataset):
                if entry.external or entry.is_virtual:
                    raise ModelError(f"'{path}': '{name}' lies in other files; not opened.")
                declared += entry.nbytes
                if declared > limit:
                    raise ModelError(
                        f"'{path}' would expand to more than {declared / 2**20:,.0f} MiB, far more "
                        f"than its {size / 2**20:,.1f} MiB; it is not opened."
                    )


def _parsed(path: Path, text: Any) -> dict[str, Any]:
    """Return the serialized model."""
    if text is None:
        raise ModelError(
            f"'{path}' holds weights but no model; save the whole model with model.save()."
        )
    if len(text) > CONFIG_LIMIT_BYTES:
        raise ModelError(
            f"'{path}': the model's description is larger than {CONFIG_LIMIT_BYTES // 2**20} MiB, "
            "more than any model's; the file is not opened."
        )
    try:
        config = json.loads(text)
    except (ValueError, TypeError, RecursionError) as error:
        raise ModelError(f"'{path}': the model's description is damaged ({error}).") from error
    if not isinstance(config, dict):
        raise ModelError(f"'{path}': the model's description is damaged.")
    return config
