"""A mount in a container of 256 MiB, its disk cache included, under many cold readers: slow at most, never killed.

512 MiB are read by default, 2 GiB with PENSTOCK_SOAK=1; the container is the same.
"""

import concurrent.futures
import hashlib
import os
import subprocess
import sys

import pytest

import emulated_hub
import programs
from memory_group import memory_group

MIB = 1 << 20
SIZE = (2048 if os.environ.get("PENSTOCK_SOAK") else 512) * MIB
LIMIT = 256 * MIB
READERS = 32

READ = """
import hashlib, sys
path, offset, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
digest = hashlib.sha256()
with open(path, "rb", buffering=0) as file:
    file.seek(offset)
    while count and (piece := file.read(min(count, 1 << 20))):
        digest.update(piece)
        count -= len(piece)
print(count, digest.hexdigest())
"""


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    scratch = tmp_path_factory.mktemp("group")
    directory = scratch / "hub" / "models" / "acme" / "big"
    directory.mkdir(parents=True)
    block = os.urandom(16 * MIB)
    with (directory / "model.safetensors").open("wb") as file:
        for position in range(0, SIZE, len(block)):
            file.write(position.to_bytes(8, "little") + block[8:])
    with emulated_hub.serving(scratch / "hub", scratch, "--bucket", "models") as hub:
        programs.penstock(hub, "snapshot", "--quiet", "acme/big", "gs://models/big")
        yield hub, directory / "model.safetensors"


def slices():
    count = SIZE // READERS
    return [(number * count, count) for number in range(READERS)]


def digest(path, offset, count):
    with path.open("rb") as file:
        file.seek(offset)
        return hashlib.sha256(file.read(count)).hexdigest()


def read(path, offset, count):
    command = [sys.executable, "-c", READ, str(path), str(offset), str(count)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize("keeps", [False, True], ids=["memory", "disk cache"])
def test_many_cold_readers_of_a_small_container(repository, tmp_path, keeps):
    hub, original = repository
    options = ["--cache-dir", str(tmp_path / "cache"), "--cache-size", "3G"] if keeps else []
    with memory_group(LIMIT) as group:
        mount = programs.mounted(hub, "gs://models/big", tmp_path / "mnt", *options, preexec_fn=group.enter)
        with mount as directory, concurrent.futures.ThreadPoolExecutor(READERS) as pool:
            file = directory / "model.safetensors"
            found = list(pool.map(lambda place: read(file, *place), slices()))
        counters = group.counters()
    print(f"the group's counters: {counters}")
    assert counters["oom_kill"] == 0
    assert found == [["0", digest(original, *place)] for place in slices()]
