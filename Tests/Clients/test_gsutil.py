"""gsutil against the Cloud Storage emulator."""

import os
import pathlib
import random
import socket
import ssl
import subprocess
import sys
import threading
import uuid

import pytest
from conftest import Emulator

MIB = 1 << 20


class TLSFront:
    """Ends TLS before the emulator: gsutil knows no other scheme."""

    def __init__(self, directory):
        key, certificate = directory / "key.pem", directory / "certificate.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
            + ["-keyout", str(key), "-out", str(certificate)],
            check=True,
            capture_output=True,
        )
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate, key)
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        self.target = None

    def serve(self, target):
        self.target = target
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            client, _ = self.listener.accept()
            threading.Thread(target=self.forward, args=(client,), daemon=True).start()

    def forward(self, client):
        try:
            outside = self.context.wrap_socket(client, server_side=True)
        except OSError:
            return
        inside = socket.create_connection(self.target)
        threading.Thread(target=self.pump, args=(inside, outside), daemon=True).start()
        self.pump(outside, inside)

    def pump(self, source, target):
        try:
            while piece := source.recv(1 << 16):
                target.sendall(piece)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            target.close()


@pytest.fixture(scope="module")
def front(tmp_path_factory):
    return TLSFront(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def emulator(front, tmp_path_factory):
    running = Emulator(
        tmp_path_factory.mktemp("gsutil"), "--gcs-external-url", f"https://127.0.0.1:{front.port}"
    )
    host, port = running.gcs.removeprefix("http://").split(":")
    front.serve((host, int(port)))
    yield running
    assert running.stop() == 0


@pytest.fixture
def gsutil(emulator, front, tmp_path):
    state = tmp_path / "gsutil-state"
    boto = tmp_path / "boto"
    boto.write_text(
        f"""[Credentials]
gs_json_host = 127.0.0.1
gs_json_port = {front.port}
[Boto]
https_validate_certificates = False
[GSUtil]
default_project_id = test
state_dir = {state}
check_hashes = always
resumable_threshold = {2 * MIB}
use_gcloud_storage = False
software_update_check_period = 0
"""
    )
    environment = {**os.environ, "BOTO_CONFIG": str(boto), "HOME": str(tmp_path), "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true"}
    program = pathlib.Path(sys.executable).parent / "gsutil"

    def run(*arguments, expect=0, **options):
        done = subprocess.run(
            [str(program), "-o", "GSUtil:parallel_process_count=1", *arguments],
            env=environment,
            capture_output=True,
            timeout=120,
            **options,
        )
        assert done.returncode == expect, done.stderr.decode()
        return done.stdout

    return run


@pytest.fixture
def bucket(gsutil):
    url = f"gs://gsutil-{uuid.uuid4().hex}"
    gsutil("mb", url)
    return url


def write(path, size, seed=1):
    path.write_bytes(random.Random(seed).randbytes(size))
    return path


@pytest.mark.parametrize("size", [0, 1000, 5 * MIB + 7])
def test_copy_there_and_back(gsutil, bucket, tmp_path, size):
    source = write(tmp_path / "source", size)
    gsutil("-h", "x-goog-meta-a:1", "cp", str(source), f"{bucket}/dir/ü +%.bin")
    target = tmp_path / "target"
    gsutil("cp", f"{bucket}/dir/ü +%.bin", str(target))
    assert target.read_bytes() == source.read_bytes()
    shown = gsutil("stat", f"{bucket}/dir/ü +%.bin").decode()
    assert "Hash (crc32c)" in shown


def test_streaming_copy(gsutil, bucket):
    data = random.Random(2).randbytes(3 * MIB + 1)
    gsutil("cp", "-", f"{bucket}/stream", input=data)
    assert gsutil("cat", f"{bucket}/stream") == data
    assert gsutil("cat", "-r", "100-199", f"{bucket}/stream") == data[100:200]


def test_parallel_composite_upload(gsutil, bucket, tmp_path):
    source = write(tmp_path / "source", 6 * MIB)
    limits = ["-o", "GSUtil:parallel_composite_upload_threshold=2M", "-o", "GSUtil:parallel_composite_upload_component_size=1M"]
    gsutil(*limits, "cp", str(source), f"{bucket}/composite")
    assert "Component-Count" in gsutil("stat", f"{bucket}/composite").decode()
    target = tmp_path / "target"
    gsutil("cp", f"{bucket}/composite", str(target))
    assert target.read_bytes() == source.read_bytes()
    assert gsutil("ls", f"{bucket}/**").decode().split() == [f"{bucket}/composite"]


def test_list_move_compose_remove(gsutil, bucket, tmp_path):
    for name in ("a/1", "a/2", "b"):
        gsutil("cp", str(write(tmp_path / "file", 10, seed=name)), f"{bucket}/{name}")
    assert gsutil("ls", bucket).decode().split() == [f"{bucket}/b", f"{bucket}/a/"]
    assert gsutil("ls", "-r", f"{bucket}/**").decode().split() == [f"{bucket}/a/1", f"{bucket}/a/2", f"{bucket}/b"]
    both = gsutil("cat", f"{bucket}/a/1", f"{bucket}/a/2")
    gsutil("compose", f"{bucket}/a/1", f"{bucket}/a/2", f"{bucket}/c")
    assert gsutil("cat", f"{bucket}/c") == both
    gsutil("mv", f"{bucket}/b", f"{bucket}/d")
    gsutil("cp", f"{bucket}/d", f"{bucket}/e")
    gsutil("setmeta", "-h", "x-goog-meta-k:v", "-h", "Cache-Control:no-store", f"{bucket}/e")
    shown = gsutil("stat", f"{bucket}/e").decode()
    assert "no-store" in shown and "v" in shown
    gsutil("-m", "rm", f"{bucket}/**")
    gsutil("rb", bucket)


def test_rsync(gsutil, bucket, tmp_path):
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    write(tree / "one", 100)
    write(tree / "sub" / "two", 200, seed=2)
    gsutil("rsync", "-r", "-c", str(tree), f"{bucket}/tree")
    back = tmp_path / "back"
    back.mkdir()
    gsutil("rsync", "-r", "-c", f"{bucket}/tree", str(back))
    assert (back / "sub" / "two").read_bytes() == (tree / "sub" / "two").read_bytes()
    assert gsutil("du", "-s", f"{bucket}/tree").decode().split()[0] == "300"


def test_create_only(gsutil, bucket, tmp_path):
    source = write(tmp_path / "source", 10)
    create = ["-h", "x-goog-if-generation-match:0", "cp", str(source), f"{bucket}/once"]
    gsutil(*create)
    gsutil(*create, expect=1)
