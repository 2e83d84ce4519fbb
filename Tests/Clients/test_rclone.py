"""rclone against the Cloud Storage emulator."""

import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import uuid

import pytest

MIB = 1 << 20


def rclone_program():
    program = shutil.which("rclone", path=str(pathlib.Path(sys.executable).parent))
    assert program, "rclone is missing from the environment of the tests (requirements.txt)"
    return program


@pytest.fixture
def rclone(emulator, tmp_path):
    configuration = tmp_path / "rclone.conf"
    configuration.write_text(
        "[gcs]\ntype = google cloud storage\nanonymous = true\nbucket_policy_only = true\n"
        f"endpoint = {emulator.gcs}/storage/v1/\nproject_number = 1\n"
    )

    def run(*arguments, expect=0, **options):
        done = subprocess.run(
            [rclone_program(), "--config", str(configuration), "--retries", "1", *arguments],
            capture_output=True,
            timeout=120,
            **options,
        )
        assert done.returncode == expect, done.stderr.decode()
        return done.stdout

    return run


@pytest.fixture
def remote(rclone):
    path = f"gcs:rclone-{uuid.uuid4().hex}"
    rclone("mkdir", path)
    return path


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "tree"
    for number, (name, size) in enumerate([("a", 10), ("dir/é +#%.bin", 1000), ("dir/sub/large", 20 * MIB), ("empty", 0)]):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(random.Random(number).randbytes(size))
    return root


def names(root):
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def test_copy_check_and_copy_back(rclone, remote, tree, tmp_path):
    rclone("copy", str(tree), remote)
    rclone("check", "--download", str(tree), remote)
    listed = json.loads(rclone("lsjson", "-R", "--files-only", remote))
    assert sorted((each["Path"], each["Size"]) for each in listed) == [
        (name, (tree / name).stat().st_size) for name in names(tree)
    ]
    back = tmp_path / "back"
    rclone("copy", remote, str(back))
    assert {name: (back / name).read_bytes() for name in names(back)} == {
        name: (tree / name).read_bytes() for name in names(tree)
    }


def test_a_second_sync_moves_nothing(rclone, remote, tree):
    rclone("sync", str(tree), remote)
    report = rclone("sync", "--use-json-log", "--stats-one-line", "--dry-run", "-v", str(tree), remote)
    assert report == b""
    (tree / "a").unlink()
    rclone("sync", str(tree), remote)
    assert "a" not in rclone("lsf", remote).decode().split()


def test_streaming_upload_of_unknown_length(rclone, remote):
    data = random.Random(7).randbytes(17 * MIB + 3)
    rclone("rcat", f"{remote}/stream", input=data)
    assert rclone("cat", f"{remote}/stream") == data
    assert rclone("cat", "--offset", "1000", "--count", "10", f"{remote}/stream") == data[1000:1010]


def test_server_side_copy_and_move(rclone, remote, tree):
    rclone("copy", str(tree), f"{remote}/x")
    rclone("copy", f"{remote}/x", f"{remote}/y")
    rclone("move", f"{remote}/y", f"{remote}/z")
    rclone("check", "--download", str(tree), f"{remote}/z")
    assert sorted(rclone("lsf", remote).decode().split()) == ["x/", "z/"]


def test_list_in_pages(rclone, remote, tmp_path):
    many = tmp_path / "many"
    many.mkdir()
    for number in range(25):
        (many / f"{number:02}").write_text(str(number))
    rclone("copy", str(many), remote)
    assert len(rclone("lsf", remote).decode().split()) == 25


def test_delete(rclone, remote, tree):
    rclone("copy", str(tree), remote)
    rclone("delete", f"{remote}/dir")
    assert sorted(rclone("lsf", "-R", "--files-only", remote).decode().split()) == ["a", "empty"]
    rclone("purge", remote)
    rclone("lsf", remote, expect=3)
