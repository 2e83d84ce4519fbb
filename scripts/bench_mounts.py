"""The contenders of the read benchmark: mounts, and raw curl as the limit; each can be measured while something reads."""

import dataclasses
import json
import os
import pathlib
import random
import shutil
import signal
import statistics
import subprocess
import sys
import time

from benchlib import MIB, Connections, binary, drop_pages, tree_cpu_seconds, tree_peak_memory

READERS = pathlib.Path(__file__).with_name("bench_readers.py")
#: Longer than anything takes that works.
PATIENCE = 900


class Failed(SystemExit):
    """A contender did not do what was asked of it: the benchmark's end, if nobody expects that."""

    def __init__(self, message: str):
        super().__init__(f"bench: {message}")
        self.message = message


@dataclasses.dataclass
class Run:
    """What one run gave; `cpu` is of the daemon, or of curl."""

    seconds: float = 0.0
    bytes: int = 0
    files: int = 0
    iops: float = 0.0
    p50: float = 0.0
    p99: float = 0.0
    cpu: float = 0.0
    memory: int = 0
    requests: int = 0
    connections: int = 0


class Meter:
    """Runs readers, and says what they and a daemon needed."""

    def __init__(self, requests, port: int, own: int = 0):
        """`own`: connections to the port that the benchmark itself has open."""
        self.requests, self.port, self.own = requests, port, own

    def read(self, way: str, paths: list, daemon: int = 0) -> Run:
        """Runs one way of bench_readers.py; the daemon's process, if there is one, is watched."""
        command = [sys.executable, str(READERS), way, *map(str, paths)]
        return self._measured(daemon, lambda: json.loads(self._finished(command)))

    def curl(self, pipes: list) -> Run:
        """Runs curl's command lines at once; their CPU time and memory count."""

        def run() -> dict:
            before, begin = os.times(), time.monotonic()
            started = [subprocess.Popen(pipe, stdout=subprocess.PIPE) for pipe in pipes]
            outputs = [process.communicate(timeout=PATIENCE)[0] for process in started]
            seconds, after = time.monotonic() - begin, os.times()
            if any(process.returncode for process in started):
                raise SystemExit(f"bench: curl failed: {pipes[0]}")
            sizes, times = [], []
            for line in b"".join(outputs).splitlines():
                size, took = line.split()
                sizes.append(int(size))
                times.append(float(took))
            cpu = after.children_user + after.children_system - before.children_user - before.children_system
            return {"seconds": seconds, "bytes": sum(sizes), "files": len(sizes), "p50": statistics.median(times), "cpu": cpu}

        return self._measured(0, run)

    def _measured(self, daemon: int, work) -> Run:
        mark, connections = self.requests.mark(), Connections(self.port)
        connections.start()
        before = tree_cpu_seconds(daemon) if daemon else 0.0
        found = work()
        run = Run(**found)
        if daemon:
            run.cpu = tree_cpu_seconds(daemon) - before
            run.memory = tree_peak_memory(daemon)
        run.connections = max(0, connections.stop() - self.own)
        run.requests = self.requests.since(mark)
        return run

    def _finished(self, command: list) -> str:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            output, error = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise Failed(f"{command[2]} did not end within {PATIENCE} s: {command}") from None
        if process.returncode:
            sys.stderr.write(error)
            last = (error.strip().splitlines() or [""])[-1]
            raise Failed(f"{command[2]} ended with {process.returncode}: {last}")
        return output


class Mount:
    """A mount of one prefix of the bucket, by one program."""

    def __init__(self, command: list, environment: dict, directory: pathlib.Path, log: pathlib.Path):
        self.directory, self.log = directory, log
        directory.mkdir(parents=True, exist_ok=True)
        with open(log, "ab") as output:
            self.process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
        deadline = time.monotonic() + 60
        while not os.path.ismount(directory):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise SystemExit(f"bench: {command[0]} did not mount: {log.read_text()[-2000:]}")
            time.sleep(0.02)

    @property
    def pid(self) -> int:
        return self.process.pid

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if os.path.ismount(self.directory):
            subprocess.run(["fusermount3", "-uz", str(self.directory)], check=False)


class Penstock:
    """With its default options."""

    name = "penstock"

    def __init__(self, endpoint: str, environment: dict, scratch: pathlib.Path, is_far: bool):
        self.environment, self.scratch = environment | {"STORAGE_EMULATOR_HOST": endpoint}, scratch
        self.cache = scratch / "cache-penstock"

    def mount(self, prefix: str, is_cached: bool = False) -> Mount:
        command = [binary("penstock"), "mount", f"gs://bench/{prefix}", str(self.scratch / "penstock")]
        if is_cached:
            self.cache.mkdir(exist_ok=True)
            command += ["--cache-dir", str(self.cache)]
        return Mount(command, self.environment, self.scratch / "penstock", self.scratch / "penstock.log")

    def wait_until_cached(self, file: pathlib.Path) -> None:
        """Until the file is whole on the disk and proven, if the kernel then reads it by itself."""
        end = time.monotonic() + 120
        while time.monotonic() < end:
            with open(file, "rb"):
                if os.getxattr(file, "user.penstock.passthrough") == b"yes":
                    return
            time.sleep(0.2)

    def cached_file(self, size: int) -> pathlib.Path:
        return next(path for path in self.cache.rglob("*") if path.is_file() and path.stat().st_size == size)


class Rclone:
    """At the settings that read fastest here."""

    name = "rclone mount"

    def __init__(self, endpoint: str, environment: dict, scratch: pathlib.Path, is_far: bool):
        self.endpoint, self.environment, self.scratch = endpoint, environment | {"RCLONE_CONFIG": "/dev/null"}, scratch
        self.cache = scratch / "cache-rclone"
        self.streams = 16 if is_far else 4

    def mount(self, prefix: str, is_cached: bool = False) -> Mount:
        program = str(pathlib.Path(sys.executable).parent / "rclone")
        command = [program, "mount", f":gcs:bench/{prefix}", str(self.scratch / "rclone"), "--read-only"]
        command += ["--gcs-endpoint", f"{self.endpoint}/storage/v1/", "--gcs-anonymous", "--gcs-bucket-policy-only"]
        command += ["--vfs-read-chunk-streams", str(self.streams), "--vfs-read-chunk-size", "16M"]
        command += ["--max-read-ahead", "16M", "--dir-cache-time", "1h", "--attr-timeout", "1h", "--buffer-size", "16M"]
        command += ["--vfs-cache-mode", "full" if is_cached else "off", "--cache-dir", str(self.cache)]
        return Mount(command, self.environment, self.scratch / "rclone", self.scratch / "rclone.log")

    def wait_until_cached(self, file: pathlib.Path) -> None:
        """It writes the cache while it reads."""


class Curl:
    """The limit: raw requests of the same objects, and the same files read without any mount."""

    name = "curl"
    FORMAT = "%{size_download} %{time_total}\n"

    def __init__(self, endpoint: str, scratch: pathlib.Path, is_far: bool):
        self.endpoint, self.scratch = endpoint, scratch
        self.ranges = 16 if is_far else 4

    def url(self, name: str) -> str:
        return f"{self.endpoint}/storage/v1/b/bench/o/{name.replace('/', '%2F')}?alt=media"

    def _command(self, *arguments: str) -> list:
        return ["curl", "-sf", "--noproxy", "*", "-o", "/dev/null", "-w", self.FORMAT, *arguments]

    def whole(self, name: str, size: int) -> list:
        """One object in equal ranges, at once."""
        ends = [size * number // self.ranges for number in range(self.ranges + 1)]
        return [self._command("-r", f"{a}-{b - 1}", self.url(name)) for a, b in zip(ends, ends[1:])]

    def each(self, names: list) -> list:
        """Some objects at once."""
        return [self._command(self.url(name)) for name in names]

    def many(self, names: list) -> list:
        """Many small ones, one after the other on each of four connections."""
        return [self._listed([(name, None) for name in names[start::4]], f"many-{start}") for start in range(4)]

    def by_chance(self, name: str, size: int, piece: int, count: int) -> list:
        """Ranges of one object, one after the other on one connection."""
        places = [random.randrange(size // piece) * piece for _ in range(count)]
        return [self._listed([(name, f"{place}-{min(place + piece, size) - 1}") for place in places], "by-chance")]

    def _listed(self, reads: list, title: str) -> list:
        pieces = []
        for name, places in reads:
            lines = [f'url = "{self.url(name)}"', 'output = "/dev/null"', 'noproxy = "*"', "silent", "fail"]
            lines.append('write-out = "%{size_download} %{time_total}\\n"')
            pieces.append("\n".join(lines + ([f'range = "{places}"'] if places else [])))
        file = self.scratch / f"curl-{title}"
        file.write_text("\nnext\n".join(pieces) + "\n")
        return ["curl", "--config", str(file)]


def drop_cache(directory: pathlib.Path) -> None:
    """Takes everything below a directory out of the page cache."""
    for path in directory.rglob("*"):
        if path.is_file():
            drop_pages(path)


def clear(directory: pathlib.Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)


__all__ = ["Curl", "Meter", "Mount", "Penstock", "Rclone", "Run", "clear", "drop_cache", "MIB"]
