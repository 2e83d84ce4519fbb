"""The ways in which the write benchmark writes files, each run in a process of its own: bench_writers.py WAY DIRECTORY NUMBER...

Prints one line of JSON: moments of the monotonic clock, which all processes share, and what was counted. Whoever started it goes
on measuring from "begin" until the bucket has it all.

What is written follows from the number of the file alone (`Content`), so that nobody has to keep it to compare with.
"""

import json
import os
import random
import sys
import threading
import time

MIB = 1 << 20
FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


class Content:
    """What files consist of: pieces of random bytes, the same in each process, that begin at another page for each piece.

    32 MiB of them are more than a processor's cache takes from one piece to the next of a file, as with tensors. Two pieces of a
    file, and two files at the same place, do not hold the same bytes, so that what is left out or mixed up changes a checksum.
    """

    SIZE, PAGE = 32 * MIB, 4096
    #: Places at which a piece of 1 MiB can begin; odd steps come to each of them.
    PLACES = (SIZE - MIB) // PAGE

    def __init__(self):
        self.bytes = memoryview(random.Random("content of the write benchmark").randbytes(self.SIZE))

    def piece(self, file: int, index: int, size: int = MIB) -> memoryview:
        place = (file * 61 + index * 257) % self.PLACES * self.PAGE
        return self.bytes[place : place + size]

    def pieces(self, file: int, size: int):
        """The content of a file of this size; the last piece is shorter."""
        for index in range(-(-size // MIB)):
            yield self.piece(file, index, min(MIB, size - index * MIB))


def write_all(file: int, piece: memoryview) -> None:
    """A write to a mount may be a short one."""
    while piece:
        piece = piece[os.write(file, piece) :]


def write_file(path: str, content: Content, number: int, size: int, is_synced: bool) -> float:
    """When the last byte was written: before fsync(2) and close(2)."""
    file = os.open(path, FLAGS, 0o644)
    try:
        for piece in content.pieces(number, size):
            write_all(file, piece)
        written = time.monotonic()
        if is_synced:
            os.fsync(file)
    finally:
        os.close(file)
    return written


def whole(directory: str, number: int, size: int, is_synced: int) -> dict:
    """One file in writes of 1 MiB."""
    content = Content()
    begin = time.monotonic()
    written = write_file(f"{directory}/model.bin", content, number, size, bool(is_synced))
    return {"begin": begin, "written": written, "closed": time.monotonic(), "bytes": size, "files": 1}


def together(directory: str, number: int, count: int, size: int) -> dict:
    """Some files at once, a thread for each, and each synced before it is closed."""
    content, written = Content(), [0.0] * count

    def write(index: int) -> None:
        written[index] = write_file(f"{directory}/shard-{index}.bin", content, number + index, size, True)

    threads = [threading.Thread(target=write, args=(index,)) for index in range(count)]
    begin = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    closed = time.monotonic()
    if not all(written):
        raise SystemExit("a thread that writes failed")
    return {"begin": begin, "written": max(written), "closed": closed, "bytes": count * size, "files": count}


def small(directory: str, number: int, count: int, size: int) -> dict:
    """Many small files, one after the other, not synced."""
    content = Content()
    begin = time.monotonic()
    for index in range(count):
        written = write_file(f"{directory}/{index:04}.bin", content, number + index, size, False)
    return {"begin": begin, "written": written, "closed": time.monotonic(), "bytes": count * size, "files": count}


def syncs(directory: str, number: int, count: int, size: int) -> dict:
    """Appends a little to a file and syncs it, again and again; how long each fsync(2) took."""
    content, took = Content(), []
    begin = time.monotonic()
    file = os.open(f"{directory}/log.bin", FLAGS, 0o644)
    try:
        for index in range(count):
            write_all(file, content.piece(number, index, size))
            before = time.monotonic()
            os.fsync(file)
            took.append(time.monotonic() - before)
    finally:
        os.close(file)
    took.sort()
    closed = time.monotonic()
    figures = {"p50": took[len(took) // 2], "p99": took[len(took) * 99 // 100]}
    return {"begin": begin, "written": closed, "closed": closed, "bytes": count * size, "files": 1} | figures


#: How HF Trainer calls a checkpoint before it is whole; the names are not published before they change.
UNFINISHED, FINISHED = "tmp-checkpoint-1", "checkpoint-1"


def fill(directory: str, number: int, count: int, size: int) -> dict:
    """A directory of files, as an unfinished checkpoint."""
    os.mkdir(f"{directory}/{UNFINISHED}")
    return small(f"{directory}/{UNFINISHED}", number, count, size)


def rename(directory: str, number: int, count: int, size: int) -> dict:
    """Gives that directory its last name."""
    begin = time.monotonic()
    os.rename(f"{directory}/{UNFINISHED}", f"{directory}/{FINISHED}")
    closed = time.monotonic()
    return {"begin": begin, "written": closed, "closed": closed, "bytes": count * size, "files": count}


WAYS = {way.__name__: way for way in [whole, together, small, syncs, fill, rename]}

if __name__ == "__main__":
    print(json.dumps(WAYS[sys.argv[1]](sys.argv[2], *map(int, sys.argv[3:]))))
