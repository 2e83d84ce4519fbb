"""The write benchmark: what it writes and how it compares, and in small that each contender publishes the right bytes."""

import os
import pathlib
import subprocess
import sys

import google_crc32c
import pytest

SCRIPTS = pathlib.Path(__file__).resolve().parents[2] / "scripts"
sys.path[:0] = [str(SCRIPTS)]

import bench_mounts  # noqa: E402
import bench_write  # noqa: E402
import bench_writable  # noqa: E402
import bench_writers  # noqa: E402

MIB = 1 << 20


def test_pieces_differ_within_a_file_and_between_files():
    content = bench_writers.Content()
    pieces = [bytes(piece[:64]) for number in range(3) for piece in content.pieces(number, 200 * MIB)]
    # Two of them may begin at the same place, but not at the same index of two files.
    for number in range(2):
        mine, others = pieces[number * 200 : (number + 1) * 200], pieces[(number + 1) * 200 : (number + 2) * 200]
        assert len(set(mine)) == 200
        assert all(one != other for one, other in zip(mine, others))


def test_what_is_written_is_what_the_checksum_is_of(tmp_path):
    content, size = bench_writers.Content(), 3 * MIB + 5
    bench_writers.write_file(str(tmp_path / "file"), content, 7, size, True)
    written = (tmp_path / "file").read_bytes()
    assert len(written) == size
    checksum = bench_writable.encoded(google_crc32c.value(written))
    assert bench_writable.Checksums().file(7, size) == checksum
    assert bench_writable.Checksums().file(8, size) != checksum


def test_every_way_tells_moments_in_order(tmp_path):
    ways = {"whole": [0, MIB, 1], "together": [1, 4, MIB], "small": [9, 3, 4096], "syncs": [5, 3, 4096], "fill": [20, 3, 4096]}
    for way, numbers in ways.items():
        (tmp_path / way).mkdir()
        told = bench_writers.WAYS[way](str(tmp_path / way), *numbers)
        assert told["begin"] <= told["written"] <= told["closed"], way
        files = [path for path in (tmp_path / way).rglob("*") if path.is_file()]
        assert len(files) == told["files"] and sum(path.stat().st_size for path in files) == told["bytes"], way
    log = (tmp_path / "syncs" / "log.bin").read_bytes()
    assert bench_writable.Checksums().log(5, 3, 4096) == bench_writable.encoded(google_crc32c.value(log))
    bench_writers.rename(str(tmp_path / "fill"), 20, 3, 4096)
    assert sorted(os.listdir(tmp_path / "fill" / bench_writers.FINISHED)) == ["0000.bin", "0001.bin", "0002.bin"]


def test_another_content_under_the_name_is_missing():
    assert bench_writable.still_missing({"a": "1", "b": "2", "c": "3"}, {"a": "1", "b": "other"}) == {"b": "2", "c": "3"}
    assert bench_writable.still_missing({"a": "1"}, {"a": "1", "more": "9"}) == {}


@pytest.mark.parametrize(
    ("row", "run", "limit", "ratio"),
    [
        ("synced", {"seconds": 2.0, "bytes": 100}, {"seconds": 1.0, "bytes": 100}, 0.5),
        # At a given rate curl sends less.
        ("published", {"seconds": 1.0, "bytes": 800}, {"seconds": 1.0, "bytes": 100}, 8.0),
        ("small", {"seconds": 4.0, "files": 10}, {"seconds": 1.0, "files": 10}, 0.25),
        ("fsync", {"seconds": 9.0, "p50": 0.004}, {"seconds": 9.0, "p50": 0.001}, 0.25),
    ],
)
def test_more_is_better(row, run, limit, ratio):
    assert bench_write.of_limit(row, bench_mounts.Run(**run), bench_mounts.Run(**limit)) == pytest.approx(ratio)


def test_ratios_are_taken_within_rounds():
    def run(seconds):
        return bench_mounts.Run(seconds=seconds, bytes=2 << 30, cpu=1.0, memory=5 * MIB)

    # The machine is ten times slower in the second round, and a contender may be missing in one.
    rounds = [
        {("synced", "penstock"): run(2.0), ("synced", "limit"): run(1.0)},
        {("synced", "penstock"): run(20.0), ("synced", "limit"): run(10.0)},
        {("synced", "limit"): run(1.0)},
    ]
    sizes = bench_write.Sizes(2 << 30, False)
    line = bench_write.cells("synced", "penstock", rounds, sizes)
    assert line[:2] == ["one file of 2 GiB, synced, closed", "penstock"]
    assert line[3:6] == ["0.50 (0.50 to 0.50)", "0.50", "5"]
    assert bench_write.cells("synced", "limit", rounds, sizes)[1:4] == ["the disk", "2147 MB/s", ""]
    assert bench_write.cells("four", "penstock", rounds, sizes) == []


def test_each_contender_publishes_what_was_written(tmp_path):
    environment = os.environ | {"PENSTOCK_BENCH_DIRECTORY": str(tmp_path)}
    command = [sys.executable, str(SCRIPTS / "bench_write.py"), "--small", "--size", "16", "--rounds", "1"]
    command += ["--bucket", str(tmp_path), "--rows", "buffered,published,fourpublished,smallpublished,fsync,rename,renamed"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("| ")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]
    assert sum(row[1] == "penstock" for row in rows) == 7
    assert sum(row[1] not in ("penstock", "rclone mount") for row in rows) == 6, "each row but the last has a limit"
    assert os.listdir(tmp_path) == [], "nothing is left behind"
    assert str(tmp_path) not in pathlib.Path("/proc/mounts").read_text()
