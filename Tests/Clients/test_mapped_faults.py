"""Page faults of eight processes at once on one mapped file, through a mount with the least memory and a slow server.

100 rounds, with PENSTOCK_SOAK=1 10,000 in pieces of 1,000, each with a seed of its own. In each round every process lets go of
its pages, the kernel drops what nobody maps, and then all fault a few pages of their own choice at the same time and compare
them. A watchdog looks meanwhile: no fault may be older than what the server was told to do to a request, with all that the
machine may add to it.
"""

import multiprocessing
import mmap
import os
import random
import time

import pytest

import emulated_hub
import programs

MIB = 1 << 20
SIZE = 64 * MIB + 12_345
PROCESSES = 8
IS_SOAK = bool(os.environ.get("PENSTOCK_SOAK"))
SEED = int(os.environ.get("PENSTOCK_SEED", "2025"))
#: What the server does to the worst request, in seconds.
WORST = 2.0
#: A fault may wait for a request that was stalled, for the second one that replaces it, and for reads of others before it
#: that were; beyond this it is stuck. Far below what a request may take before it fails.
EXPLAINED = 20.0
MEMORY = "16M"
#: For each piece: the kernel's read-ahead, rounds, and what is added to the seed.
PIECES = [("0", 1000, number) for number in range(9)] + [("1M", 1000, 9)] if IS_SOAK else [("0", 80, 0), ("1M", 20, 9)]

#: What the server does: a little latency and a slow connection, and worse to a few. The first rule that strikes counts.
RULES = [
    {"method": "GET", "path": "model.safetensors", "times": None, "probability": 0.01, "seed": SEED,
     "action": {"stallAt": 0, "stallMilliseconds": int(WORST * 1000)}},
    {"method": "GET", "path": "model.safetensors", "times": None, "probability": 0.05, "seed": SEED + 1,
     "action": {"latencyMilliseconds": 100, "bytesPerSecond": 2_000_000}},
    {"method": "GET", "path": "model.safetensors", "times": None, "probability": 0.02, "seed": SEED + 2,
     "action": {"truncateAt": 30_000, "reset": True}},
    {"method": "GET", "path": "model.safetensors", "times": None,
     "action": {"latencyMilliseconds": 5, "bytesPerSecond": 50_000_000}},
]  # fmt: skip


@pytest.fixture(scope="module")
def slow(tmp_path_factory):
    """A conveyed model on a server that is slow from then on, and the file as it should be."""
    scratch = tmp_path_factory.mktemp("mapped")
    model = scratch / "hub" / "models" / "acme" / "mapped" / "model.safetensors"
    model.parent.mkdir(parents=True)
    model.write_bytes(random.Random(SEED).randbytes(SIZE))
    with emulated_hub.serving(scratch / "hub", scratch, "--bucket", "models") as hub:
        programs.penstock(hub, "snapshot", "--quiet", "acme/mapped", "gs://models/mapped")
        hub.post("faults", RULES)
        yield hub, model


def fault(number: int, seed: int, rounds: int, mounted: str, original: str, since, barrier) -> None:
    """One of the processes: a status of 0 says that every byte was right."""
    chosen = random.Random(seed * 1000 + number)
    with open(mounted, "rb") as file, open(original, "rb") as other:
        pages = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        right = mmap.mmap(other.fileno(), 0, prot=mmap.PROT_READ)
        for _ in range(rounds):
            pages.madvise(mmap.MADV_DONTNEED)
            barrier.wait(timeout=300)
            if number == 0:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            barrier.wait(timeout=300)
            for _ in range(chosen.randint(1, 4)):
                offset = chosen.randrange(SIZE)
                end = min(SIZE, offset + chosen.choice([1, 4096, 70_000]))
                since[number] = time.monotonic()
                found = pages[offset:end]
                since[number] = 0
                assert found == right[offset:end], f"seed {seed}: wrong bytes in {offset}..{end}"


def watch(processes: list, since, seed: int) -> float:
    """Looks until all have ended; the age of the oldest fault that was seen."""
    oldest = 0.0
    while any(process.is_alive() for process in processes):
        now = time.monotonic()
        ages = [now - begin if begin else 0.0 for begin in since]
        oldest = max(oldest, *ages)
        assert max(ages) < EXPLAINED, f"seed {seed}: faults have waited for {ages} s"
        if any(process.exitcode for process in processes):
            break
        time.sleep(0.05)
    return oldest


@pytest.mark.parametrize("read_ahead, rounds, added", PIECES)
def test_parallel_faults_are_answered_in_time_and_right(slow, tmp_path, read_ahead, rounds, added):
    hub, model = slow
    seed = SEED + added
    context = multiprocessing.get_context("fork")
    arguments = ["--memory", MEMORY, "--kernel-read-ahead", read_ahead]
    with programs.mounted(hub, "gs://models/mapped", tmp_path / "mnt", *arguments) as directory:
        since = context.Array("d", PROCESSES, lock=False)
        barrier = context.Barrier(PROCESSES)
        mounted = str(directory / "model.safetensors")
        processes = [
            context.Process(target=fault, args=(number, seed, rounds, mounted, str(model), since, barrier))
            for number in range(PROCESSES)
        ]
        for process in processes:
            process.start()
        try:
            oldest = watch(processes, since, seed)
        finally:
            for process in processes:
                if process.is_alive():
                    process.kill()
                process.join(timeout=60)
        print(f"{rounds} rounds, seed {seed}: the oldest fault waited {oldest:.2f} s")
        assert [process.exitcode for process in processes] == [0] * PROCESSES
