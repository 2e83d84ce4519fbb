"""The contenders of the write benchmark, the bucket that they write to, and the limits that they are held against."""

import base64
import http.client
import json
import os
import pathlib
import shlex
import shutil
import subprocess
import sys
import time
import urllib.parse

import google_crc32c

from bench_mounts import PATIENCE, Failed, Meter, Mount, Run
from bench_servers import OWN_AGENT, EmulatorRequests
from bench_writers import Content
from benchlib import Connections, binary, tree_cpu_seconds, tree_peak_memory

WRITERS = pathlib.Path(__file__).with_name("bench_writers.py")


class Checksums:
    """CRC32C of what bench_writers.py writes, in the base64 in which the bucket has it."""

    def __init__(self):
        self.content, self.known = Content(), {}

    def of(self, pieces) -> str:
        value = 0
        for piece in pieces:
            value = google_crc32c.extend(value, bytes(piece))
        return encoded(value)

    def file(self, number: int, size: int) -> str:
        if (number, size) not in self.known:
            self.known[number, size] = self.of(self.content.pieces(number, size))
        return self.known[number, size]

    def log(self, number: int, count: int, size: int) -> str:
        return self.of(self.content.piece(number, index, size) for index in range(count))


def encoded(checksum: int) -> str:
    return base64.b64encode(checksum.to_bytes(4, "big")).decode()


class Bucket:
    """The bucket "bench", over one connection of its own, which keeps who looks at it from being in the way."""

    def __init__(self, endpoint: str):
        self.connection = http.client.HTTPConnection(endpoint.removeprefix("http://"), timeout=60)
        self.connection.connect()

    def _call(self, method: str, target: str) -> tuple:
        self.connection.request(method, target, headers={"User-Agent": OWN_AGENT})
        reply = self.connection.getresponse()
        return reply.status, reply.read()

    def checksums(self, prefix: str, start: str = "") -> dict:
        """CRC32C by name, of at most 1,000 objects below a prefix, from a name on."""
        query = {"prefix": prefix, "startOffset": start, "fields": "items(name,crc32c)"}
        status, body = self._call("GET", "/storage/v1/b/bench/o?" + urllib.parse.urlencode(query))
        if status != 200:
            raise SystemExit(f"bench: listing the bucket failed with {status}")
        return {item["name"]: item["crc32c"] for item in json.loads(body).get("items", [])}

    def wait(self, prefix: str, expected: dict, patience: float) -> float:
        """Waits until the objects have the checksums, and says when that was seen, within some 20 ms."""
        missing, deadline = dict(expected), time.monotonic() + patience
        while True:
            found = self.checksums(prefix, min(missing))
            moment = time.monotonic()
            missing = still_missing(missing, found)
            if not missing:
                return moment
            if moment > deadline:
                name = min(missing)
                what = f"with the checksum {found[name]}" if name in found else "not there"
                raise Failed(f"{len(missing)} of {len(expected)} objects are not in the bucket; {name} is {what}")
            time.sleep(0.02)

    def clear(self) -> None:
        """Deletes everything, so that what was measured before takes no memory."""
        while found := self.checksums(""):
            for name in found:
                status, _ = self._call("DELETE", "/storage/v1/b/bench/o/" + urllib.parse.quote(name, safe=""))
                if status not in (200, 204, 404):
                    raise SystemExit(f"bench: deleting {name} failed with {status}")


def still_missing(expected: dict, found: dict) -> dict:
    """Those that the bucket does not hold, or not with this content."""
    return {name: checksum for name, checksum in expected.items() if found.get(name) != checksum}


class WriteMeter(Meter):
    """Runs writers, waits until the bucket has what they wrote, and says what they and a daemon needed until then."""

    def __init__(self, requests: EmulatorRequests, port: int, bucket: Bucket):
        super().__init__(requests, port, own=1)
        self.bucket = bucket

    def write(self, way: str, directory: pathlib.Path, numbers: list, daemon: int = 0) -> Run:
        """A run until the last close(2), with what the daemon did meanwhile."""
        return self.publish(way, directory, numbers, daemon, "", {})[0]

    def publish(
        self,
        way: str,
        directory: pathlib.Path,
        numbers: list,
        daemon: int,
        prefix: str,
        expected: dict,
        patience: float = PATIENCE,
    ) -> tuple:
        """The same run twice: until the last close(2), and until the bucket has it all."""
        mark, connections = self.requests.mark(), Connections(self.port)
        connections.start()
        cpu = tree_cpu_seconds(daemon) if daemon else 0.0
        told = json.loads(self._finished([sys.executable, str(WRITERS), way, str(directory), *map(str, numbers)]))
        runs = []

        def end(moment: float) -> None:
            run = Run(moment - told["begin"], told["bytes"], told["files"])
            run.p50, run.p99 = told.get("p50", 0.0), told.get("p99", 0.0)
            if daemon:
                run.cpu, run.memory = tree_cpu_seconds(daemon) - cpu, tree_peak_memory(daemon)
            run.connections = max(0, connections.peak - self.own)
            runs.append(run)

        try:
            end(told["closed"])
            if expected:
                end(self.bucket.wait(prefix, expected, patience))
        finally:
            connections.stop()
        # Not before all is done: the emulator has to go through its whole log for it.
        runs[-1].requests = self.requests.since(mark)
        return tuple(runs)


class WritablePenstock:
    """With its default options for checkpoints."""

    name = "penstock"

    def __init__(self, endpoint: str, environment: dict, scratch: pathlib.Path):
        self.environment = environment | {"STORAGE_EMULATOR_HOST": endpoint}
        self.scratch, self.staging = scratch, scratch / "staging"

    def mount(self, prefix: str, is_delayed: bool) -> Mount:
        """It knows by itself which names are not the last ones: `is_delayed` is for others."""
        command = [binary("penstock"), "mount", f"gs://bench/{prefix}", str(self.scratch / "penstock")]
        command += ["--profile", "checkpoint", "--staging-dir", str(self.staging)]
        return Mount(command, self.environment, self.scratch / "penstock", self.scratch / "penstock.log")

    def clear(self) -> None:
        shutil.rmtree(self.staging, ignore_errors=True)


class WritableRclone:
    """Through its cache, from which it uploads at once when a file is closed, sixteen files at a time."""

    name = "rclone mount"

    def __init__(self, endpoint: str, environment: dict, scratch: pathlib.Path):
        self.endpoint, self.environment, self.scratch = endpoint, environment | {"RCLONE_CONFIG": "/dev/null"}, scratch
        self.cache = scratch / "cache-rclone"

    def mount(self, prefix: str, is_delayed: bool) -> Mount:
        program = str(pathlib.Path(sys.executable).parent / "rclone")
        command = [program, "mount", f":gcs:bench/{prefix}", str(self.scratch / "rclone"), "--vfs-cache-mode", "writes"]
        command += ["--gcs-endpoint", f"{self.endpoint}/storage/v1/", "--gcs-anonymous", "--gcs-bucket-policy-only"]
        command += ["--dir-cache-time", "1h", "--attr-timeout", "1h", "--cache-dir", str(self.cache), "--transfers", "16"]
        # Without a delay at all, close(2) waits for the upload. Ten seconds leave time to give a directory its last name.
        command += ["--vfs-write-back", "10s" if is_delayed else "1ms"]
        return Mount(command, self.environment, self.scratch / "rclone", self.scratch / "rclone.log")

    def clear(self) -> None:
        shutil.rmtree(self.cache, ignore_errors=True)


class Limits:
    """What bounds them: the disk without a mount, a FUSE server that throws everything away, and curl.

    The disk is that of the staging directory. curl sends files that were written before, from the page cache.
    """

    name = "limit"

    def __init__(self, endpoint: str, scratch: pathlib.Path):
        self.endpoint, self.scratch = endpoint, scratch
        self.program = None

    def compile(self) -> None:
        source = pathlib.Path(__file__).with_name("null_filesystem.c")
        program = self.scratch / "null_filesystem"
        compiler = shutil.which("cc") or shutil.which("clang")
        if compiler is None:
            raise SystemExit("bench: neither cc nor clang is on PATH")
        found = subprocess.run(["pkg-config", "--cflags", "--libs", "fuse3"], stdout=subprocess.PIPE, timeout=60, check=True)
        command = [compiler, "-std=gnu11", "-O2", str(source), "-o", str(program), *shlex.split(found.stdout.decode())]
        subprocess.run(command, check=True, timeout=120)
        self.program = program

    def mount(self) -> Mount:
        directory = self.scratch / "null"
        return Mount([str(self.program), str(directory)], dict(os.environ), directory, self.scratch / "null.log")

    def directory(self) -> pathlib.Path:
        directory = self.scratch / "disk"
        directory.mkdir()
        return directory

    def upload(self, files: dict) -> list:
        """Some files at once, each in one request: objects' names by file."""
        return [self._listed([each], f"upload-{number}") for number, each in enumerate(files.items())]

    def upload_in_turn(self, files: dict) -> list:
        """Many small ones, one after the other on each of four connections."""
        every = list(files.items())
        return [self._listed(every[start::4], f"uploads-{start}") for start in range(4)]

    def _listed(self, uploads: list, title: str) -> list:
        pieces = []
        for file, name in uploads:
            url = f"{self.endpoint}/upload/storage/v1/b/bench/o?uploadType=media&name={urllib.parse.quote(name, safe='')}"
            lines = [f'url = "{url}"', f'upload-file = "{file}"', 'request = "POST"', 'header = "Expect:"']
            lines += ['header = "Content-Type: application/octet-stream"', 'output = "/dev/null"', 'noproxy = "*"']
            pieces.append("\n".join(lines + ["silent", "fail", 'write-out = "%{size_upload} %{time_total}\\n"']))
        configuration = self.scratch / f"curl-{title}"
        configuration.write_text("\nnext\n".join(pieces) + "\n")
        return ["curl", "--config", str(configuration)]

    def clear(self) -> None:
        shutil.rmtree(self.scratch / "disk", ignore_errors=True)
