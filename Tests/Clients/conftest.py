"""Starts penstock-emulator for the peer tests: official clients that nobody here wrote, against our emulators.

The program is $PENSTOCK_EMULATOR, or the one in $PENSTOCK_BINARIES, or that of the default release build.
"""

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Where the script stands that fetches the real model.
sys.path.insert(0, str(ROOT / "Tests" / "Fixtures"))


def emulator_program():
    named = os.environ.get("PENSTOCK_EMULATOR")
    if named:
        return named
    binaries = os.environ.get("PENSTOCK_BINARIES", str(ROOT / ".build" / "release"))
    program = pathlib.Path(binaries) / "penstock-emulator"
    assert program.exists(), f"{program} is missing: run `make release`, or set PENSTOCK_EMULATOR"
    return str(program)


class Emulator:
    """A running emulator with its base URLs."""

    def __init__(self, root, *options):
        self.root = root
        ready = root / f"ready-{time.monotonic_ns()}"
        command = [emulator_program(), "--root", str(root), "--gcs-port", "0", "--hub-port", "0"]
        self.process = subprocess.Popen(
            [*command, "--ready-file", str(ready), *options], stdout=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 30
        while not ready.exists():
            assert self.process.poll() is None, f"the emulator ended with {self.process.returncode}"
            assert time.monotonic() < deadline, "the emulator was not ready within 30 seconds"
            time.sleep(0.01)
        words = ready.read_text().split()
        urls = dict(word.split("=", 1) for word in words[1:])
        self.gcs = urls["gcs"]
        self.hub = urls.get("hub")

    def stop(self, signal_number=signal.SIGTERM):
        self.process.send_signal(signal_number)
        return self.process.wait(timeout=30)


@pytest.fixture(scope="session")
def emulator(tmp_path_factory):
    """One emulator for the whole session; tests keep apart by using buckets of their own."""
    running = Emulator(tmp_path_factory.mktemp("emulator"))
    yield running
    assert running.stop() == 0


@pytest.fixture
def start_emulator(tmp_path):
    """Starts further emulators, with options; they end with the test."""
    started = []

    def start(*options, root=tmp_path / "root"):
        root.mkdir(exist_ok=True)
        started.append(Emulator(root, *options))
        return started[-1]

    yield start
    for running in started:
        if running.process.poll() is None:
            running.stop()
