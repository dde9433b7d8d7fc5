"""Imports TensorFlow without its log noise. Nothing else in the toolkit imports it directly."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from typing import Any

from toolkit.errors import MissingPackageError

INSTALL = "pip install 'toolkit[train]'"


def import_tensorflow() -> Any:
    """Import and return TensorFlow; its messages during the import are dropped.

    Environment variables alone do not silence it: some lines are written by C++ code before
    logging is set up, so file descriptor 2 is redirected while the import runs.

    Raises:
        MissingPackageError: TensorFlow is not installed.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    try:
        with _quiet_stderr():
            import tensorflow
    except ModuleNotFoundError as error:
        if error.name != "tensorflow":
            raise
        raise MissingPackageError(
            f"Keras models need TensorFlow, which is not installed: {INSTALL}"
        ) from error
    return tensorflow


@contextlib.contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Send file descriptor 2 to a temporary file; print it only when the block fails."""
    with tempfile.TemporaryFile() as sink:
        saved = os.dup(2)
        os.dup2(sink.fileno(), 2)
        try:
            yield
        except ModuleNotFoundError:
            raise
        except BaseException:
            sink.seek(0)
            os.write(saved, sink.read())
            raise
        finally:
            os.dup2(saved, 2)
            os.close(saved)
