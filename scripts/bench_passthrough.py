"""Measures warm reads through a mount against reading the mount's own cache file, on this machine, and prints one table.

A model file is conveyed from the embedded Hub into a directory, mounted with a disk cache, and read once, so that the cache
holds all of it and has proven it. Then each way to read it has its turn, round after round, every second round in the
opposite order, and its rate is divided by that of the cache file in the same round:

    the cache file      what the disk, or the page cache, can do
    passthrough         the same through the mount: the kernel reads the cache file by itself
    through the daemon  the same with --passthrough off

"dropped": the cache file's pages were dropped before (posix_fadvise); "cached": it was read just before. The kernel's own
pages of the mount's file never count: a passthrough handle has none, and for the daemon they are dropped, too.

    --rounds N    how often (default 5)
    --size MIB    of the file (default 2048)
    --directory   where everything is put: on the disk to be measured (default: the temporary directory)

Needs root (CAP_SYS_ADMIN), Linux 6.9, and the release programs (PENSTOCK_BINARIES).
"""

import argparse
import contextlib
import mmap
import os
import pathlib
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import zlib

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "Tests" / "Clients")]

from emulated_hub import binary  # noqa: E402

MIB = 1 << 20
CLOCK = os.sysconf("SC_CLK_TCK")
DIRECT, KERNEL, DAEMON = "the cache file", "passthrough", "through the daemon"


def cpu_seconds(pid: int) -> float:
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / CLOCK


def drop(path: pathlib.Path) -> None:
    with open(path, "rb") as file:
        os.fdatasync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def read(path: pathlib.Path, is_mapped: bool) -> float:
    """Bytes per second, with one buffer or over a mapping."""
    piece = bytearray(MIB)
    begin = time.monotonic()
    with open(path, "rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        if is_mapped:
            with mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as pages:
                for offset in range(0, size, mmap.PAGESIZE):
                    pages[offset]
        else:
            while file.readinto(piece):
                pass
    return size / (time.monotonic() - begin)


def checksum(path: pathlib.Path) -> int:
    value = 0
    with open(path, "rb", buffering=0) as file:
        while piece := file.read(4 * MIB):
            value = zlib.crc32(piece, value)
    return value


def children(parent: int) -> list[int]:
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            if int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1]) == parent:
                found.append(int(entry.name))
    return found


class Mount:
    def __init__(self, source: str, directory: pathlib.Path, cache: pathlib.Path, environment: dict, *arguments: str):
        directory.mkdir()
        self.directory, self.file = directory, directory / "model.safetensors"
        command = [binary("penstock"), "mount", source, str(directory), "--cache-dir", str(cache), *arguments]
        self.process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)
        if not self.process.stdout.readline():
            raise SystemExit(f"bench: the mount did not come up (status {self.process.wait()})")

    def cpu(self) -> float:
        """Of the process that holds the mount and of the one that serves it."""
        return sum(cpu_seconds(process) for process in [self.process.pid, *children(self.process.pid)])

    def wait_for_passthrough(self) -> None:
        """The cache reads everything back from the disk before the kernel may have it."""
        end = time.monotonic() + 120
        while time.monotonic() < end:
            with open(self.file, "rb"):
                if os.getxattr(self.file, "user.penstock.passthrough") == b"yes":
                    return
            time.sleep(0.1)
        raise SystemExit("bench: the kernel does not read the file by itself; the mount's log says why")

    def end(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


def convey(scratch: pathlib.Path, size: int) -> tuple:
    """A model of one file in a directory, as `penstock snapshot` leaves it: its source and the environment."""
    model = scratch / "hub" / "models" / "bench" / "one"
    model.mkdir(parents=True)
    block = os.urandom(MIB)
    with open(model / "model.safetensors", "wb") as file:
        for index in range(size // MIB):
            file.write(index.to_bytes(8, "little") + block[8:])
    ready = scratch / "ready"
    command = [binary("penstock-emulator"), "--root", str(scratch / "emulator"), "--hub-root", str(scratch / "hub")]
    command += ["--gcs-port", "0", "--hub-port", "0", "--ready-file", str(ready)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        while not ready.exists():
            if server.poll() is not None:
                raise SystemExit("bench: the emulator did not start")
            time.sleep(0.05)
        words = dict(word.split("=", 1) for word in ready.read_text().split()[1:])
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
        environment.update(HF_ENDPOINT=words["hub"], NO_PROXY="127.0.0.1,localhost")
        source = f"file://{scratch}/objects"
        (scratch / "objects").mkdir()
        subprocess.run([binary("penstock"), "snapshot", "--quiet", "bench/one", source], env=environment, check=True)
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait()
    shutil.rmtree(scratch / "hub")
    return source, environment


def measure(kernel: Mount, daemon: Mount, cached: pathlib.Path, rounds: int, is_mapped: bool, is_dropped: bool) -> None:
    ways = [(DIRECT, cached, None), (KERNEL, kernel.file, kernel), (DAEMON, daemon.file, daemon)]
    rates, costs = {name: [] for name, _, _ in ways}, {name: [] for name, _, _ in ways}
    for turn in range(rounds):
        for name, path, mount in ways if turn % 2 == 0 else reversed(ways):
            if name == DAEMON:
                drop(path)
            if is_dropped:
                drop(cached)
            else:
                read(cached, False)
            before = mount.cpu() if mount else 0
            rates[name].append(read(path, is_mapped))
            costs[name].append((mount.cpu() if mount else 0) - before)
    gib = cached.stat().st_size / (1 << 30)
    how = f"{'mmap' if is_mapped else 'read'}, {'dropped' if is_dropped else 'cached'}"
    for name, _, mount in ways:
        ratio = statistics.median(rate / direct for rate, direct in zip(rates[name], rates[DIRECT]))
        cost = f"{statistics.median(costs[name]) / gib:.2f}" if mount else "–"
        print(f"| {how} | {name} | {statistics.median(rates[name]) / 1e6:.0f} | {ratio:.2f} | {cost} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", type=int, default=2048)
    parser.add_argument("--directory")
    options = parser.parse_args()
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="penstock-bench-", dir=options.directory))
    mounts: list = []
    try:
        source, environment = convey(scratch, options.size * MIB)
        cache = scratch / "cache"
        cache.mkdir()
        kernel = Mount(source, scratch / "kernel", cache, environment)
        mounts.append(kernel)
        expected = checksum(scratch / "objects" / "model.safetensors")
        if checksum(kernel.file) != expected:
            raise SystemExit("bench: wrong bytes through the mount")
        kernel.wait_for_passthrough()
        daemon = Mount(source, scratch / "daemon", cache, environment, "--passthrough", "off")
        mounts.append(daemon)
        size = options.size * MIB
        cached = next(path for path in cache.rglob("*") if path.is_file() and path.stat().st_size == size)
        print("| | | MB/s | of the cache file | daemon CPU s/GiB |\n|---|---|---|---|---|")
        for is_mapped in [False, True]:
            for is_dropped in [True, False]:
                measure(kernel, daemon, cached, options.rounds, is_mapped, is_dropped)
        if checksum(kernel.file) != expected:
            raise SystemExit("bench: wrong bytes in passthrough")
    finally:
        for mount in mounts:
            mount.end()
        shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    main()
