"""Peak memory of `toolkit export` for a network of keras.applications, by default ResNet50V2.

    python bench/export_memory.py [NETWORK] [--size 224]

The network has random weights. One process builds and saves it; what is measured is the export:
the largest resident set of the command and of the process with TensorFlow that it starts. Exits
with 3 when that is above 3.5 GB.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

LIMIT_GB = 3.5
TOOLKIT = Path(sys.executable).with_name("toolkit")
BUILD = """
import sys
from toolkit.quiet_tensorflow import import_tensorflow
import_tensorflow()
import keras
name, size, path = sys.argv[1:]
network = getattr(keras.applications, name)
network(weights=None, input_shape=(int(size), int(size), 3)).save(path)
"""


def main() -> int:
    """Print the peak; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("network", nargs="?", default="ResNet50V2")
    parser.add_argument("--size", type=int, default=224, help="height and width of the pictures")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "model.keras"), Path(folder, "model.onnx")
        build = [sys.executable, "-c", BUILD, options.network, str(options.size), str(source)]
        subprocess.run(build, check=True, stderr=subprocess.DEVNULL)
        pid = os.posix_spawn(
            str(TOOLKIT), [str(TOOLKIT), "export", str(source), "-o", str(target)], os.environ
        )
        # The usage of a process that was waited for includes that of those it waited for.
        _, status, usage = os.wait4(pid, 0)
        if status:
            return os.waitstatus_to_exitcode(status)
        megabytes = target.stat().st_size / 1e6
    peak = usage.ru_maxrss * 1024 / 1e9
    print(f"{options.network}, a file of {megabytes:.0f} MB: {peak:.2f} GB, at most {LIMIT_GB}")
    return 0 if peak <= LIMIT_GB else 3


if __name__ == "__main__":
    sys.exit(main())
