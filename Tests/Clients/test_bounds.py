"""A large file with little memory and no disk, as the kernel sees it.

1 GiB by default, 4 GiB with PENSTOCK_SOAK=1; the bound is the same.
"""

import os
import pathlib
import re
import subprocess
import time

import pytest

import emulated_hub
import programs

MIB = 1 << 20
SIZE = (4096 if os.environ.get("PENSTOCK_SOAK") else 1024) * MIB
MEMORY = 64
#: What the program may have beside its buffers.
BESIDE = 48


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    scratch = tmp_path_factory.mktemp("bounds")
    for name, size in (("big", SIZE), ("small", 40 * MIB)):
        repository = scratch / "hub" / "models" / "acme" / name
        repository.mkdir(parents=True)
        block = os.urandom(16 * MIB)
        with (repository / "model.safetensors").open("wb") as file:
            for position in range(0, size, len(block)):
                file.write(position.to_bytes(8, "little") + block[8 : min(len(block), size - position)])
    with emulated_hub.serving(scratch / "hub", scratch, "--bucket", "models") as running:
        yield running


def status(pid: int) -> dict[str, str]:
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


def test_a_large_file_needs_little_memory_and_no_disk(hub):
    command = [emulated_hub.binary("penstock"), "snapshot", "--quiet", "--memory", f"{MEMORY}M", "acme/big"]
    process = subprocess.Popen([*command, "gs://models/big"], env=programs.environment(hub), stdout=subprocess.PIPE)
    written = peak = 0
    while process.poll() is None:
        try:
            peak = max(peak, int(status(process.pid)["VmHWM"].split()[0]) // 1024)
            counts = pathlib.Path(f"/proc/{process.pid}/io").read_text()
            written = max(written, int(re.search(r"^write_bytes: (\d+)$", counts, re.MULTILINE)[1]))
        except (FileNotFoundError, KeyError, ProcessLookupError):
            break
        time.sleep(0.02)
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output
    print(f"peak RSS {peak} MiB with --memory {MEMORY}M, {written} bytes written to disks")
    assert 0 < peak <= MEMORY + BESIDE
    assert written == 0


def test_no_content_is_written_to_any_file(hub, tmp_path):
    trace = tmp_path / "trace"
    calls = "openat,open,creat,write,pwrite64,writev,pwritev,pwritev2,sendfile,copy_file_range,splice,memfd_create"
    command = ["strace", "-f", "-qq", "-y", "-e", f"trace={calls}", "-o", str(trace)]
    command += [emulated_hub.binary("penstock"), "snapshot", "--quiet", "acme/small", "gs://models/small"]
    subprocess.run(command, env=programs.environment(hub), check=True, capture_output=True, timeout=600)
    lines = trace.read_text(errors="replace").splitlines()
    assert lines
    made = [line for line in lines if re.search(r"O_CREAT|O_WRONLY|O_RDWR|creat\(|memfd_create\(", line)]
    # What is opened for writing is at most the terminal and the like, never a file of its own.
    assert not [line for line in made if "/dev/" not in line and "/proc/" not in line], made
    content = re.compile(r"\b(write|pwrite64|writev|pwritev2?|sendfile|copy_file_range|splice)\(\d+<([^>]*)>")
    elsewhere = {match[2] for line in lines if (match := content.search(line))}
    # Sockets, pipes and event descriptors show no path.
    assert not {place for place in elsewhere if place.startswith("/") and not place.startswith("/dev/")}, elsewhere
