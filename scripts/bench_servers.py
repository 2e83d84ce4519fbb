"""What the read benchmark reads, and the servers it is read from.

`Dataset` is made once and kept in the directory of the tests' downloads: a model that was conveyed by `penstock snapshot`,
so that reads of it are verified, and plain small objects. `Nginx` stands before the emulator and answers ranged reads of
the objects straight from files by sendfile(2), with the headers that Cloud Storage would send; all else it passes on.
"""

import concurrent.futures
import http.client
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import time
import urllib.parse
import urllib.request

from benchlib import MIB, Emulators, binary, clean_environment

DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def get_json(url: str) -> dict:
    with DIRECT.open(url, timeout=600) as reply:
        return json.load(reply)


def write_safetensors(path: pathlib.Path, number: int, size: int) -> None:
    """A model file of tensors of 16 MiB (4 in a small one), each with other bytes."""
    tensor = min(16 * MIB, size // 4)
    shape, count = [tensor // 4096, 1024], size // tensor
    header = {
        f"layers.{index:04}.weight": {"dtype": "F32", "shape": shape, "data_offsets": [index * tensor, (index + 1) * tensor]}
        for index in range(count)
    }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    block = random.Random(number).randbytes(MIB)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for position in range(0, size, MIB):
            file.write(number.to_bytes(8, "little") + position.to_bytes(8, "little") + block[16:])


class Dataset:
    """The bench's objects: `model/`, `small/` and `tree/` of the bucket "bench", and the same as plain files."""

    VERSION = 1

    def __init__(self, root: pathlib.Path, is_small: bool):
        self.root = root
        self.large = (64 if is_small else 2048) * MIB
        self.shard = self.large // 4
        self.small_count, self.small_size = (100 if is_small else 1000), 64 << 10
        self.directories, self.per_directory = (10, 20) if is_small else (100, 100)
        self.hub_root, self.emulator_root = root / "hub", root / "emulator"
        #: Object names below it are paths below it.
        self.files = root / "files"

    @property
    def model(self) -> pathlib.Path:
        return self.files / "model" / "model.safetensors"

    @property
    def shards(self) -> list:
        return [self.files / "model" / f"shard-{number}.safetensors" for number in range(1, 5)]

    @property
    def tree_count(self) -> int:
        return self.directories * self.per_directory

    def make(self, scratch: pathlib.Path) -> None:
        """Makes it if it is not there yet."""
        marker = self.root / f".made-{self.VERSION}"
        if marker.exists():
            return
        print("bench: making what is to be read, once", flush=True)
        shutil.rmtree(self.root, ignore_errors=True)
        repository = self.hub_root / "models" / "bench" / "read"
        for directory in [repository, self.files / "small", self.files / "tree"]:
            directory.mkdir(parents=True)
        (self.files / "model").symlink_to(repository)
        write_safetensors(self.model, 0, self.large)
        for number, path in enumerate(self.shards, 1):
            write_safetensors(path, number, self.shard)
        for number in range(self.small_count):
            path = self.files / "small" / f"{number:04}.bin"
            path.write_bytes(random.Random(f"small {number}").randbytes(self.small_size))
        for number in range(self.tree_count):
            path = self.files / "tree" / f"layer-{number // self.per_directory:03}" / f"part-{number % self.per_directory:04}.json"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(b"%d" % number)
        servers = Emulators(self.emulator_root, self.hub_root, scratch)
        try:
            environment = clean_environment(STORAGE_EMULATOR_HOST=servers.gcs, HF_ENDPOINT=servers.hub)
            command = [binary("penstock"), "snapshot", "--quiet", "bench/read", "gs://bench/model"]
            subprocess.run(command, env=environment, check=True)
            paths = [path for name in ["small", "tree"] for path in sorted((self.files / name).rglob("*")) if path.is_file()]
            with concurrent.futures.ThreadPoolExecutor(4) as pool:
                list(pool.map(lambda part: self._upload(servers.gcs, part), [paths[start::4] for start in range(4)]))
        finally:
            servers.stop()
        marker.touch()

    def _upload(self, endpoint: str, paths: list) -> None:
        connection = http.client.HTTPConnection(endpoint.removeprefix("http://"), timeout=60)
        for path in paths:
            name = urllib.parse.quote(str(path.relative_to(self.files)), safe="")
            target = f"/upload/storage/v1/b/bench/o?uploadType=media&name={name}"
            connection.request("POST", target, path.read_bytes(), {"Content-Type": "application/octet-stream"})
            reply = connection.getresponse()
            if reply.status != 200 or not reply.read():
                raise SystemExit(f"bench: uploading {name} failed with {reply.status}")
        connection.close()

    def objects(self, endpoint: str) -> list:
        """Those whose content is read, as the bucket describes them."""
        found = []
        for prefix in ["model/", "small/"]:
            base = f"{endpoint}/storage/v1/b/bench/o?prefix={prefix}&fields=items(name,generation,crc32c,size),nextPageToken"
            token = ""
            while token is not None:
                page = get_json(base + (f"&pageToken={urllib.parse.quote(token)}" if token else ""))
                found += page.get("items", [])
                token = page.get("nextPageToken")
        return [item for item in found if not item["name"].startswith("model/.penstock/")]


CONFIGURATION = """
user root;
worker_processes 2;
daemon off;
pid {scratch}/nginx.pid;
error_log {scratch}/nginx-error.log;
events {{ worker_connections 4096; }}
http {{
    log_format bench '$is_content $status $body_bytes_sent';
    access_log {log} bench buffer=256k flush=100ms;
    client_body_temp_path {scratch}/nginx-body;
    proxy_temp_path {scratch}/nginx-proxy;
    fastcgi_temp_path {scratch}/nginx-none;
    uwsgi_temp_path {scratch}/nginx-none;
    scgi_temp_path {scratch}/nginx-none;
    client_max_body_size 0;
    sendfile on;
    sendfile_max_chunk 2m;
    tcp_nopush on;
    etag off;
    keepalive_timeout 600;
    keepalive_requests 10000000;
    open_file_cache max=5000 inactive=600s;
    default_type application/octet-stream;
    map_hash_max_size 262144;
    map_hash_bucket_size 256;
    map $request_uri $object {{
        default "";
        "~^(?:/download)?/storage/v1/b/bench/o/(?<name>[^?]+)[?]" $name;
    }}
    map "$arg_alt $object $arg_generation" $content {{ default ""; include {scratch}/nginx-content; }}
    map $content $is_content {{ default 1; "" 0; }}
    map $object $object_generation {{ default ""; include {scratch}/nginx-generation; }}
    map $object $object_crc32c {{ default ""; include {scratch}/nginx-crc32c; }}
    map $object $object_size {{ default ""; include {scratch}/nginx-size; }}
    upstream emulator {{ server {upstream}; keepalive 64; keepalive_requests 10000000; }}
    server {{
        listen 127.0.0.1:{port} backlog=1024;
        location / {{
            if ($content) {{ rewrite ^ /-content-/$content last; }}
            proxy_pass http://emulator;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_buffer_size 64k;
            proxy_buffers 64 64k;
            proxy_busy_buffers_size 256k;
            proxy_max_temp_file_size 0;
        }}
        location /-content-/ {{
            internal;
            alias {files}/;
            add_header x-goog-generation $object_generation;
            add_header x-goog-metageneration 1;
            add_header x-goog-hash crc32c=$object_crc32c;
            add_header x-goog-stored-content-encoding identity;
            add_header x-goog-stored-content-length $object_size;
        }}
    }}
}}
"""


class Nginx:
    """Answers reads of objects from plain files; the emulator answers the rest."""

    def __init__(self, dataset: Dataset, upstream: str, scratch: pathlib.Path):
        program = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")
        if program is None:
            raise SystemExit("bench: nginx is missing; `make setup` installs nginx-light")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url, self.log = f"http://127.0.0.1:{self.port}", scratch / "nginx-access.log"
        tables = {"content": [], "generation": [], "crc32c": [], "size": []}
        for item in dataset.objects(upstream):
            key = urllib.parse.quote(item["name"], safe="")
            for generation in [item["generation"], ""]:
                tables["content"].append(f'"media {key} {generation}" "{item["name"]}";')
            for name in ["generation", "crc32c", "size"]:
                tables[name].append(f'"{key}" "{item[name]}";')
        for name, lines in tables.items():
            (scratch / f"nginx-{name}").write_text("\n".join(lines) + "\n")
        configuration = scratch / "nginx.conf"
        text = CONFIGURATION.format(
            scratch=scratch,
            log=self.log,
            upstream=upstream.removeprefix("http://"),
            port=self.port,
            files=dataset.files,
        )
        configuration.write_text(text)
        self.process = subprocess.Popen([program, "-e", str(scratch / "nginx-error.log"), "-c", str(configuration)])
        deadline = time.monotonic() + 30
        while True:
            try:
                get_json(f"{self.url}/storage/v1/b/bench?fields=name")
                return
            except OSError as error:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(f"bench: nginx does not serve: {error}") from error
                time.sleep(0.05)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=60)


class NginxRequests:
    """Counts requests in nginx's log."""

    def __init__(self, nginx: Nginx):
        self.log = nginx.log

    def mark(self) -> int:
        time.sleep(0.25)
        return self.log.stat().st_size

    def since(self, mark: int) -> int:
        time.sleep(0.25)
        with open(self.log, "rb") as log:
            log.seek(mark)
            return log.read().count(b"\n")


#: Who asks for what only a benchmark wants to know.
OWN_AGENT = "penstock-bench"


class EmulatorRequests:
    """Counts requests in the emulator's log, without the benchmark's own."""

    def __init__(self, endpoint: str):
        self.endpoint, self.last = endpoint, 0

    def _numbers(self, after: int) -> list:
        entries = get_json(f"{self.endpoint}/_emulator/log?after={after}")["requests"]
        return [entry["number"] for entry in entries if entry["headers"].get("user-agent") != OWN_AGENT]

    def mark(self) -> int:
        self.last = max(self._numbers(self.last), default=self.last)
        return self.last

    def since(self, mark: int) -> int:
        return len(self._numbers(mark))


def set_distance(endpoint: str, milliseconds: int, bytes_per_second: int, receives: bool = False) -> None:
    """From now on the emulator's Cloud Storage is far away: each connection sends, or receives, no faster than that."""
    rate = "receiveBytesPerSecond" if receives else "bytesPerSecond"
    rule = {"server": "gcs", "times": None, "action": {"latencyMilliseconds": milliseconds, rate: bytes_per_second}}
    request = urllib.request.Request(f"{endpoint}/_emulator/faults", json.dumps(rule).encode(), method="POST")
    DIRECT.open(request, timeout=60).close()
