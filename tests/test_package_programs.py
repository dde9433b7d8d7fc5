"""The Python, C, C++ and Node applications, built and run by the commands of their READMEs."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import package_models as models
import pytest
from PIL import Image, ImageDraw

import toolkit

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

AGREE = re.compile(r"(\d+) of \1 golden samples agree")
BLOCK = re.compile(r"(?:^    .+\n)+", re.MULTILINE)
# valgrind's own trouble with the loader, and copies onto themselves inside onnxruntime
SUPPRESSED = """
{
   the loader reads strings word by word
   Memcheck:Addr8
   ...
   obj:*/ld-linux*
}
{
   inside onnxruntime
   Memcheck:Overlap
   ...
   obj:*/libonnxruntime.so*
}
"""


def needs(*programs):
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"'{program}' is not installed; .ci/install brings it")


def run(folder, *command, expected=0, **variables):
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == expected, done.stdout + done.stderr
    return done.stdout if expected == 0 else done.stderr


def readme_commands(folder):
    """The commands of the first block of a package's README."""
    block = BLOCK.search((folder / "README.md").read_text(encoding="utf-8"))
    return [line.strip() for line in block[0].splitlines()]


def follow(folder, commands):
    """Run a README's commands as a person would; return the output of all."""
    return "".join(run(folder, "sh", "-c", command) for command in commands)


def build(folder, *options, place="build"):
    run(folder, "cmake", "-B", place, *options)
    run(folder, "cmake", "--build", place)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    models.digits_model(folder / "digits.onnx")
    models.quantized(folder / "digits.onnx", folder / "digits.int8.onnx")
    models.colour_model(folder / "colours.onnx")
    models.binary_model(folder / "sensor.onnx")
    models.two_input_model(folder / "pair.onnx")
    models.nasty_model(folder / "nasty.onnx")
    models.guarded_model(folder / "guarded.onnx")
    picture = Image.new("RGB", (90, 70), (250, 245, 235))
    ImageDraw.Draw(picture).line([(25, 15), (60, 15), (40, 60)], fill=(20, 20, 80), width=5)
    picture.save(folder / "picture.png")
    picture.convert("L").save(folder / "picture.pgm")
    return folder


@pytest.fixture(scope="module")
def packaged(files, tmp_path_factory):
    """Package a model, with the picture that the README's commands name."""

    def make(name, target):
        folder = tmp_path_factory.mktemp("packages") / target
        toolkit.package(files / f"{name}.onnx", target, folder)
        for picture in ("picture.png", "picture.pgm"):
            shutil.copy(files / picture, folder)
        return folder

    return make


@pytest.fixture(scope="module")
def runtime(packaged):
    """The library and the headers of onnxruntime, brought by a package's own script."""
    needs("cmake", "gcc", "apt-get")
    folder = packaged("digits.int8", "c")
    done = subprocess.run(
        ["./get-runtime.sh"], cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"get-runtime.sh needs PyPI and Debian's packages: {done.stderr[-200:]}")
    return folder / "runtime"


@pytest.fixture(scope="module")
def built(packaged, runtime):
    """Build a C or C++ application for its own tests, once."""
    needs("g++")
    folders = {}

    def make(name, target):
        if (name, target) not in folders:
            folder = packaged(name, target)
            (folder / "runtime").symlink_to(runtime)
            build(folder, "-DCMAKE_BUILD_TYPE=Debug")
            folders[name, target] = folder
        return folders[name, target]

    return make


@pytest.fixture(scope="module")
def node_modules(packaged):
    """The packages that the Node application needs, brought by its README's first command."""
    needs("node", "npm")
    folder = packaged("digits.int8", "node")
    install = readme_commands(folder)[0]
    done = subprocess.run(
        ["sh", "-c", install], cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"'{install}' needs the npm registry: {done.stderr[-200:]}")
    return folder / "node_modules"


MODELS = ["digits.int8", "colours", "sensor", "pair", "nasty", "guarded"]


@pytest.mark.parametrize("target", ["c", "cpp"])
class TestNative:
    def test_readme_commands_build_run_and_agree(self, packaged, runtime, target):
        needs("g++")
        folder = packaged("digits.int8", target)
        (folder / "runtime").symlink_to(runtime)
        commands = readme_commands(folder)
        assert commands[0] == "./get-runtime.sh"  # the fixture ran it
        output = follow(folder, commands[1:])
        assert AGREE.search(output)
        assert re.search(r"picture\.pgm  \d  \d+\.\d %", output)

    @pytest.mark.parametrize("name", MODELS[1:])
    def test_every_kind_of_contract_gives_equal_answers(self, built, target, name):
        folder = built(name, target)
        assert AGREE.search(follow(folder, readme_commands(folder)[3:]))

    def test_no_undefined_behaviour_and_no_wrong_access(self, packaged, runtime, target):
        needs("g++")
        folder = packaged("digits.int8", target)
        (folder / "runtime").symlink_to(runtime)
        language = "C" if target == "c" else "CXX"
        flags = "-g -fsanitize=address,undefined -fno-sanitize-recover=all"
        build(folder, "-DCMAKE_BUILD_TYPE=Debug", f"-DCMAKE_{language}_FLAGS={flags}")
        # The sanitizer's dlopen does not look where the program would.
        library = {"LD_LIBRARY_PATH": str(next(runtime.glob("*/libonnxruntime.so.1")).parent)}
        assert AGREE.search(run(folder, "build/check", **library))
        run(folder, "build/main", "picture.pgm", **library)
        for name, content in [
            ("huge.pgm", b"P5 3 99999999 255 "),
            ("short.pgm", b"P6 9 9 255 abc"),
            ("blank.pgm", b"P5 5 5 255 " + b"x" * 25),
            ("empty.pgm", b""),
        ]:
            (folder / name).write_bytes(content)
            message = run(folder, "build/main", name, expected=1, **library)
            assert len(message.splitlines()) == 1

    def test_no_leak(self, built, target):
        needs("valgrind")
        folder = built("sensor", target)
        (folder / "known.supp").write_text(SUPPRESSED, encoding="utf-8")
        command = ["valgrind", "-q", "--leak-check=full", "--suppressions=known.supp"]
        run(folder, *command, "--error-exitcode=9", "build/check")

    def test_what_is_missing_is_said_in_one_line(self, built, target):
        folder = built("sensor", target)
        missing = run(folder, "build/check", "no.onnx", expected=1)
        assert "no.onnx" in missing
        assert len(missing.splitlines()) == 1
        library = run(folder, "build/check", "model.onnx", "golden", "libno.so", expected=1)
        assert "get-runtime.sh" in library
        assert len(library.splitlines()) == 1

    def test_answers_that_differ_are_an_exit_status(self, built, tmp_path, target):
        folder = built("sensor", target)
        shutil.copy(folder / "golden" / "input-0.bin", tmp_path)
        (tmp_path / "output-0.bin").write_bytes(b"\x00\x00\xc0\x7f" * 8)  # no numbers
        run(folder, "build/check", "model.onnx", str(tmp_path), expected=1)


@pytest.mark.parametrize("target", ["c", "cpp"])
def test_cross_compiled_for_arm_and_run_under_qemu(packaged, runtime, target):
    needs("aarch64-linux-gnu-gcc", "aarch64-linux-gnu-g++")
    from toolkit.devices import sysroot
    from toolkit.errors import ToolkitError

    try:
        emulated = sysroot.find()
    except ToolkitError as error:
        pytest.skip(str(error))
    folder = packaged("digits.int8", target)
    shutil.copytree(runtime, folder / "runtime")
    library = next((emulated.packages / "onnxruntime" / "capi").glob("libonnxruntime.so.*"))
    (folder / "runtime" / "aarch64").mkdir()
    shutil.copy(library, folder / "runtime" / "aarch64" / "libonnxruntime.so.1")
    readme = (folder / "README.md").read_text(encoding="utf-8")
    commands = [line.strip() for line in BLOCK.findall(readme)[1].splitlines()]
    assert commands[0] == "./get-runtime.sh aarch64"  # the library came with the sysroot
    follow(folder, commands[1:])
    for cpu in ("cortex-a53", "neoverse-n1"):
        qemu = [str(emulated.qemu("aarch64")), "-cpu", cpu, "-L", str(emulated.root)]
        assert AGREE.search(run(folder, *qemu, "build-arm/check"))


class TestNode:
    @pytest.mark.parametrize("name", MODELS)
    def test_readme_commands_run_and_agree(self, packaged, node_modules, name):
        folder = packaged(name, "node")
        (folder / "node_modules").symlink_to(node_modules)
        commands = readme_commands(folder)
        assert commands[0].startswith("ONNXRUNTIME_NODE_INSTALL=skip ")  # the fixture ran it
        assert AGREE.search(follow(folder, commands[1:]))

    def test_the_module_is_used_in_three_lines(self, packaged, node_modules):
        folder = packaged("colours", "node")
        (folder / "node_modules").symlink_to(node_modules)
        (folder / "try.mjs").write_text(
            'import { load } from "./model.js";\n'
            "const model = await load();\n"
            "const { label, confidence } = await model.predict(new Uint8Array(360).fill(90));\n"
            "console.log(label, confidence > 0.3);\n"
            "await model.predict(new Uint8Array(3)).catch((e) => console.log(e.message));\n",
            encoding="utf-8",
        )
        lines = run(folder, "node", "try.mjs").splitlines()
        assert lines[0].split()[-1] == "true"
        assert "360" in lines[1]

    def test_a_file_that_is_no_picture_is_one_line(self, packaged, node_modules):
        folder = packaged("digits.int8", "node")
        (folder / "node_modules").symlink_to(node_modules)
        message = run(folder, "node", "classify.js", "README.md", expected=1)
        assert message.startswith("README.md: ")
        assert len(message.splitlines()) == 1


class TestPython:
    def test_readme_commands_run_and_agree_in_an_environment_of_their_own(self, packaged):
        folder = packaged("digits.int8", "python")
        commands = readme_commands(folder)
        try:
            follow(folder, commands[:2])
        except AssertionError as error:
            pytest.skip(f"needs PyPI: {str(error)[-200:]}")
        output = follow(folder, commands[2:])
        assert AGREE.search(output)
        assert re.search(r"picture\.png  \d  \d+\.\d%", output)

    @pytest.mark.parametrize("name", MODELS)
    def test_every_kind_of_contract_gives_equal_answers(self, packaged, name):
        folder = packaged(name, "python")
        here = {"PYTHONPATH": str(folder)}
        assert AGREE.search(run(folder, sys.executable, "check.py", **here))
        command = readme_commands(folder)[-1].split()[1:]
        run(folder, sys.executable, *command, **here)

    def test_it_runs_its_own_copy_of_the_runtime(self, packaged):
        folder = packaged("sensor", "python")
        code = "import toolkit.runtime; print(toolkit.runtime.__file__)"
        path = run(folder, sys.executable, "-c", code, PYTHONPATH=str(folder)).strip()
        assert Path(path).parent == folder / "toolkit" / "runtime"
