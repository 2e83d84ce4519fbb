"""Starts penstock-emulator's Hub for tests of clients."""

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import time
import urllib.parse
import urllib.request

REPOSITORY_ROOT = pathlib.Path(__file__).resolve().parents[2]


def binary(name: str) -> str:
    """A release program: from $PENSTOCK_BINARIES, which `make` sets."""
    directory = os.environ.get("PENSTOCK_BINARIES")
    assert directory, "PENSTOCK_BINARIES is not set: run these tests by `make test` or `make system`"
    path = pathlib.Path(directory) / name
    assert path.exists(), f"{path} was not built: run `make release`"
    return str(path)


class Hub:
    def __init__(self, endpoint: str, storage: str):
        self.endpoint = endpoint
        #: The Cloud Storage beside it: what STORAGE_EMULATOR_HOST is to be.
        self.storage = storage

    def post(self, route: str, value: object = None) -> None:
        """One of the emulator's admin routes, for example `hub/options`."""
        body = json.dumps(value or {}).encode()
        request = urllib.request.Request(f"{self.endpoint}/_emulator/{route}", data=body, method="POST")
        with _direct.open(request, timeout=30) as reply:
            assert reply.status in (200, 204)

    def objects(self, bucket: str, prefix: str = "") -> dict[str, bytes]:
        """Every object below a prefix, by its name behind the prefix, with its content."""
        base = f"{self.storage}/storage/v1/b/{bucket}/o"
        query = urllib.parse.urlencode({"prefix": prefix})
        with _direct.open(f"{base}?{query}", timeout=30) as reply:
            names = [item["name"] for item in json.load(reply).get("items", [])]
        contents = {}
        for name in names:
            with _direct.open(f"{base}/{urllib.parse.quote(name, safe='')}?alt=media", timeout=60) as reply:
                contents[name.removeprefix(prefix)] = reply.read()
        return contents


# Proxies of the environment are not for loopback.
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@contextlib.contextmanager
def serving(root: pathlib.Path, scratch: pathlib.Path, *options: str):
    """A running Hub over `root`; its own files go to `scratch`."""
    ready = scratch / "emulator-ready"
    ready.unlink(missing_ok=True)
    command = [binary("penstock-emulator"), "--root", str(scratch), "--hub-root", str(root)]
    command += ["--gcs-port", "0", "--hub-port", "0", "--hub-storage-host", "localhost", "--ready-file", str(ready)]
    process = subprocess.Popen(command + list(options), stdout=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 120
        while not ready.exists():
            assert process.poll() is None, f"the emulator ended with status {process.returncode}"
            assert time.monotonic() < end, "the emulator was not ready within two minutes"
            time.sleep(0.02)
        words = dict(word.split("=", 1) for word in ready.read_text().split()[1:])
        yield Hub(words["hub"], words["gcs"])
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)
