"""Measures conveying a snapshot against the other ways to do it, on this machine, and prints one table.

All contenders run in turn against the same emulated Hub and bucket, round after round, every second round in the
opposite order. A ratio is taken within a round, between runs of the same minute, and its median over the rounds counts.
`make bench` runs this; docs/PERFORMANCE.md says how to read it.

    --rounds N     how often each contender runs (default 3)
    --small        256 MiB instead of 4 GiB: only to see that it works
    --case NAME    only "one" file or only "eight"
"""

import argparse
import json
import os
import pathlib
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request

from benchlib import GIB, MIB, Emulators, MemoryFiller, binary, clean_environment, cpu_seconds
import fetch_minilm

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


OURS, TWO_STEPS, PIPE, HASH = "penstock", "hf download, then upload", "curl | curl", "curl | openssl sha256"


def side_by_side(pipes: list) -> list:
    """All at once; fails when one of them does (a bare `wait` would not)."""
    started = " ".join(f"{pipe} & pids+=($!);" for pipe in pipes)
    waits = 'for pid in "${pids[@]}"; do wait "$pid" || exit 1; done'
    return ["bash", "-c", f"set -o pipefail; pids=(); {started} {waits}"]


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
        self.scratch, self.memory = scratch, MemoryFiller(scratch)
        #: Files of the Hub, to be in memory before each run.
        self.sources: list = []
        self.servers = Emulators(scratch / "emulator", hub_root, scratch)
        self.gcs, self.hub = self.servers.gcs, self.servers.hub
        self.environment = clean_environment(STORAGE_EMULATOR_HOST=self.gcs, HF_ENDPOINT=self.hub, HF_HUB_DISABLE_XET="1")
        self.environment.update(HF_HUB_DISABLE_UPDATE_CHECK="1", HF_HUB_DISABLE_PROGRESS_BARS="1")

    def files(self, name: str) -> list:
        with urllib.request.urlopen(f"{self.hub}/api/models/bench/{name}/tree/main?recursive=true", timeout=600) as reply:
            return [entry for entry in json.load(reply) if entry["type"] == "file"]

    def warm_up(self) -> None:
        """Python compiles what it imports for the first time."""
        for command in ([HF, "version"], [sys.executable, "-c", UPLOAD.split("source,")[0]]):
            subprocess.run(command, env=self.environment, stdout=subprocess.DEVNULL, check=True)

    def wipe_bucket(self) -> int:
        """Deletes all objects; how many bytes they had."""
        base, total = f"{self.gcs}/storage/v1/b/bench/o", 0
        while True:
            with urllib.request.urlopen(f"{base}?fields=items(name,size)&maxResults=1000", timeout=60) as reply:
                items = json.load(reply).get("items", [])
            if not items:
                return total
            for item in items:
                total += int(item["size"])
                name = urllib.parse.quote(item["name"], safe="")
                urllib.request.urlopen(urllib.request.Request(f"{base}/{name}", method="DELETE"), timeout=60).close()

    def measure(self, commands: list, stored: int) -> Usage:
        """Runs shell commands one after another; what they and the servers used.

        The bucket must hold at least `stored` bytes afterwards: nobody is fast by leaving something out.
        """
        work = self.scratch / "work"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        self.memory.fill(self.sources)
        usage, watch = Usage(), DiskWatch(work)
        watch.start()
        before, began = cpu_seconds(self.servers.pid), time.monotonic()
        for command in commands:
            process = subprocess.Popen(command, env=self.environment, cwd=work, stdout=subprocess.DEVNULL)
            _, status, spent = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode != 0:
                raise SystemExit(f"bench: {command} ended with {process.returncode}")
            usage.client_cpu += spent.ru_utime + spent.ru_stime
            usage.rss = max(usage.rss, spent.ru_maxrss * 1024)
        usage.wall = time.monotonic() - began
        usage.server_cpu = cpu_seconds(self.servers.pid) - before
        usage.disk = watch.stop()
        shutil.rmtree(work)
        found = self.wipe_bucket()
        if found < stored:
            raise SystemExit(f"bench: {commands} left {found} bytes in the bucket instead of {stored}")
        return usage

    def contenders(self, name: str) -> dict:
        files = [entry["path"] for entry in self.files(name)]
        source = f"{self.hub}/bench/{name}/resolve/main"
        upload = f"{self.gcs}/upload/storage/v1/b/bench/o?uploadType=media&name=raw/"
        pipes = [f"curl -sfL '{source}/{path}' | curl -sf -T - -X POST '{upload}{path}' >/dev/null" for path in files]
        hashes = [f"curl -sfL '{source}/{path}' | openssl dgst -sha256 >/dev/null" for path in files]
        return {
            OURS: [[binary("penstock"), "snapshot", "--quiet", f"bench/{name}", f"gs://bench/{name}"]],
            TWO_STEPS: [
                [HF, "download", f"bench/{name}", "--local-dir", "model", "--quiet"],
                [sys.executable, "-c", UPLOAD, "model", "bench", "twostep/"],
            ],
            PIPE: [side_by_side(pipes)],
            HASH: [side_by_side(hashes)],
        }


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


def ratios(turn: dict, files: int) -> dict:
    """What the aims of one round are measured by: wall times of the others divided by ours."""
    own = turn[OURS].wall
    two_steps = {"faster than two steps (aim 3)": turn[TWO_STEPS].wall / own}
    if files > 1:
        return two_steps | {"of the raw pipe (aim 0.8)": turn[PIPE].wall / own}
    slower = max(turn[PIPE].wall, turn[HASH].wall)
    return two_steps | {"of the slower of pipe and hash (aim 0.8)": slower / own}


def run_case(bench: Bench, name: str, files: int, size: int, rounds: int) -> None:
    contenders = bench.contenders(name)
    turns = []
    print(f"\n{files} x {size // MIB} MiB")
    for index in range(rounds):
        order = list(contenders) if index % 2 == 0 else list(reversed(contenders))
        turn = {title: bench.measure(contenders[title], 0 if title == HASH else files * size) for title in order}
        turns.append(turn)
        walls = ", ".join(f"{title} {turn[title].wall:.2f} s" for title in order)
        shown = ", ".join(f"{ratio:.2f} {what}" for what, ratio in ratios(turn, files).items())
        print(f"round {index + 1}: {walls}: {shown}", flush=True)
    gib = files * size / GIB
    own = statistics.median(turn[OURS].wall for turn in turns)
    print(f"median of {rounds} rounds; CPU in seconds per GiB, sizes in MiB")
    print(f"{'':<26}   wall s    GB/s   client   server       RSS      disk  of ours")
    for title in contenders:
        print(row(title, [turn[title] for turn in turns], gib, own))
    for what in ratios(turns[0], files):
        ratio = statistics.median(ratios(turn, files)[what] for turn in turns)
        print(f"{ratio:.2f} {what}, median of the rounds' ratios")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--case", choices=["one", "eight"])
    options = parser.parse_args()
    total = 256 * MIB if options.small else 4096 * MIB
    hub_root = fetch_minilm.default_cache() / ("bench-small" if options.small else "bench")
    cases = {"one": (1, total), "eight": (8, total // 8)}
    if options.case:
        cases = {options.case: cases[options.case]}
    for name, (files, size) in cases.items():
        make_repository(hub_root, name, files, size)
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="penstock-bench-", dir=os.environ.get("PENSTOCK_BENCH_DIRECTORY")))
    bench = Bench(scratch, hub_root)
    try:
        bench.warm_up()
        for name, (files, size) in cases.items():
            bench.sources = sorted((hub_root / "models" / "bench" / name).iterdir())
            run_case(bench, name, files, size, options.rounds)
    finally:
        bench.servers.stop()
        shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    main()
