"""The examples run as they stand."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from runtime_models import classifier

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


@pytest.mark.parametrize(
    ("model", "folder", "message"),
    [
        ("digits.onnx", "missing", "is no folder"),
        ("missing.onnx", ".", "does not exist"),
        ("foreign.onnx", ".", "foreign.onnx"),
        ("embedding.onnx", ".", "classes"),
    ],
)
def test_sort_pictures_says_in_one_line_what_does_not_fit(tmp_path, model, folder, message):
    shutil.copy(builtin_dir("models") / "mnist_cnn.onnx", tmp_path / "digits.onnx")
    shutil.copy(EXAMPLES / "digit.png", tmp_path)
    (tmp_path / "foreign.onnx").write_text("no model")
    classifier(tmp_path / "embedding.onnx", kind="embedding", labels=None)
    done = subprocess.run(
        [sys.executable, EXAMPLES / "sort_pictures.py", model, folder, "sorted"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1
    assert message in done.stderr
