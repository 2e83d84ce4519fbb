"""Measures writing through mounts on this machine, and prints one table.

Penstock's mount for checkpoints, rclone's (`--vfs-cache-mode writes`), and the limit write the same bytes; the emulator's
bucket takes them. The limit is, row by row: the same writer on the disk itself, a FUSE server that throws everything away,
or raw uploads by curl. Round after round, every second one in the opposite order; every run begins with a fresh mount and
an empty bucket. "Of the limit" is taken within a round, and its median over the rounds counts. What was published is
compared with what was written by its checksum, whose arrival is what "published" waits for. docs/PERFORMANCE.md says how
to read the table.

    --rounds N     how often each contender runs (default 7)
    --rows A,B     only these; --rows help lists them
    --small        small files: only to see that it works
    --size MIB     of the large file (default 2048); four at once are a quarter of it each
    --rate MB      each connection takes only so much in a second; the limit is then one of them
    --latency MS   before the bucket begins each of its answers
    --only A,B     only these of penstock, rclone and limit
    --bucket DIR   where the bucket is kept (default: /dev/shm where there is room, so that it writes to no disk)

PENSTOCK_BENCH_DIRECTORY is on the disk that is staged to. Needs root, /dev/fuse, a C compiler, and the release programs
(PENSTOCK_BINARIES).
"""

import argparse
import os
import pathlib
import shutil
import statistics
import tempfile

from bench_mounts import Failed
from bench_servers import EmulatorRequests, set_distance
from bench_writable import Bucket, Checksums, Limits, WritablePenstock, WritableRclone, WriteMeter
from bench_writers import FINISHED
from benchlib import GIB, MIB, Emulators, MemoryFiller, Rounds, clean_environment, in_scratch

#: Row: what it is, its unit, and the limit that it is held against.
ROWS = {
    "buffered": ("one file of {large}, closed", "MB/s", "a server that throws it away"),
    "published": ("one file of {large}, published", "MB/s", "curl, one request"),
    "synced": ("one file of {large}, synced, closed", "MB/s", "the disk"),
    "four": ("4 x {shard} at once, synced, closed", "MB/s", "the disk"),
    "fourpublished": ("4 x {shard} at once, synced, published", "MB/s", "curl, four requests"),
    "small": ("{count} x 64 KiB, closed", "files/s", "the disk"),
    "smallpublished": ("{count} x 64 KiB, published", "files/s", "curl, four connections"),
    "fsync": ("fsync after 4 KiB", "ms", "the disk"),
    "rename": ("rename of {named} unpublished files", "ms", "the disk"),
    "renamed": ("rename of {named} unpublished files, published", "files/s", None),
}
SMALL_SIZE, NAMED_SIZE, APPENDED = 64 << 10, 16 << 10, 4 << 10


class Sizes:
    def __init__(self, large: int, is_small: bool):
        self.large, self.shard = large, large // 4
        self.count, self.named, self.syncs = (100, 50, 20) if is_small else (1000, 500, 200)

    def describe(self, row: str) -> str:
        return ROWS[row][0].format(large=shown(self.large), shard=shown(self.shard), count=f"{self.count:,}", named=self.named)


def shown(size: int) -> str:
    return f"{size // GIB} GiB" if size % GIB == 0 else f"{size // MIB} MiB"


class Bench(Rounds):
    def __init__(self, endpoint: str, scratch: pathlib.Path, options):
        self.sizes, self.scratch = Sizes(options.size * MIB, options.small), scratch
        self.is_far = bool(options.rate or options.latency)
        # What a machine's free memory costs is no matter where nothing is to be compared.
        self.memory = None if options.small else MemoryFiller(scratch)
        self.bucket, self.checksums = Bucket(endpoint), Checksums()
        self.meter = WriteMeter(EmulatorRequests(endpoint), int(endpoint.rsplit(":", 1)[1]), self.bucket)
        environment = clean_environment()
        self.penstock = WritablePenstock(endpoint, environment, scratch)
        self.rclone = WritableRclone(endpoint, environment, scratch)
        self.limits = Limits(endpoint, scratch)
        wanted = options.only.split(",")
        every = [self.penstock, self.rclone, self.limits]
        self.contenders = [each for each in every if any(name in each.name for name in wanted)]
        self.mounts: list = []
        self.number, self.failures = 0, []

    # What is written before anything is measured: curl's files.

    def source(self, name: str, number: int, size: int) -> pathlib.Path:
        path = self.scratch / "source" / name
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            with open(path, "wb") as file:
                for piece in self.checksums.content.pieces(number, size):
                    file.write(piece)
        return path

    def begin(self, kept: list) -> None:
        """The same memory and the same idle disk for everybody."""
        self.bucket.clear()
        os.sync()
        if self.memory:
            self.memory.fill(kept)

    def end(self) -> None:
        while self.mounts:
            self.mounts.pop().stop()
        for contender in self.contenders:
            contender.clear()

    def mount(self, contender, is_delayed: bool = False) -> tuple:
        """A fresh mount, the directory in it that is written to, and the prefix of its objects."""
        self.begin([])
        self.number += 1
        prefix = f"run-{self.number}"
        mount = contender.mount(prefix, is_delayed)
        self.mounts.append(mount)
        directory = mount.directory / "data"
        directory.mkdir()
        return mount, directory, f"{prefix}/data/"

    def published(self, way: str, numbers: list, contender, files: dict) -> tuple:
        """A run through a mount, until the last close(2) and until it is published. `files`: checksums by name."""
        mount, directory, prefix = self.mount(contender)
        expected = {prefix + name: checksum for name, checksum in files.items()}
        return self.meter.publish(way, directory, numbers, mount.pid, prefix, expected)

    def on_disk(self, way: str, numbers: list):
        self.begin([])
        return self.meter.write(way, self.limits.directory(), numbers)

    def uploaded(self, files: dict, in_turn: bool):
        """curl's run. `files`: checksums by path."""
        self.begin(list(files))
        names = {path: f"curl/{path.name}" for path in files}
        run = self.meter.curl(self.limits.upload_in_turn(names) if in_turn else self.limits.upload(names))
        self.bucket.wait("curl/", {names[path]: checksum for path, checksum in files.items()}, 0)
        return run

    # Sequences: each gives the runs of one or several rows.

    def whole(self, contender) -> dict:
        size = self.sizes.large
        if contender is not self.limits:
            closed, published = self.published("whole", [0, size, 0], contender, {"model.bin": self.checksums.file(0, size)})
            return {"buffered": closed, "published": published}
        self.begin([])
        mount = self.limits.mount()
        self.mounts.append(mount)
        rows = {"buffered": self.meter.write("whole", mount.directory, [0, size, 0], mount.pid)}
        self.end()
        # At a given rate a quarter of the file shows it as well, and takes less than a minute.
        size = self.sizes.shard if self.is_far else size
        source = self.source(f"model-{size}.bin", 0, size)
        return rows | {"published": self.uploaded({source: self.checksums.file(0, size)}, False)}

    def synced(self, contender) -> dict:
        size = self.sizes.large
        if contender is self.limits:
            return {"synced": self.on_disk("whole", [0, size, 1])}
        files = {"model.bin": self.checksums.file(0, size)}
        return {"synced": self.published("whole", [0, size, 1], contender, files)[0]}

    def four(self, contender) -> dict:
        size, files = self.sizes.shard, {f"shard-{index}.bin": (1 + index) for index in range(4)}
        checksums = {name: self.checksums.file(number, size) for name, number in files.items()}
        if contender is not self.limits:
            closed, published = self.published("together", [1, 4, size], contender, checksums)
            return {"four": closed, "fourpublished": published}
        rows = {"four": self.on_disk("together", [1, 4, size])}
        self.end()
        paths = {self.source(name, number, size): checksums[name] for name, number in files.items()}
        return rows | {"fourpublished": self.uploaded(paths, False)}

    def small(self, contender) -> dict:
        files = {f"{index:04}.bin": 10 + index for index in range(self.sizes.count)}
        checksums = {name: self.checksums.file(number, SMALL_SIZE) for name, number in files.items()}
        numbers = [10, self.sizes.count, SMALL_SIZE]
        if contender is not self.limits:
            closed, published = self.published("small", numbers, contender, checksums)
            return {"small": closed, "smallpublished": published}
        rows = {"small": self.on_disk("small", numbers)}
        self.end()
        paths = {self.source(name, number, SMALL_SIZE): checksums[name] for name, number in files.items()}
        return rows | {"smallpublished": self.uploaded(paths, True)}

    def fsync(self, contender) -> dict:
        numbers = [5, self.sizes.syncs, APPENDED]
        if contender is self.limits:
            return {"fsync": self.on_disk("syncs", numbers)}
        return {"fsync": self.published("syncs", numbers, contender, {"log.bin": self.checksums.log(*numbers)})[0]}

    def rename(self, contender) -> dict:
        count = self.sizes.named
        numbers = [20, count, NAMED_SIZE]
        if contender is self.limits:
            self.begin([])
            directory = self.limits.directory()
            self.meter.write("fill", directory, numbers)
            return {"rename": self.meter.write("rename", directory, numbers)}
        mount, directory, prefix = self.mount(contender, is_delayed=True)
        prefix += FINISHED + "/"
        files = {f"{prefix}{index:04}.bin": self.checksums.file(20 + index, NAMED_SIZE) for index in range(count)}
        self.meter.write("fill", directory, numbers)
        before = self.bucket.checksums(prefix.removesuffix(FINISHED + "/"))
        if any(name.endswith(".bin") for name in before):
            raise Failed("files were published before the rename")
        patience = 600 if contender is self.penstock else 60
        renamed, published = self.meter.publish("rename", directory, numbers, mount.pid, prefix, files, patience)
        # One for each file is not the rename's.
        renamed.requests = published.requests - count
        return {"rename": renamed, "renamed": published}

    def sequences(self) -> list:
        """Each with its rows."""
        return [
            (["buffered", "published"], self.whole),
            (["synced"], self.synced),
            (["four", "fourpublished"], self.four),
            (["small", "smallpublished"], self.small),
            (["fsync"], self.fsync),
            (["rename", "renamed"], self.rename),
        ]

    def found(self, sequence, contender, row: str) -> dict:
        try:
            return sequence(contender)
        except Failed as error:
            # Others may fail: that is a result, too.
            if contender is not self.rclone:
                raise SystemExit(f"bench: {contender.name}, {row}: {error.message}") from None
            self.failures.append((row, contender.name, error.message))
            return {}


def value(row: str, run) -> float:
    unit = ROWS[row][1]
    if unit == "MB/s":
        return run.bytes / run.seconds / 1e6
    if unit == "ms":
        return (run.p50 or run.seconds) * 1e3
    return run.files / run.seconds


def of_limit(row: str, run, limit) -> float:
    """How near it comes: 1 is as good as the limit."""
    if ROWS[row][1] == "ms":
        return value(row, limit) / value(row, run)
    return value(row, run) / value(row, limit)


def cells(row: str, name: str, rounds: list, sizes: Sizes) -> list:
    """One line of the table; empty when there was no such run."""
    runs = [found[row, name] for found in rounds if (row, name) in found]
    if not runs:
        return []
    ratios = [
        of_limit(row, found[row, name], found[row, "limit"])
        for found in rounds
        if (row, name) in found and (row, "limit") in found and name != "limit"
    ]
    unit, limit = ROWS[row][1:]

    def middle(pick) -> float:
        return statistics.median(pick(run) for run in runs)

    figure = middle(lambda run: value(row, run))
    line = [sizes.describe(row), limit if name == "limit" else name]
    line.append(f"{figure:.2f} ms" if unit == "ms" else f"{figure:.0f} {unit}")
    if p99 := middle(lambda run: run.p99):
        line[-1] += f", p99 {p99 * 1e3:.2f} ms"
    line.append(f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})" if ratios else "")
    cpu, gib, memory = middle(lambda run: run.cpu), middle(lambda run: run.bytes) / GIB, max(run.memory for run in runs)
    line.append("" if not cpu else f"{cpu / gib:.2f}" if unit == "MB/s" else f"{cpu:.2f} s in all")
    line.append(f"{memory / MIB:.0f}" if memory else "")
    is_counted = row.endswith("published") or row.startswith("rename")
    line.append(f"{middle(lambda run: run.requests):.0f}" if is_counted else "")
    line.append(f"{max(run.connections for run in runs)}" if is_counted else "")
    return line


def print_table(rounds: list, rows: list, names: list, sizes: Sizes) -> None:
    print(f"\nmedian of {len(rounds)} rounds, the ratios' least and greatest in brackets; peaks are of all\n")
    print("| | | | of the limit | daemon CPU s/GiB | peak RSS MiB | requests | connections |")
    print("|---|---|---|---|---|---|---|---|")
    for row in rows:
        for name in names:
            if line := cells(row, name, rounds, sizes):
                print("| " + " | ".join(line) + " |", flush=True)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--rows", default=",".join(ROWS))
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--size", type=int)
    parser.add_argument("--rate", type=int, default=0)
    parser.add_argument("--latency", type=int, default=0)
    parser.add_argument("--only", default="")
    parser.add_argument("--bucket")
    options = parser.parse_args()
    options.size = options.size or (64 if options.small else 2048)
    options.rows = options.rows.split(",")
    if unknown := [row for row in options.rows if row not in ROWS]:
        parser.error(f"no row {unknown[0]}; there are " + ", ".join(ROWS))
    if options.size % 4:
        parser.error("--size is a multiple of 4")
    return options


def bucket_directory(options, scratch: pathlib.Path) -> pathlib.Path:
    """In memory where three times the largest object has room: what a bucket stores is not on the writer's disk."""
    memory = pathlib.Path("/dev/shm")
    has_room = memory.is_dir() and shutil.disk_usage(memory).free > 3 * options.size * MIB
    parent = options.bucket or (memory if has_room else scratch)
    return pathlib.Path(tempfile.mkdtemp(prefix="penstock-bench-", dir=parent))


def run(options: argparse.Namespace, scratch: pathlib.Path, stops: list) -> None:
    root = bucket_directory(options, scratch)
    stops.append(lambda: shutil.rmtree(root, ignore_errors=True))
    (root / "hub").mkdir()
    servers = Emulators(root, root / "hub", scratch)
    stops.append(servers.stop)
    bench = Bench(servers.gcs, scratch, options)
    stops.append(bench.end)
    bench.limits.compile()
    if bench.is_far:
        set_distance(servers.gcs, options.latency, options.rate * 1_000_000 or 1 << 40, receives=True)
    names = [contender.name for contender in bench.contenders]
    rounds = bench.rounds(options, lambda row, run: (value(row, run), ROWS[row][1]))
    print_table(rounds, options.rows, names, bench.sizes)
    for row, name, error in bench.failures:
        print(f"\n{name} failed, {row}: {error}")


def main() -> None:
    options = parse()
    in_scratch(lambda scratch, stops: run(options, scratch, stops))


if __name__ == "__main__":
    main()
