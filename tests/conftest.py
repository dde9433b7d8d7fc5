"""What all tests share: none reads or writes what the toolkit remembers for its user."""

import contextlib
import os
import shutil
from pathlib import Path

import pytest


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """A cache folder in which the toolkit has calibrated and downloaded nothing.

    Two things are the user's own, linked: the emulated CPUs, which take a download to set up
    again, and what other programs remember there (pip's wheels, matplotlib's fonts).
    """
    users = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    own = tmp_path_factory.mktemp("cache")
    (own / "toolkit").mkdir()
    emulated = users / "toolkit" / "emulated"
    with contextlib.suppress(OSError):  # a home that cannot be written: set up for these tests
        emulated.mkdir(parents=True, exist_ok=True)
        (own / "toolkit" / "emulated").symlink_to(emulated)
        for entry in users.iterdir():
            if entry.name != "toolkit":
                (own / entry.name).symlink_to(entry)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(own))
        yield own


@pytest.fixture(autouse=True)
def no_stopwatch(monkeypatch):
    """Let `quantize` place nodes by its rules: tests never depend on how fast this machine is.

    Tests of what follows from times inject them; see test_quantization_speed.py.
    """
    from toolkit.measuring.statistics import Ratio
    from toolkit.quantization import speed

    unmeasured = speed.Speed(Ratio(1.0, 0.9, 1.1, "no verdict"), (), True, {"threads": 1}, 0.0)
    monkeypatch.setattr(speed, "tune", lambda trials, first, *_: (first, unmeasured))


@pytest.fixture(scope="session")
def browser():
    """Debian's Chromium; tests that need it are skipped where it is not installed."""
    if shutil.which("chromium") is None:
        pytest.skip("'chromium' is not installed; `sudo apt-get install chromium` brings it")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        yield browser
        browser.close()
