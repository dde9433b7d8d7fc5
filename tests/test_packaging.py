"""The wheel: what it carries, and that it works in a fresh environment without TensorFlow."""

import json
import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

ROOT = Path(__file__).parent.parent
MNIST = ROOT / "models" / "data" / "mnist.npz"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    out = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", out, ROOT],
        check=True,
        capture_output=True,
    )
    return next(out.glob("*.whl"))


class Environment:
    """A fresh virtual environment with the wheel and nothing but its run-time extras."""

    def __init__(self, folder: Path, wheel: Path) -> None:
        venv.create(folder / "venv", with_pip=True)
        self.bin = folder / "venv" / "bin"
        self.folder = folder
        subprocess.run(
            [self.bin / "pip", "install", "--quiet", "--disable-pip-version-check",
             "-c", ROOT / "constraints.txt", f"{wheel}[cpu]"],
            check=True,
            capture_output=True,
        )  # fmt: skip

    def run(
        self, *command: str, environment: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.bin / command[0], *command[1:]],
            cwd=self.folder,
            env={**os.environ, **(environment or {})},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    def toolkit(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run("toolkit", *arguments)


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory):
    return Environment(tmp_path_factory.mktemp("fresh"), wheel)


@pytest.fixture(scope="module")
def int8_model(environment):
    done = environment.toolkit(
        "quantize", "mnist_cnn", "-o", "mnist_cnn.int8.onnx", "--data", str(MNIST),
        "--samples", "100", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_wheel_holds_the_package_alone_with_its_content_inside(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    roots = {name.split("/")[0] for name in names}
    assert {root for root in roots if not root.endswith(".dist-info")} == {"toolkit"}
    for content in (
        "models/mnist_cnn.keras",
        "models/mnist_cnn.onnx",
        "quantize/int8.toml",
        "bench/mnist.toml",
    ):
        assert f"toolkit/_builtin/{content}" in names
    assert "toolkit/benchmark/page/templates/page.html.jinja" in names
    assert "toolkit/py.typed" in names
    assert not [name for name in names if name.endswith((".npz", ".pyc"))]


def test_the_source_archive_leaves_the_data_out(wheel):
    archive = next(wheel.parent.glob("*.tar.gz"))
    with tarfile.open(archive) as files:
        names = files.getnames()
    assert not [name for name in names if name.endswith(".npz")]
    assert [name for name in names if name.endswith("/pyproject.toml")]


def test_tensorflow_is_not_there(environment):
    done = environment.run("python", "-c", "import tensorflow")
    assert "ModuleNotFoundError" in done.stderr


def test_nothing_but_the_package_lands_beside_it(environment):
    code = "import importlib.util as u; print([u.find_spec(n) for n in ('models', 'bench')])"
    assert environment.run("python", "-c", code).stdout.strip() == "[None, None]"


def test_inspect_works(environment):
    done = environment.toolkit("inspect", "mnist_cnn", "--json")
    assert json.loads(done.stdout)["contract"]["outputs"][0]["labels"][3] == "3"


def test_quantize_works(int8_model):
    assert int8_model["size_bytes"] < int8_model["source_size_bytes"] / 2


def test_bench_works(environment, int8_model):
    done = environment.toolkit(
        "bench", "mnist_cnn", int8_model["path"], "--data", str(MNIST), "--json", "bench.json",
        "--report", "report.html", "--max-time", "5",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    document = json.loads((environment.folder / "bench.json").read_text())
    assert len(document["variants"]) == 2
    assert "<html" in (environment.folder / "report.html").read_text()


def test_predict_works(environment, int8_model):
    image = Image.new("L", (60, 60), 255)
    ImageDraw.Draw(image).line([(30, 8), (30, 52)], fill=0, width=6)
    image.save(environment.folder / "one.png")
    done = environment.toolkit("predict", int8_model["path"], "one.png", "--json")
    assert json.loads(done.stdout)["predictions"][0]["label"] == "1"


def test_the_runtime_embeds_in_three_lines(environment, int8_model):
    code = (
        "import numpy as np; from toolkit.runtime import load; "
        f"model = load({int8_model['path']!r}); "
        "print(model.predict(np.zeros((28, 28), np.uint8)).label)"
    )
    done = environment.run("python", "-c", code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in set("0123456789")


@pytest.mark.parametrize(
    "arguments",
    [
        ("train", "mnist_cnn", "-o", "new.keras", "--data", str(MNIST)),
        ("export", "mnist_cnn", "-o", "new.onnx"),
        ("evaluate", str(ROOT / "models" / "mnist_cnn.keras"), "--data", str(MNIST)),
    ],
    ids=lambda arguments: arguments[0],
)
def test_what_needs_tensorflow_says_in_one_line_what_to_install(environment, arguments):
    done = environment.toolkit(*arguments)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "pip install 'toolkit[train]'" in done.stderr


def test_offline_data_says_what_to_do(environment):
    offline = {"https_proxy": "http://127.0.0.1:9", "XDG_CACHE_HOME": str(environment.folder)}
    done = environment.run("toolkit", "evaluate", "mnist_cnn", environment=offline)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "'mnist' is not on this machine" in done.stderr
