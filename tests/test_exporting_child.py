"""Whatever happens to the child process comes back as a result or as one line."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import keras_models
import pytest

from toolkit.errors import DataError, MissingPackageError, ModelError
from toolkit.exporting import child, export

JOB = {"task": "export", "source": "model.keras"}


@pytest.fixture
def program(monkeypatch, tmp_path):
    """Put a few lines of Python in the place of the worker."""

    def install(code: str) -> None:
        path = tmp_path / "program.py"
        path.write_text(textwrap.dedent(code), encoding="utf-8")
        monkeypatch.setattr(child, "COMMAND", (sys.executable, str(path)))

    return install


def run(listener=lambda message: None, timeout_s=60.0):
    with child.workshop() as folder:
        return child.run(JOB, folder, listener, timeout_s=timeout_s)


def test_the_result_comes_back_and_messages_are_passed_on(program):
    program("""
        import json, sys
        job = json.load(open(sys.argv[1]))
        print(json.dumps({"stage": "working"}))
        print(json.dumps({"result": {"echo": job["source"]}}))
    """)
    messages = []

    assert run(messages.append) == {"echo": "model.keras"}
    assert messages[0] == {"stage": "working"}


def test_an_error_keeps_its_class_and_its_words(program):
    program("""
        import json
        print(json.dumps({"error": "DataError", "message": "the data does not fit"}))
    """)

    with pytest.raises(DataError, match=r"^the data does not fit$"):
        run()


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "the memory ran out"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "crashed \\(SIGSEGV\\)"),
        ("raise MemoryError", "needs more memory than there is"),
        ("import sys; print('why', file=sys.stderr); sys.exit(3)", r"with status 3 \(why\)"),
        ("print('{half a mess', end='')", "ended with status 0"),
        ("raise RuntimeError('broken')", r"RuntimeError: broken\)"),
    ],
)
def test_a_crash_is_one_line_that_names_the_model(program, code, message):
    program(code)

    with pytest.raises(ModelError, match=message) as caught:
        run()
    assert str(caught.value).startswith("'model.keras'")
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def hungry(tmp_path_factory):
    """A Keras file of 50 kB that needs 4 GB to run on seven samples."""
    keras = keras_models.import_keras()
    layers = keras.layers
    x = keras.Input((8, 8, 3))
    large = layers.Conv2D(64, 1)(layers.UpSampling2D(200)(x))
    path = tmp_path_factory.mktemp("hungry") / "hungry.keras"
    keras.Model(x, layers.GlobalAveragePooling2D()(large)).save(path)
    return path


def limited(mebibytes):
    """The worker, with so much address space."""
    code = (
        f"import resource, runpy; size = {mebibytes} << 20; "
        "resource.setrlimit(resource.RLIMIT_AS, (size, size)); "
        "runpy.run_module('toolkit.exporting.worker', run_name='__main__')"
    )
    return (sys.executable, "-P", "-c", code)


@pytest.mark.slow
@pytest.mark.parametrize("mebibytes", [700, 2500])  # while TensorFlow loads, while Keras runs
def test_a_lack_of_memory_is_one_line(hungry, monkeypatch, tmp_path, mebibytes):
    monkeypatch.setattr(child, "COMMAND", limited(mebibytes))

    with pytest.raises(ModelError, match="memory") as caught:
        export(hungry, tmp_path / "x.onnx")
    assert str(caught.value).startswith(f"'{hungry}'")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_child_that_is_killed_is_one_line(hungry, tmp_path):
    killed = []

    def kill_the_child():
        while not killed:
            found = subprocess.run(
                ["pgrep", "-P", str(os.getpid()), "-f", "toolkit.exporting.worker"],
                capture_output=True,
                text=True,
                check=False,
            )
            for pid in found.stdout.split():
                os.kill(int(pid), signal.SIGKILL)
                killed.append(pid)
            time.sleep(0.1)

    thread = threading.Thread(target=kill_the_child)
    thread.start()
    with pytest.raises(ModelError, match="was killed, most likely because the memory ran out"):
        export(hungry, tmp_path / "x.onnx")
    thread.join()
    assert list(tmp_path.iterdir()) == []


def test_a_child_that_takes_too_long_is_stopped(program):
    program("import time; time.sleep(60)")
    start = time.monotonic()

    with pytest.raises(ModelError, match=r"took longer than 0\.5 seconds"):
        run(timeout_s=0.5)
    assert time.monotonic() - start < 10


def test_an_interrupt_kills_the_child_and_leaves_no_files(program, tmp_path):
    program(f"""
        import json, os, sys, time
        open({str(tmp_path / "pid")!r}, "w").write(str(os.getpid()))
        print(json.dumps({{"stage": sys.argv[1]}}), flush=True)
        time.sleep(60)
    """)
    folders = []

    def interrupt(message):
        folders.append(message["stage"])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(interrupt)

    pid = (tmp_path / "pid").read_text()
    found = subprocess.run(["ps", "-p", pid], capture_output=True, check=False)
    assert found.returncode == 1
    assert not child.Path(folders[0]).parent.exists()


def test_the_worker_ends_and_clears_up_when_its_parent_is_gone(tmp_path):
    job = tmp_path / "shared" / "job.json"
    job.parent.mkdir()
    job.write_text(json.dumps({"task": "export"}), encoding="utf-8")
    process = subprocess.Popen(
        [sys.executable, "-c", _SLOW_WORKER, str(job)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    process.stdin.close()

    assert process.wait(timeout=30) == 1
    assert not job.parent.exists()


_SLOW_WORKER = """
import time
from toolkit.exporting import worker
worker.TASKS["export"] = lambda *_: time.sleep(60)
worker.main()
"""


@pytest.mark.parametrize("package", ["tensorflow", "tf2onnx"])
def test_a_missing_package_is_named_with_the_command(monkeypatch, package):
    find = child.importlib.util.find_spec
    monkeypatch.setattr(
        child.importlib.util, "find_spec", lambda name: None if name == package else find(name)
    )

    with pytest.raises(MissingPackageError, match=rf"{package}.*pip install 'toolkit\[train\]'"):
        child.require_tensorflow()
