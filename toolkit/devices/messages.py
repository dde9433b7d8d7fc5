"""How a job and its answer travel through a pipe: a JSON document and named arrays.

Two length-prefixed blocks, the second an .npz archive (empty without arrays). The module travels
to the device, where it must import without numpy to be able to report that numpy is missing.
"""

# Annotations stay text: an old Python has to get as far as saying that it is old.
from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

_LENGTH_BYTES = 8


def pack(document: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """Return the bytes of a message; the arrays must not hold Python objects."""
    archive = io.BytesIO()
    if arrays:
        import numpy as np

        np.savez(archive, allow_pickle=False, **arrays)
    blocks = [json.dumps(document).encode(), archive.getvalue()]
    return b"".join(len(block).to_bytes(_LENGTH_BYTES, "big") + block for block in blocks)


def read_document(stream: BinaryIO) -> dict[str, Any]:
    """Read the first half of a message.

    Raises:
        EOFError: The stream ends before the block does.
    """
    document: dict[str, Any] = json.loads(_read_block(stream))
    return document


def read_arrays(stream: BinaryIO) -> dict[str, npt.NDArray[Any]]:
    """Read the second half of a message, after `read_document`.

    Raises:
        EOFError: The stream ends before the block does.
    """
    block = _read_block(stream)
    if not block:
        return {}
    import numpy as np

    with np.load(io.BytesIO(block), allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def _read_block(stream: BinaryIO) -> bytes:
    length = int.from_bytes(_read_exactly(stream, _LENGTH_BYTES), "big")
    return _read_exactly(stream, length)


def _read_exactly(stream: BinaryIO, count: int) -> bytes:
    # A pipe may deliver less than asked for.
    block = bytearray()
    while len(block) < count:
        part = stream.read(count - len(block))
        if not part:
            raise EOFError(f"{len(block)} of {count} bytes")
        block += part
    return bytes(block)
