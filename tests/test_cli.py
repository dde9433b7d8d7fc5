"""The command line as a whole: fast, lazy, documented, and one line for every expected error."""

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from toolkit import __version__
from toolkit.cli import COMMANDS, toolkit
from toolkit.reporting.text import printable

ROOT = Path(__file__).parent.parent
HEAVY = ("numpy", "onnx", "onnxruntime", "onnx_ir", "rich", "pydantic", "PIL", "tensorflow")


def run(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command line as a real process."""
    return subprocess.run(
        [sys.executable, "-m", "toolkit", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        timeout=120,
    )


def imported_by(statement: str) -> set[str]:
    """Return the top-level modules that a fresh interpreter has imported after a statement."""
    code = f"import sys\n{statement}\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return set(done.stdout.splitlines()[-1].split())


def test_help_lists_every_command_and_imports_nothing_heavy():
    statement = (
        "from click.testing import CliRunner; from toolkit.cli import toolkit as t; "
        "print(CliRunner().invoke(t, ['--help']).output)"
    )
    assert not imported_by(statement) & set(HEAVY)
    output = run("--help").stdout
    assert all(name in output for name in COMMANDS)


def test_importing_the_package_imports_nothing_heavy():
    assert not imported_by("import toolkit") & set(HEAVY)


@pytest.mark.parametrize("name", COMMANDS)
def test_importing_a_command_imports_nothing_heavy(name):
    assert not imported_by(f"import toolkit.commands.{name}") & set(HEAVY)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_for_itself_and_for_each_option(name):
    command = toolkit.get_command(None, name)
    assert command.help
    for option in command.params:
        if option.param_type_name == "option":
            assert option.help, f"{name} {option.opts}"


def test_cli_page_is_up_to_date():
    # A process of its own: click keeps the help option of a command's first context, and other
    # tests here call commands without their group.
    check = [sys.executable, ROOT / "docs" / "generate_cli.py", "--check"]
    assert subprocess.run(check, check=False, timeout=60).returncode == 0, "run `make docs`"


@pytest.mark.parametrize("name", ["", "export", "device setup"])
def test_cli_page_shows_what_help_shows_in_a_terminal_of_80_columns(monkeypatch, name):
    monkeypatch.setenv("COLUMNS", "80")
    shown = run(*name.split(), "--help").stdout.replace("python -m toolkit", "toolkit")
    assert f"```\n{shown.rstrip()}\n```" in (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert "-h, --help" in shown


def test_version():
    assert run("--version").stdout == f"toolkit {__version__}\n"


def test_an_unknown_command_is_wrong_usage():
    done = run("trian")
    assert done.returncode == 2
    assert "trian" in done.stderr


@pytest.mark.parametrize(
    ("typed", "hint"),
    [("evalute", "Did you mean 'evaluate'?"), ("quantise", "Did you mean 'quantize'?"), ("x", "")],
)
def test_an_unknown_command_is_told_which_one_is_like_it(typed, hint):
    result = CliRunner().invoke(toolkit, [typed])
    assert result.exit_code == 2
    assert result.stderr.strip().endswith(hint or "No such command 'x'.")


def test_an_expected_error_is_one_line_on_stderr_and_exit_1(tmp_path):
    done = run("inspect", "no-such-model.onnx", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("Error: ")
    assert "no-such-model.onnx" in done.stderr


def test_a_full_stdout_is_one_line(tmp_path):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "toolkit", "doctor", "--json"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == "Error: The output cannot be written: No space left on device.\n"


def test_a_terminal_without_unicode_gets_question_marks(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "toolkit", "inspect", "né.onnx"],
        env={"PYTHONIOENCODING": "ascii", "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


def test_control_characters_of_a_file_never_reach_the_terminal():
    assert printable("a\x1b[31mb\u202e·é") == "a?[31mb?·é"
    assert "\x1b" not in run("inspect", "a\x1b[31m.onnx").stderr


def test_a_bug_keeps_its_traceback(monkeypatch):
    monkeypatch.setattr("toolkit.diagnosis.doctor", lambda: 1 / 0)
    result = CliRunner().invoke(toolkit, ["doctor"])
    assert isinstance(result.exception, ZeroDivisionError)


def test_public_names_are_callables_and_are_listed():
    import toolkit as package

    assert package.__all__ == sorted(package.__all__)
    for name in package.__all__:
        assert callable(getattr(package, name)) or name == "__version__"
    with pytest.raises(AttributeError, match="has no attribute 'no_such_name'"):
        _ = package.no_such_name
