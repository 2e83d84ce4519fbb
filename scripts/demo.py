"""The main job on a real model: from a Hub into a bucket, proven, mounted and loaded.

Everything runs on this machine: penstock-emulator is the Hub and the bucket. The model is all-MiniLM-L6-v2 with the hashes
that the Hub itself gives for its files. `make demo` runs this.
"""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "Tests" / "Fixtures"), str(ROOT / "Tests" / "Clients")]

import fetch_minilm  # noqa: E402
from emulated_hub import binary  # noqa: E402

BUCKET = "gs://ai-models/all-MiniLM-L6-v2"


def say(text: str) -> None:
    print(f"\n== {text}", flush=True)


def start_emulator(scratch: pathlib.Path, hub_root: pathlib.Path):
    ready = scratch / "ready"
    command = [binary("penstock-emulator"), "--root", str(scratch), "--hub-root", str(hub_root), "--bucket", "ai-models"]
    command += ["--gcs-port", "0", "--hub-port", "0", "--ready-file", str(ready)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    end = time.monotonic() + 120
    while not ready.exists():
        if process.poll() is not None or time.monotonic() > end:
            raise SystemExit("demo: the emulator did not start")
        time.sleep(0.02)
    words = dict(word.split("=", 1) for word in ready.read_text().split()[1:])
    return process, words


def penstock(environment: dict, *arguments: str) -> None:
    print("$ penstock " + " ".join(arguments), flush=True)
    subprocess.run([binary("penstock"), *arguments], env=environment, check=True)


def mount(environment: dict, directory: pathlib.Path):
    print(f"$ penstock mount {BUCKET} {directory}", flush=True)
    process = subprocess.Popen([binary("penstock"), "mount", BUCKET, str(directory)], env=environment, stdout=subprocess.PIPE)
    line = process.stdout.readline().decode().strip()
    if not line:
        raise SystemExit(f"demo: the mount did not come up (status {process.wait()}); it needs /dev/fuse and root")
    print(line)
    return process


def compare(directory: pathlib.Path) -> None:
    for path, (size, expected) in fetch_minilm.FILES.items():
        content = (directory / path).read_bytes()
        got = fetch_minilm.hub_hash(content, expected)
        if len(content) != size or got != expected:
            raise SystemExit(f"demo: {path} is not what the Hub has: {got}, expected {expected}")
        print(f"   ok  {size:>10}  {expected}  {path}")


def load(directory: pathlib.Path) -> None:
    """The weights through mmap, as loaders take them."""
    from safetensors import safe_open

    began = time.monotonic()
    parameters = 0
    largest = ("", 0, 0.0)
    with safe_open(str(directory / "model.safetensors"), framework="numpy") as weights:
        names = list(weights.keys())
        for name in names:
            tensor = weights.get_tensor(name)
            parameters += tensor.size
            if tensor.size > largest[1]:
                largest = (name, tensor.size, float(abs(tensor).mean()))
    seconds = time.monotonic() - began
    print(f"{len(names)} tensors, {parameters} parameters in {seconds:.2f} s; the largest is {largest[0]}")
    print(f"with {largest[1]} values, {largest[2]:.6f} on average without sign")
    if len(names) != 104 or parameters < 22_000_000:
        raise SystemExit("demo: the model does not have the tensors it should")


def main() -> None:
    say("a real model: sentence-transformers/all-MiniLM-L6-v2, with the Hub's own hashes")
    hub_root = fetch_minilm.hub_root()
    total = sum(size for size, _ in fetch_minilm.FILES.values())
    print(f"{len(fetch_minilm.FILES)} files, {total} bytes, commit {fetch_minilm.COMMIT}")
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="penstock-demo-"))
    directory = scratch / "mnt"
    directory.mkdir()
    emulator, addresses = start_emulator(scratch, hub_root)
    mounted = None
    try:
        # The tests' own variables are no settings of penstock.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
        environment.update(STORAGE_EMULATOR_HOST=addresses["gcs"], HF_ENDPOINT=addresses["hub"])
        environment["NO_PROXY"] = environment["no_proxy"] = "127.0.0.1,localhost"
        say("from the Hub into the bucket, no disk in between, every byte proven")
        began = time.monotonic()
        penstock(environment, "snapshot", fetch_minilm.REPOSITORY, BUCKET)
        seconds = time.monotonic() - began
        print(f"{total} bytes in {seconds:.2f} s, {total / seconds / 1e6:.0f} MB/s")
        say("proven again, from the bucket alone")
        penstock(environment, "verify", BUCKET)
        penstock(environment, "ls", "--long", BUCKET)
        say("read as files, through a mount")
        mounted = mount(environment, directory)
        compare(directory)
        subprocess.run(["getfattr", "-d", "--absolute-names", str(directory / "model.safetensors")], check=True)
        say("loaded by Python's safetensors, through mmap")
        load(directory)
        say("unmounted")
        penstock(environment, "unmount", str(directory))
        if mounted.wait(timeout=60) != 0:
            raise SystemExit(f"demo: the mount ended with status {mounted.returncode}")
        mounted = None
        print(json.dumps({"files": len(fetch_minilm.FILES), "bytes": total, "commit": fetch_minilm.COMMIT, "ok": True}))
    finally:
        if mounted is not None:
            mounted.send_signal(signal.SIGTERM)
            mounted.wait(timeout=60)
        emulator.send_signal(signal.SIGTERM)
        emulator.wait(timeout=30)
        shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    main()
