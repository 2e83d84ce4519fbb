"""Measures reading through mounts on this machine, and prints one table.

Penstock's mount, rclone's, and raw requests of curl as the limit read the same objects from the same servers: nginx answers
reads of content from files (sendfile), the emulator all else. Round after round, every second one in the opposite order;
every run begins with a fresh mount. "Of the limit" is taken within a round, and its median over the rounds counts.
docs/PERFORMANCE.md says how to read the table.

    --rounds N     how often each contender runs (default 3)
    --rows A,B     only these; --rows help lists them
    --small        small files: only to see that it works
    --distance     30 ms to the first byte and 200 MB/s for each connection, by the emulator and without nginx
    --rate MB      another rate for each connection, with --distance
    --only NAME    only penstock, rclone or curl (the limit)

Needs root, /dev/fuse, fio, nginx, and the release programs (PENSTOCK_BINARIES).
"""

import argparse
import filecmp
import pathlib
import shutil
import statistics

from bench_mounts import Curl, Meter, Penstock, Rclone, Run, clear, drop_cache
from bench_servers import Dataset, EmulatorRequests, Nginx, NginxRequests, set_distance
from benchlib import GIB, MIB, Emulators, MemoryFiller, Rounds, clean_environment, drop_pages, in_scratch
import fetch_minilm

#: Row: what it is, its unit, and the limit that it is held against.
ROWS = {
    "cold": ("2 GiB in order, cold", "MB/s", "curl, ranges at once"),
    "page": ("again, from the page cache", "MB/s", "the file without a mount"),
    "four": ("four files at once, cold", "MB/s", "curl, four files at once"),
    "mmap": ("mmap in order, cold", "MB/s", "curl, ranges at once"),
    "safetensors": ("safetensors into numpy, cold", "MB/s", "curl, ranges at once"),
    "slices": ("8 processes map 8 slices, cold", "MB/s", "curl, ranges at once"),
    "second": ("second open while the cold one is open, pages dropped", "MB/s", "the cache file, pages dropped"),
    "disk": ("from the disk cache, pages dropped", "MB/s", "the cache file, pages dropped"),
    "restart": ("right after a restart, pages dropped", "MB/s", "the cache file, pages dropped"),
    "random4k": ("fio, 4 KiB by chance", "IOPS", "curl, 64 KiB on one connection"),
    "random1m": ("fio, 1 MiB by chance", "IOPS", "curl, 1 MiB on one connection"),
    "lscold": ("ls -lR of 10,000 objects, cold", "s", None),
    "lswarm": ("ls -lR again", "s", None),
    "small": ("1,000 files of 64 KiB in order, cold", "files/s", "curl, four connections"),
}

#: How often a file in the disk cache is read, by itself and through the mount in turn.
DISK_READS = 5


class Bench(Rounds):
    def __init__(self, dataset: Dataset, scratch: pathlib.Path, endpoint: str, meter: Meter, options):
        self.dataset, self.meter, self.scratch = dataset, meter, scratch
        # What a machine's free memory costs is no matter where nothing is to be compared.
        self.memory = None if options.small else MemoryFiller(scratch)
        environment, is_far = clean_environment(), options.distance
        self.penstock = Penstock(endpoint, environment, scratch, is_far)
        self.rclone = Rclone(endpoint, environment, scratch, is_far)
        self.curl = Curl(endpoint, scratch, is_far)
        self.seconds = 1 if options.small else 5
        self.contenders = [each for each in [self.penstock, self.rclone, self.curl] if options.only in each.name]
        self.mounts: list = []

    def prepare(self, files: list) -> None:
        if self.memory:
            self.memory.fill(files)

    def mount(self, contender, prefix: str, **how):
        mount = contender.mount(prefix, **how)
        self.mounts.append(mount)
        return mount

    def unmount(self) -> None:
        while self.mounts:
            self.mounts.pop().stop()

    # Sequences: each gives the runs of one or several rows.

    def cold(self, contender) -> dict:
        data = self.dataset
        self.prepare([data.model])
        if contender is self.curl:
            rows = {"cold": self.meter.curl(contender.whole("model/model.safetensors", data.model.stat().st_size))}
            return rows | {"page": self.meter.read("sequential", [data.model])}
        mount = self.mount(contender, "model")
        file = mount.directory / "model.safetensors"
        rows = {"cold": self.meter.read("sequential", [file], mount.pid)}
        rows["page"] = self.meter.read("sequential", [file], mount.pid)
        if not filecmp.cmp(file, data.model, shallow=False):
            raise SystemExit(f"bench: {contender.name} shows wrong bytes")
        return rows

    def four(self, contender) -> dict:
        self.prepare(self.dataset.shards)
        names = [f"model/{path.name}" for path in self.dataset.shards]
        if contender is self.curl:
            return {"four": self.meter.curl(contender.each(names))}
        mount = self.mount(contender, "model")
        files = [mount.directory / path.name for path in self.dataset.shards]
        return {"four": self.meter.read("together", files, mount.pid)}

    def one_file(self, contender, row: str, way: str) -> dict:
        model = self.dataset.model
        self.prepare([model])
        if contender is self.curl:
            return {row: self.meter.curl(contender.whole("model/model.safetensors", model.stat().st_size))}
        mount = self.mount(contender, "model")
        return {row: self.meter.read(way, [mount.directory / model.name], mount.pid)}

    def disk(self, contender) -> dict:
        model = self.dataset.model
        if contender is self.curl:
            return {}
        self.prepare([model])
        clear(contender.cache)
        mount, rows = self.mount(contender, "model", is_cached=True), {}
        file = mount.directory / model.name

        def read(process: int) -> Run:
            drop_pages(file)
            drop_cache(contender.cache)
            return self.meter.read("sequential", [file], process)

        with open(file, "rb"):
            self.meter.read("sequential", [file])
            rows["second"] = read(mount.pid)
        contender.wait_until_cached(file)
        # A disk that others use changes from second to second: what is compared is read in turn, and the median counts.
        through, itself = [], []
        for _ in range(DISK_READS):
            through.append(read(mount.pid))
            if contender is self.penstock:
                cached = contender.cached_file(model.stat().st_size)
                drop_pages(cached)
                itself.append(self.meter.read("sequential", [cached]))
        rows["disk"] = middle(through)
        self.unmount()
        mount = self.mount(contender, "model", is_cached=True)
        rows["restart"] = read(mount.pid)
        self.unmount()
        if itself:
            rows |= {f"{row} limit": middle(itself) for row in list(rows)}
        clear(contender.cache)
        return rows

    def random(self, contender, row: str, block: str, piece: int) -> dict:
        model = self.dataset.model
        self.prepare([model])
        if contender is self.curl:
            count = 20 * self.seconds if piece == MIB else 300 * self.seconds
            run = self.meter.curl(contender.by_chance("model/model.safetensors", model.stat().st_size, piece, count))
            run.iops = 1 / run.p50
            return {row: run}
        mount = self.mount(contender, "model")
        return {row: self.meter.read("random_reads", [mount.directory / model.name, block, self.seconds], mount.pid)}

    def listing(self, contender) -> dict:
        if contender is self.curl:
            return {}
        self.prepare([])
        mount = self.mount(contender, "tree")
        rows = {row: self.meter.read("listing", [mount.directory], mount.pid) for row in ["lscold", "lswarm"]}
        if any(run.files != self.dataset.tree_count for run in rows.values()):
            raise SystemExit(f"bench: {contender.name} does not list all {self.dataset.tree_count} objects: {rows}")
        return rows

    def small(self, contender) -> dict:
        files = sorted((self.dataset.files / "small").iterdir())
        self.prepare(files)
        if contender is self.curl:
            return {"small": self.meter.curl(contender.many([f"small/{path.name}" for path in files]))}
        mount = self.mount(contender, "small")
        return {"small": self.meter.read("small", [mount.directory], mount.pid)}

    def sequences(self) -> list:
        """Each with its rows."""
        return [
            (["cold", "page"], self.cold),
            (["four"], self.four),
            (["mmap"], lambda contender: self.one_file(contender, "mmap", "mapped")),
            (["safetensors"], lambda contender: self.one_file(contender, "safetensors", "safetensors")),
            (["slices"], lambda contender: self.one_file(contender, "slices", "slices")),
            (["second", "disk", "restart"], self.disk),
            (["random4k"], lambda contender: self.random(contender, "random4k", "4k", 64 << 10)),
            (["random1m"], lambda contender: self.random(contender, "random1m", "1m", MIB)),
            (["lscold", "lswarm"], self.listing),
            (["small"], self.small),
        ]

    def key(self, row: str, contender) -> tuple:
        # A limit that is measured beside a contender is curl's line.
        return row.removesuffix(" limit"), "curl" if row.endswith(" limit") else contender.name

    def end(self) -> None:
        self.unmount()


def middle(runs: list) -> Run:
    return sorted(runs, key=lambda run: run.seconds)[len(runs) // 2]


def value(row: str, run: Run) -> float:
    unit = ROWS[row][1]
    if unit == "MB/s":
        return run.bytes / run.seconds / 1e6
    return {"s": run.seconds, "IOPS": run.iops, "files/s": run.files / run.seconds}[unit]


def of_limit(row: str, run: Run, limit: Run) -> float:
    """How near it comes: 1 is as good as the limit."""
    if ROWS[row][1] == "IOPS":
        return limit.p50 / run.p50
    return value(row, run) / value(row, limit)


def print_row(row: str, contender: str, rounds: list) -> None:
    runs = [runs[row, contender] for runs in rounds if (row, contender) in runs]
    if not runs:
        return
    pairs = [(runs[row, contender], runs[row, "curl"]) for runs in rounds if (row, contender) in runs and (row, "curl") in runs]
    what, unit, limit = ROWS[row]
    ratio = statistics.median(of_limit(row, *pair) for pair in pairs) if pairs and contender != "curl" else None

    def middle(pick) -> float:
        return statistics.median(pick(run) for run in runs)

    shown = middle(lambda run: value(row, run))
    cells = [what, limit if contender == "curl" else contender]
    cells.append(f"{shown:.2f} s" if unit == "s" else f"{shown:.0f} {unit}")
    if unit == "IOPS":
        cells[-1] += f", p50 {middle(lambda run: run.p50) * 1e3:.2f} ms"
    cells.append("" if ratio is None else f"{ratio:.2f}")
    gib = middle(lambda run: run.bytes) / GIB
    cpu = middle(lambda run: run.cpu)
    is_rate = unit == "MB/s"
    cells.append("" if cpu == 0 and contender == "curl" else f"{cpu / gib:.2f}" if is_rate else f"{cpu:.2f} s in all")
    memory = max(run.memory for run in runs)
    cells.append(f"{memory / MIB:.0f}" if memory else "")
    cells.append(f"{middle(lambda run: run.requests):.0f}")
    cells.append(f"{max(run.connections for run in runs)}")
    print("| " + " | ".join(cells) + " |", flush=True)


def print_table(rounds: list, rows: list, names: list, is_small: bool) -> None:
    print(f"\nmedian of {len(rounds)} rounds; peaks are of all\n")
    if is_small:
        print("small: files and directories are 5 to 50 times smaller than the rows say\n")
    print("| | | | of the limit | daemon CPU s/GiB | peak RSS MiB | requests | connections |")
    print("|---|---|---|---|---|---|---|---|")
    for row in rows:
        for name in names:
            print_row(row, name, rounds)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", default=",".join(ROWS))
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--distance", action="store_true")
    parser.add_argument("--rate", type=int, default=200)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    options.rows = options.rows.split(",")
    if unknown := [row for row in options.rows if row not in ROWS]:
        parser.error(f"no row {unknown[0]}; there are " + ", ".join(ROWS))
    if not shutil.which("fio"):
        parser.error("fio is missing; `make setup` installs it")
    return options


def run(options: argparse.Namespace, dataset: Dataset, scratch: pathlib.Path, stops: list) -> None:
    dataset.make(scratch)
    servers = Emulators(dataset.emulator_root, dataset.hub_root, scratch)
    stops.append(servers.stop)
    endpoint, requests = servers.gcs, EmulatorRequests(servers.gcs)
    if options.distance:
        set_distance(servers.gcs, 30, options.rate * 1_000_000)
    else:
        nginx = Nginx(dataset, servers.gcs, scratch)
        stops.append(nginx.stop)
        endpoint, requests = nginx.url, NginxRequests(nginx)
    meter = Meter(requests, int(endpoint.rsplit(":", 1)[1]))
    bench = Bench(dataset, scratch, endpoint, meter, options)
    stops.append(bench.end)
    names = [contender.name for contender in bench.contenders]
    rounds = bench.rounds(options, lambda row, run: (value(row, run), ROWS[row][1]))
    print_table(rounds, options.rows, names if "curl" in names else [*names, "curl"], options.small)


def main() -> None:
    options = parse()
    root = fetch_minilm.default_cache() / ("bench-read-small" if options.small else "bench-read")
    in_scratch(lambda scratch, stops: run(options, Dataset(root, options.small), scratch, stops))


if __name__ == "__main__":
    main()
