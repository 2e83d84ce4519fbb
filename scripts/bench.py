"""Measures conveying a snapshot against the other ways to do it, on this machine, and prints one table.

All contenders run in turn against the same emulated Hub and bucket, round after round; medians are printed, and ratios of
wall times within the same run. `make bench` runs this; docs/PERFORMANCE.md says how to read it.

    --rounds N     how often each contender runs (default 3)
    --small        256 MiB instead of 4 GiB: only to see that it works
"""

import argparse
import json
import os
import pathlib
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "Tests" / "Fixtures"), str(ROOT / "Tests" / "Clients")]

import fetch_minilm  # noqa: E402
from emulated_hub import binary  # noqa: E402

MIB = 1 << 20
CLOCK = os.sysconf("SC_CLK_TCK")
HF = str(pathlib.Path(sys.executable).parent / "hf")

UPLOAD = """
import sys, os
from google.cloud import storage
from google.auth.credentials import AnonymousCredentials
from google.cloud.storage import transfer_manager
source, bucket, prefix = sys.argv[1:4]
client = storage.Client(project="bench", credentials=AnonymousCredentials())
target = client.bucket(bucket)
names = [name for name in sorted(os.listdir(source)) if name.endswith(".safetensors")]
if len(names) == 1:
    blob = target.blob(prefix + names[0])
    transfer_manager.upload_chunks_concurrently(os.path.join(source, names[0]), blob, max_workers=8)
else:
    results = transfer_manager.upload_many_from_filenames(
        target, names, source_directory=source, blob_name_prefix=prefix, max_workers=8, raise_exception=True)
"""


class Usage:
    """What one run cost."""

    def __init__(self):
        self.wall = self.client_cpu = self.server_cpu = 0.0
        self.rss = self.disk = 0


def make_repository(root: pathlib.Path, name: str, files: int, size: int) -> None:
    directory = root / "models" / "bench" / name
    marker = directory.parent / f".{name}-{files}x{size}"
    if marker.exists():
        return
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    block = random.Random(7).randbytes(16 * MIB)
    for index in range(files):
        with open(directory / f"model-{index + 1:05}-of-{files:05}.safetensors", "wb") as file:
            for position in range(0, size, len(block)):
                # Each block differs, so that no file or part is equal to another.
                file.write(index.to_bytes(8, "little") + position.to_bytes(8, "little") + block[16:])
    marker.touch()


def cpu_seconds(pid: int) -> float:
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / CLOCK


def tree_size(directory: pathlib.Path) -> int:
    total = 0
    for path, _, names in os.walk(directory):
        for name in names:
            try:
                total += os.lstat(os.path.join(path, name)).st_blocks * 512
            except OSError:
                pass
    return total


class DiskWatch(threading.Thread):
    """The most that stood in a directory at once."""

    def __init__(self, directory: pathlib.Path):
        super().__init__(daemon=True)
        self.directory, self.peak, self.ended = directory, 0, threading.Event()

    def run(self):
        while not self.ended.wait(0.25):
            self.peak = max(self.peak, tree_size(self.directory))

    def stop(self) -> int:
        self.ended.set()
        self.join()
        return max(self.peak, tree_size(self.directory))


class Bench:
    def __init__(self, scratch: pathlib.Path, hub_root: pathlib.Path):
        self.scratch = scratch
        ready = scratch / "ready"
        command = [binary("penstock-emulator"), "--root", str(scratch / "emulator"), "--hub-root", str(hub_root)]
        command += ["--bucket", "bench", "--gcs-port", "0", "--hub-port", "0", "--ready-file", str(ready)]
        self.server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        while not ready.exists():
            if self.server.poll() is not None:
                raise SystemExit("bench: the emulator did not start")
            time.sleep(0.05)
        words = dict(word.split("=", 1) for word in ready.read_text().split()[1:])
        self.gcs, self.hub = words["gcs"], words["hub"]
        # The tests' own variables are no settings of penstock.
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
        self.environment.update(STORAGE_EMULATOR_HOST=self.gcs, HF_ENDPOINT=self.hub)
        self.environment.update(NO_PROXY="127.0.0.1,localhost", no_proxy="127.0.0.1,localhost", HF_HUB_DISABLE_XET="1")
        self.environment.update(HF_HUB_DISABLE_UPDATE_CHECK="1", HF_HUB_DISABLE_PROGRESS_BARS="1")

    def files(self, name: str) -> list:
        with urllib.request.urlopen(f"{self.hub}/api/models/bench/{name}/tree/main?recursive=true", timeout=600) as reply:
            return [entry for entry in json.load(reply) if entry["type"] == "file"]

    def wipe_bucket(self) -> None:
        base = f"{self.gcs}/storage/v1/b/bench/o"
        while True:
            with urllib.request.urlopen(f"{base}?fields=items(name)&maxResults=1000", timeout=60) as reply:
                items = json.load(reply).get("items", [])
            if not items:
                return
            for item in items:
                name = urllib.parse.quote(item["name"], safe="")
                urllib.request.urlopen(urllib.request.Request(f"{base}/{name}", method="DELETE"), timeout=60).close()

    def measure(self, commands: list) -> Usage:
        """Runs shell commands one after another; what they and the servers used."""
        work = self.scratch / "work"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        usage, watch = Usage(), DiskWatch(work)
        watch.start()
        before, began = cpu_seconds(self.server.pid), time.monotonic()
        for command in commands:
            process = subprocess.Popen(command, env=self.environment, cwd=work, stdout=subprocess.DEVNULL)
            _, status, spent = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode != 0:
                raise SystemExit(f"bench: {command} ended with {process.returncode}")
            usage.client_cpu += spent.ru_utime + spent.ru_stime
            usage.rss = max(usage.rss, spent.ru_maxrss * 1024)
        usage.wall = time.monotonic() - began
        usage.server_cpu = cpu_seconds(self.server.pid) - before
        usage.disk = watch.stop()
        shutil.rmtree(work)
        self.wipe_bucket()
        return usage

    def contenders(self, name: str) -> dict:
        files = [entry["path"] for entry in self.files(name)]
        source = f"{self.hub}/bench/{name}/resolve/main"
        upload = f"{self.gcs}/upload/storage/v1/b/bench/o?uploadType=media&name=raw/"
        pipes = [f"curl -sfL '{source}/{path}' | curl -sf -T - -X POST '{upload}{path}' >/dev/null" for path in files]
        hashes = [f"curl -sfL '{source}/{path}' | openssl dgst -sha256 >/dev/null" for path in files]
        return {
            "penstock": [[binary("penstock"), "snapshot", "--quiet", f"bench/{name}", f"gs://bench/{name}"]],
            "hf download, then upload": [
                [HF, "download", f"bench/{name}", "--local-dir", "model", "--quiet"],
                [sys.executable, "-c", UPLOAD, "model", "bench", "twostep/"],
            ],
            "curl | curl": [["bash", "-c", "set -o pipefail; " + " & ".join(pipes) + " & wait"]],
            "curl | openssl sha256": [["bash", "-c", "set -o pipefail; " + " & ".join(hashes) + " & wait"]],
        }

    def stop(self) -> None:
        self.server.send_signal(signal.SIGTERM)
        self.server.wait(timeout=60)


def row(title: str, runs: list, gib: float, own: float) -> str:
    def middle(pick):
        return statistics.median(pick(run) for run in runs)

    wall = middle(lambda run: run.wall)
    cells = [
        f"{title:<26}",
        f"{wall:7.2f}",
        f"{gib * 1.073741824 / wall:6.2f}",
        f"{middle(lambda run: run.client_cpu) / gib:7.2f}",
        f"{middle(lambda run: run.server_cpu) / gib:7.2f}",
        f"{max(run.rss for run in runs) / MIB:8.0f}",
        f"{max(run.disk for run in runs) / MIB:8.0f}",
        f"{wall / own:8.2f}",
    ]
    return "  ".join(cells)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--small", action="store_true")
    options = parser.parse_args()
    total = 256 * MIB if options.small else 4096 * MIB
    hub_root = fetch_minilm.default_cache() / ("bench-small" if options.small else "bench")
    cases = {"one": (1, total), "eight": (8, total // 8)}
    for name, (files, size) in cases.items():
        make_repository(hub_root, name, files, size)
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="penstock-bench-", dir=os.environ.get("PENSTOCK_BENCH_DIRECTORY")))
    bench = Bench(scratch, hub_root)
    try:
        for name, (files, size) in cases.items():
            contenders = bench.contenders(name)
            runs = {title: [] for title in contenders}
            for _ in range(options.rounds):
                for title, commands in contenders.items():
                    runs[title].append(bench.measure(commands))
            gib = total / (1 << 30)
            own = statistics.median(run.wall for run in runs["penstock"])
            print(f"\n{files} x {size // MIB} MiB, median of {options.rounds}; CPU in seconds per GiB, sizes in MiB")
            print(f"{'':<26}   wall s    GB/s   client   server       RSS      disk  of ours")
            for title, measured in runs.items():
                print(row(title, measured, gib, own))
            walls = {title: statistics.median(run.wall for run in measured) for title, measured in runs.items()}
            two_step = walls["hf download, then upload"] / own
            slower = max(walls["curl | curl"], walls["curl | openssl sha256"])
            print(f"faster than two steps: {two_step:.2f} x (aim 3)", end="; ")
            if files > 1:
                print(f"of the raw pipe: {walls['curl | curl'] / own:.2f} (aim 0.8)")
            else:
                print(f"of the slower of pipe and hash: {slower / own:.2f} (aim 0.8)")
    finally:
        bench.stop()
        shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    main()
