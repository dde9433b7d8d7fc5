"""The program that runs on the device: one job comes in on stdin, the answer goes out on stdout.

Started as ``python -m toolkit.devices.runner`` with the travelling code on its path. Nothing is
written to the device's disk, and the process ends as soon as its caller is gone, so that a dropped
connection leaves neither files nor a running measurement behind. What the device lacks comes back
as an answer too, which is why nothing but the standard library is imported at the top, and why
this file has to parse under older versions of Python than the rest.
"""

import os
import sys
import threading

MIN_PYTHON = (3, 11)


def main() -> None:
    """Run one job; the exit status is 0 when an answer was written, be it an error's."""
    # onnxruntime and its plug-ins may print: whatever they say goes to stderr.
    with os.fdopen(os.dup(1), "wb") as channel:
        os.dup2(2, 1)
        channel.write(_answer())


def _answer() -> bytes:
    if sys.version_info[:2] < MIN_PYTHON:
        found, wanted = (".".join(map(str, v)) for v in (sys.version_info[:2], MIN_PYTHON))
        return _refusal("DeviceError", f"Python is {found} there, {wanted} or later is needed")
    try:
        import numpy  # noqa: F401 - only whether it is there
        import onnxruntime  # noqa: F401
    except ImportError as error:
        return _refusal("MissingPackageError", f"{error.name or error} is not installed there")

    from toolkit.devices import messages, work
    from toolkit.errors import ToolkitError

    document = messages.read_document(sys.stdin.buffer)
    arrays = messages.read_arrays(sys.stdin.buffer)
    threading.Thread(target=_end_with_the_caller, daemon=True).start()
    try:
        answer, results = work.FUNCTIONS[document["function"]](
            document["models"], arrays, document["options"]
        )
    except ToolkitError as error:
        return _refusal(type(error).__name__, str(error))
    return messages.pack({"answer": answer}, results)


def _refusal(kind: str, message: str) -> bytes:
    from toolkit.devices import messages

    return messages.pack({"error": kind, "message": message}, {})


def _end_with_the_caller() -> None:
    # The caller keeps stdin open until it has the answer. The descriptor itself is read, since a
    # buffered reader's lock would block the interpreter's end.
    os.read(0, 1)
    os._exit(1)


if __name__ == "__main__":
    main()
