"""The read benchmark in small: each contender reads the right bytes, and the table has a row for each."""

import os
import pathlib
import subprocess
import sys

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "scripts" / "bench_read.py"


def table(tmp_path, *arguments):
    environment = os.environ | {"PENSTOCK_BENCH_DIRECTORY": str(tmp_path), "PENSTOCK_TEST_CACHE": str(tmp_path / "data")}
    command = [sys.executable, str(SCRIPT), "--small", "--rounds", "1", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]


def test_every_contender_has_its_rows(tmp_path):
    rows = table(tmp_path, "--rows", "cold,page,disk,random4k,lscold,small")
    shown = [(row[0], row[1]) for row in rows]
    assert len(shown) == len(set(shown)) == 17, shown
    assert sum(contender == "penstock" for _, contender in shown) == 6
    assert all(row[6].isdigit() for row in rows), "every row counts requests"
    assert sorted(os.listdir(tmp_path)) == ["data"], "nothing is left behind"


def test_at_a_distance_the_emulator_answers(tmp_path):
    rows = table(tmp_path, "--distance", "--rows", "lscold", "--only", "penstock")
    assert [row[1] for row in rows] == ["penstock"]
