"""The examples run as they stand."""

import shutil
import subprocess
import sys
from pathlib import Path

from toolkit.recipes import builtin_dir

EXAMPLES = Path(__file__).parent.parent / "examples"


def test_sort_pictures_copies_each_picture_under_its_label(tmp_path):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    shutil.copy(EXAMPLES / "digit.png", pictures)
    (pictures / "notes.txt").write_text("no picture")
    done = subprocess.run(
        [sys.executable, EXAMPLES / "sort_pictures.py", builtin_dir("models") / "mnist_cnn.onnx",
         pictures, tmp_path / "sorted"],
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "sorted" / "3" / "digit.png").is_file()
    assert (pictures / "digit.png").is_file()
    assert "skipped: 'notes.txt'" in done.stdout.replace(f"{pictures}/", "")
