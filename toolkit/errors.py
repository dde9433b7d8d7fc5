"""The errors that a user can act on.

ToolkitError                 exit 1: one line that names the thing and the remedy
├── ModelError               a model file that is missing, damaged or of the wrong kind
├── DataError                a dataset, image or calibration sample that does not fit
├── RecipeError              a recipe, option or name that is unknown or out of range
├── OutputError              a path that cannot be written, or would be overwritten
├── MissingPackageError      an optional package; the message holds the command that installs it
├── ProviderError            an execution provider that is not really there
├── DeviceError              a device that cannot be reached, or lacks what a run there needs
└── CheckFailedError         exit 3: parity, accuracy budget or regression; nothing was written

A caller's mistake in Python code is a ValueError or TypeError. Anything else is a bug and keeps
its traceback. This module imports nothing, so that toolkit.runtime can travel to a device.
"""


class ToolkitError(Exception):
    """An error with a remedy; the command line prints it as one line and exits with 1."""

    exit_code = 1


class ModelError(ToolkitError):
    """A model file is missing, damaged, of another kind, or lacks what the step needs."""


class DataError(ToolkitError):
    """A dataset, an image or a sample does not fit the model or cannot be read."""


class RecipeError(ToolkitError):
    """A recipe file, an option value or a built-in name is unknown or out of range."""


class OutputError(ToolkitError):
    """An output path cannot be written, or exists and may not be replaced."""


class MissingPackageError(ToolkitError):
    """An optional package is not installed."""


class ProviderError(ToolkitError):
    """The execution provider that was asked for is not available on this machine."""


class DeviceError(ToolkitError):
    """A device cannot be reached, set up, or lacks what a run there needs."""


class CheckFailedError(ToolkitError):
    """A check of the step's own result failed; nothing was written."""

    exit_code = 3
