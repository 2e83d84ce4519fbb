"""What the benchmarks share: the emulators, the state of the machine's memory before a run, and what processes used."""

import ctypes
import mmap
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "Tests" / "Fixtures"), str(ROOT / "Tests" / "Clients")]

from emulated_hub import binary  # noqa: E402

MIB, GIB = 1 << 20, 1 << 30
CLOCK = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """Of one process, with those of its children that it has waited for left out."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / CLOCK


def process_tree(pid: int) -> list:
    """A process and everything below it that runs now."""
    found = [pid]
    for known in found:
        try:
            for task in pathlib.Path(f"/proc/{known}/task").iterdir():
                found += [int(child) for child in (task / "children").read_text().split()]
        except OSError:
            pass
    return found


def tree_cpu_seconds(pid: int) -> float:
    total = 0.0
    for each in process_tree(pid):
        try:
            total += cpu_seconds(each)
        except OSError:
            pass
    return total


def tree_peak_memory(pid: int) -> int:
    """The sum of the peaks of a process and those below it, in bytes."""
    total = 0
    for each in process_tree(pid):
        try:
            for line in pathlib.Path(f"/proc/{each}/status").read_text().splitlines():
                if line.startswith("VmHWM:"):
                    total += int(line.split()[1]) << 10
        except OSError:
            pass
    return total


class Connections(threading.Thread):
    """The most TCP connections to a port at once, looked at four times a second: reading the table takes milliseconds."""

    def __init__(self, port: int):
        super().__init__(daemon=True)
        self.remote, self.peak, self.ended = f"0100007F:{port:04X}", 0, threading.Event()

    def run(self) -> None:
        while not self.ended.wait(0.25):
            lines = pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]
            count = sum(1 for line in lines if line.split()[2:4] == [self.remote, "01"])
            self.peak = max(self.peak, count)

    def stop(self) -> int:
        self.ended.set()
        self.join()
        return self.peak


def memory(kind: str) -> int:
    """Bytes that /proc/meminfo counts: MemFree, MemAvailable and the like."""
    for line in pathlib.Path("/proc/meminfo").read_text().splitlines():
        if line.startswith(f"{kind}:"):
            return int(line.split()[1]) << 10
    raise SystemExit(f"bench: /proc/meminfo has no {kind}")


def read_through(file: pathlib.Path) -> None:
    piece = bytearray(4 * MIB)
    with open(file, "rb", buffering=0) as source:
        while source.readinto(piece):
            pass


def drop_pages(file: pathlib.Path) -> None:
    """Takes a file's pages out of the page cache."""
    with open(file, "rb") as open_file:
        os.fdatasync(open_file.fileno())
        os.posix_fadvise(open_file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def clean_environment(**more: str) -> dict:
    """This process's environment without the tests' own variables, which are no settings of penstock."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
    return kept | {"NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost"} | more


class Rounds:
    """Rows that contenders have in turn, in the opposite order every second round. What a benchmark gives: `contenders`,
    `sequences()`, each with its rows, and `end()`, after which nothing of a sequence is left."""

    def round(self, number: int, wanted: list) -> dict:
        """The runs of one round: (row, contender) to run."""
        runs = {}
        for rows, sequence in self.sequences():
            if not set(rows) & set(wanted):
                continue
            for contender in self.contenders if number % 2 == 0 else reversed(self.contenders):
                try:
                    found = self.found(sequence, contender, rows[0])
                finally:
                    self.end()
                runs |= {self.key(row, contender): run for row, run in found.items()}
        return runs

    def found(self, sequence, contender, row: str) -> dict:
        """The runs of one sequence, by row."""
        return sequence(contender)

    def key(self, row: str, contender) -> tuple:
        return row, contender.name

    def rounds(self, options, shown) -> list:
        """All rounds, told of as they end. `shown`: a run's figure and its unit, by row and run."""
        rounds = []
        for number in range(options.rounds):
            begin = time.monotonic()
            rounds.append(self.round(number, options.rows))
            print(f"round {number + 1} took {time.monotonic() - begin:.0f} s", flush=True)
            for (row, name), found in rounds[-1].items():
                if row in options.rows:
                    figure, unit = shown(row, found)
                    print(f"  {row:<15} {name:<13} {figure:10.2f} {unit}", flush=True)
        return rounds


def in_scratch(work) -> None:
    """Runs `work` with a directory, and with a list of what is to be stopped after it, the last first."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="penstock-bench-", dir=os.environ.get("PENSTOCK_BENCH_DIRECTORY")))
    stops: list = []
    try:
        work(scratch, stops)
    finally:
        for stop in reversed(stops):
            stop()
        shutil.rmtree(scratch, ignore_errors=True)


class MemoryFiller:
    """Fills the machine's free memory with pages of a file that is read, as on a machine that ran for a while.

    A virtual machine may get its memory from the host page by page at the first write, for several times what the
    write itself costs, and give it back seconds after it was freed. Whoever writes 4 GiB to free memory is charged
    with that, and by chance: what came before decides how much of it is there. Pages of the page cache stay, and are
    given up for others at once. What stays free is written to once, just before a run. On other machines this changes
    nothing: it leaves page cache and free memory behind.
    """

    def __init__(self, scratch: pathlib.Path):
        self.filler, self.filled = scratch / "filler", 0
        # What a run writes to, at most a quarter of what there is.
        self.touched = min(3 * GIB, memory("MemAvailable") // 4)

    def fill(self, kept: list) -> None:
        """Reads the files that are to be in memory, and then fills the rest."""
        for file in kept:
            read_through(file)
        if not self.filler.exists():
            self.filler.touch()
            os.truncate(self.filler, 1 << 40)
        piece = bytearray(4 * MIB)
        with open(self.filler, "rb", buffering=0) as pages:
            pages.seek(self.filled)
            least, idle = memory("MemFree"), 0
            # Some of it the kernel keeps for others: the end is where reading more takes nothing away.
            while least > GIB and idle < 2 * GIB:
                count = sum(pages.readinto(piece) for _ in range(16))
                self.filled += count
                free = memory("MemFree")
                idle = 0 if free < least - 16 * MIB else idle + count
                least = min(least, free)
        self.touch()

    def touch(self) -> None:
        """Writes to memory and frees it: what is free now, in pages of all sizes, the host has given already."""
        with mmap.mmap(-1, self.touched, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as pages:
            pages.madvise(mmap.MADV_HUGEPAGE)
            view = ctypes.c_char.from_buffer(pages)
            ctypes.memset(ctypes.addressof(view), 1, self.touched)
            del view


class Emulators:
    """A Hub and a Cloud Storage on loopback, in a process of their own."""

    def __init__(self, root: pathlib.Path, hub_root: pathlib.Path, scratch: pathlib.Path, *options: str):
        ready = scratch / f"ready-{time.monotonic_ns()}"
        command = [binary("penstock-emulator"), "--root", str(root), "--hub-root", str(hub_root), "--bucket", "bench"]
        command += ["--gcs-port", "0", "--hub-port", "0", "--ready-file", str(ready), *options]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        while not ready.exists():
            if self.process.poll() is not None:
                raise SystemExit("bench: the emulator did not start")
            time.sleep(0.05)
        words = dict(word.split("=", 1) for word in ready.read_text().split()[1:])
        self.gcs, self.hub = words["gcs"], words["hub"]

    @property
    def pid(self) -> int:
        return self.process.pid

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=60)
