"""Whatever happens to the child process comes back as a result or as one line."""

import json
import subprocess
import sys
import textwrap
import time

import pytest

from toolkit.errors import DataError, MissingPackageError, ModelError
from toolkit.exporting import child

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
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "ended with signal 11"),
        ("import sys; print('why', file=sys.stderr); sys.exit(3)", r"with status 3 \(why\)"),
        ("print('{half a mess', end='')", "ended with status 0"),
        ("raise RuntimeError('broken')", r"RuntimeError: broken\)"),
    ],
)
def test_a_crash_is_one_line_that_names_the_model(program, code, message):
    program(code)

    with pytest.raises(ModelError, match=message) as caught:
        run()
    assert str(caught.value).startswith("'model.keras': ")
    assert "\n" not in str(caught.value)


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
