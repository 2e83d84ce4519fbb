"""Runs penstock against the emulated servers, for tests that look at it from outside."""

import contextlib
import os
import pathlib
import signal
import subprocess

import emulated_hub


def environment(hub: emulated_hub.Hub, **more: str) -> dict[str, str]:
    """This process's environment, pointed at the emulators. The tests' own variables are no settings of penstock."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
    kept.update(STORAGE_EMULATOR_HOST=hub.storage, HF_ENDPOINT=hub.endpoint, NO_PROXY="127.0.0.1,localhost")
    kept.update(no_proxy="127.0.0.1,localhost", **more)
    return kept


def penstock(hub: emulated_hub.Hub, *arguments: str) -> str:
    """Runs a command to its end, which must be a good one; what it printed."""
    command = [emulated_hub.binary("penstock"), *arguments]
    done = subprocess.run(command, env=environment(hub), capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, f"penstock {' '.join(arguments)} ended with {done.returncode}: {done.stderr}"
    return done.stdout


@contextlib.contextmanager
def mounted(hub: emulated_hub.Hub, source: str, directory: pathlib.Path, *options: str, **process_options):
    """A mount of `source`, served by a process of its own; gone at the end."""
    assert pathlib.Path("/dev/fuse").exists(), "these tests mount for real: /dev/fuse is missing"
    directory.mkdir(parents=True, exist_ok=True)
    command = [emulated_hub.binary("penstock"), "mount", source, str(directory), *options]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(command, env=environment(hub), **pipes, **process_options)
    try:
        assert process.stdout.readline(), f"the mount did not come up: {process.stderr.read().decode()}"
        yield directory
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
        if process.returncode:
            # It died: its mount stays, and would be in the way of whoever cleans up.
            subprocess.run(["umount", "--lazy", str(directory)], capture_output=True)
    assert process.returncode == 0, f"the mount ended with {process.returncode}"
