"""The ways in which the read benchmark reads files, each run in a process of its own: bench_readers.py WAY PATH...

Prints one line of JSON: seconds (from when everything was imported and started), and bytes or whatever else was counted.
"""

import json
import mmap
import os
import subprocess
import sys
import threading
import time

MIB = 1 << 20


def read_all(path: str, piece: bytearray) -> int:
    total = 0
    with open(path, "rb", buffering=0) as file:
        while count := file.readinto(piece):
            total += count
    return total


def sequential(paths: list) -> dict:
    """One file after the other, in reads of 1 MiB."""
    piece = bytearray(MIB)
    begin = time.monotonic()
    total = sum(read_all(path, piece) for path in paths)
    return {"seconds": time.monotonic() - begin, "bytes": total}


def together(paths: list) -> dict:
    """All at once, a thread for each."""
    totals, pieces = [0] * len(paths), [bytearray(MIB) for _ in paths]

    def read(index: int) -> None:
        totals[index] = read_all(paths[index], pieces[index])

    threads = [threading.Thread(target=read, args=(index,)) for index in range(len(paths))]
    begin = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {"seconds": time.monotonic() - begin, "bytes": sum(totals)}


def touch(pages: mmap.mmap, start: int, end: int) -> int:
    return sum(pages[offset] for offset in range(start, end, mmap.PAGESIZE))


def mapped(paths: list) -> dict:
    """Touches every page of one file in order."""
    begin = time.monotonic()
    with open(paths[0], "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as pages:
        touch(pages, 0, len(pages))
        return {"seconds": time.monotonic() - begin, "bytes": len(pages)}


def slices(paths: list) -> dict:
    """Eight processes, as of a tensor-parallel loader, each touch the pages of another eighth of one file."""
    size, workers = os.path.getsize(paths[0]), []
    share = -(-size // 8 // mmap.PAGESIZE) * mmap.PAGESIZE
    ready, go = os.pipe()
    for number in range(8):
        child = os.fork()
        if child == 0:
            os.close(go)
            os.read(ready, 1)
            with open(paths[0], "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as pages:
                touch(pages, number * share, min((number + 1) * share, size))
            os._exit(0)
        workers.append(child)
    time.sleep(0.2)
    begin = time.monotonic()
    os.close(ready)
    os.close(go)
    if any(os.waitpid(child, 0)[1] != 0 for child in workers):
        raise SystemExit("a process that reads a slice failed")
    return {"seconds": time.monotonic() - begin, "bytes": size}


def safetensors(paths: list) -> dict:
    """Every tensor of one file into memory, by the library."""
    import numpy  # noqa: F401  (the library imports it at the first tensor)
    from safetensors import safe_open

    begin, total, kept = time.monotonic(), 0, []
    with safe_open(paths[0], framework="np") as file:
        for name in file.keys():
            kept.append(file.get_tensor(name))
            total += kept[-1].nbytes
    return {"seconds": time.monotonic() - begin, "bytes": total}


def small(paths: list) -> dict:
    """Every file of one directory, in the order of their names."""
    piece, begin, total = bytearray(MIB), time.monotonic(), 0
    names = sorted(os.listdir(paths[0]))
    for name in names:
        total += read_all(f"{paths[0]}/{name}", piece)
    return {"seconds": time.monotonic() - begin, "bytes": total, "files": len(names)}


def listing(paths: list) -> dict:
    """`ls -lR`; how many files it showed."""
    begin = time.monotonic()
    done = subprocess.run(["ls", "-lR", paths[0]], stdout=subprocess.PIPE, check=True)
    seconds = time.monotonic() - begin
    return {"seconds": seconds, "files": sum(line.startswith(b"-") for line in done.stdout.splitlines())}


def random_reads(paths: list) -> dict:
    """fio, one read at a time at places by chance: fio's --bs is the second argument, seconds the third."""
    command = ["fio", "--name=random", f"--filename={paths[0]}", "--readonly", "--rw=randread", f"--bs={paths[1]}"]
    command += ["--ioengine=psync", "--norandommap", "--randrepeat=0", "--invalidate=0", "--output-format=json"]
    command += ["--time_based", f"--runtime={paths[2]}", "--allow_file_create=0", f"--size={os.path.getsize(paths[0])}"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    job = json.loads(done.stdout)["jobs"][0]
    read = job["read"]
    return {
        "seconds": read["runtime"] / 1000,
        "bytes": read["io_bytes"],
        "iops": read["iops"],
        "p50": read["clat_ns"]["percentile"]["50.000000"] / 1e9,
    }


WAYS = {
    way.__name__: way for way in [sequential, together, mapped, slices, safetensors, small, listing, random_reads]
}

if __name__ == "__main__":
    print(json.dumps(WAYS[sys.argv[1]](sys.argv[2:])))
