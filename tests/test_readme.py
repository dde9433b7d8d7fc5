"""Every command of the README does what it says, in order, in one folder."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
# Set-up and whole runs: where else they are run.
ELSEWHERE = {
    "make test": "continuous integration runs it",
    "make demo": "test_make_demo_is_the_demo_command, with the toolkit demo below",
    "python3.11 -m venv .venv": "the Makefile, and tests/test_packaging.py",
    ".venv/bin/pip install -c constraints.txt -e '.[cpu,train,keras2,ssh,dev]'": "the Makefile",
    ".venv/bin/pytest": "make test",
}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def commands() -> list[tuple[str, str]]:
    """Return (language, text) of every command line and every Python block, in order."""
    found = []
    for language, text in BLOCK.findall(README):
        lines = [text] if language == "python" else text.strip().splitlines()
        found.extend((language, line) for line in lines if line not in ELSEWHERE)
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder that looks like a checkout to the README's commands."""
    folder = tmp_path_factory.mktemp("readme")
    shutil.copytree(ROOT / "examples", folder / "examples")
    return folder


@pytest.mark.parametrize(("language", "text"), commands(), ids=lambda text: text[:60])
def test_readme_command(folder, language, text):
    bin_folder = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{bin_folder}:{os.environ['PATH']}"}
    if language == "python":
        command = [sys.executable, "-c", text]
    else:
        command = ["bash", "-c", text.replace(".venv/bin/", "")]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


def test_make_demo_is_the_demo_command():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(r"^demo:.*\n\t\$\(BIN\)/toolkit demo ", makefile, re.MULTILINE)


def test_no_figure_is_left_open():
    assert not re.findall(r"@[A-Z0-9]+@", README)


def test_every_link_of_the_documentation_leads_somewhere():
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("*/README.md")]:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name}: {target}"
