"""Which opset and IR version an onnxruntime reads: files are written for the one you ship.

A runtime reads every older file, so a version only ever lowers what is written; 17 and 8 are read
by all since 1.12.
"""

import re
from dataclasses import dataclass

from toolkit.errors import RecipeError
from toolkit.recipes import closest

# The package behind each name, and its newest version when this was written: of npm's packages in
# November 2026, of Maven's for Android in March, of Debian's for as long as it is that release.
NAMES = {
    "web": ("onnxruntime-web", "1.30.0"),
    "node": ("onnxruntime-node", "1.30.0"),
    "android": ("onnxruntime-android", "1.24.2"),
    "debian-trixie": ("python3-onnxruntime", "1.21.0"),
}

# First version, highest opset, highest IR version. From 1.10 on measured by
# bench/runtime_ceilings.py, on the Python wheels; before that from
# https://onnxruntime.ai/docs/reference/compatibility.html, with the lower IR version where sources
# differ.
_CEILINGS = (
    ((1, 0), 11, 6),
    ((1, 3), 12, 6),
    ((1, 6), 13, 7),
    ((1, 8), 14, 7),
    ((1, 9), 15, 7),
    ((1, 10), 15, 8),
    ((1, 11), 16, 8),
    ((1, 12), 17, 8),
    ((1, 14), 18, 8),
    ((1, 15), 19, 9),
    ((1, 17), 20, 9),
    ((1, 18), 21, 10),
    ((1, 21), 22, 10),
    ((1, 23), 23, 11),
    ((1, 24), 25, 13),
    ((1, 25), 26, 13),
    ((1, 32), 28, 14),
)


@dataclass(frozen=True)
class Runtime:
    """An onnxruntime and what it reads.

    Attributes:
        name: As it was asked for.
        version: "1.16" means the newest 1.16.x.
        opset: The highest opset that it is known to read.
        ir_version: The highest IR version that it is known to read.
    """

    name: str
    version: str
    opset: int
    ir_version: int


def find_runtime(name: str) -> Runtime:
    """Return a runtime by its version ("1.16", "1.16.3") or by a name of `NAMES`.

    Raises:
        RecipeError: It is neither, or older than 1.0.
    """
    version = NAMES[name][1] if name in NAMES else name
    match = re.fullmatch(r"(\d+)\.(\d+)(\.\d+)?", version)
    if match is None:
        raise RecipeError(
            f"--runtime {name} is no version such as 1.16 and no known name."
            f"{closest(name, NAMES)} Known: {', '.join(NAMES)}."
        )
    number = (int(match[1]), int(match[2]))
    reached = [ceiling for ceiling in _CEILINGS if ceiling[0] <= number]
    if not reached:
        raise RecipeError(f"--runtime {name}: onnxruntime before 1.0 reads none of these files.")
    _, opset, ir_version = reached[-1]
    return Runtime(name, version, opset, ir_version)
