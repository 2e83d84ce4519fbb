"""A prefix in the layout of the official cache, mounted, is a cache that the official client loads from, offline."""

import hashlib
import os
import subprocess
import sys

import emulated_hub
import fetch_minilm
import programs

SNAPSHOT = """
import sys, huggingface_hub
print(huggingface_hub.snapshot_download(sys.argv[1], revision=sys.argv[2] if len(sys.argv) > 2 else None))
"""

LOAD = """
import sys, pathlib
from safetensors import safe_open
with safe_open(str(pathlib.Path(sys.argv[1]) / "model.safetensors"), framework="numpy") as weights:
    print(len(list(weights.keys())), sum(weights.get_tensor(name).size for name in weights.keys()))
"""


def offline(cache, *arguments):
    """Runs Python with the mount as its cache and no network allowed."""
    environment = dict(os.environ, HF_HUB_CACHE=str(cache), HF_HUB_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1")
    environment["HF_ENDPOINT"] = "http://127.0.0.1:9"
    done = subprocess.run([sys.executable, "-c", *arguments], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_official_client_loads_from_the_mount_offline(tmp_path):
    repository = fetch_minilm.REPOSITORY
    with emulated_hub.serving(fetch_minilm.hub_root(), tmp_path, "--bucket", "models") as hub:
        programs.penstock(hub, "snapshot", repository, "gs://models/cache", "--layout", "hub")
        with programs.mounted(hub, "gs://models/cache", tmp_path / "mnt") as cache:
            path = offline(cache, SNAPSHOT, repository)
            assert path.endswith(f"snapshots/{fetch_minilm.COMMIT}")
            assert offline(cache, SNAPSHOT, repository, fetch_minilm.COMMIT) == path
            for name, (size, expected) in fetch_minilm.FILES.items():
                content = (cache / path / name).read_bytes()
                assert len(content) == size
                assert fetch_minilm.hub_hash(content, expected) == expected, name
            assert offline(cache, LOAD, path) == "104 22713728"
            main = cache / f"models--{repository.replace('/', '--')}" / "refs" / "main"
            assert main.read_text() == fetch_minilm.COMMIT
            assert hashlib.sha256((cache / path / "model.safetensors").read_bytes()).hexdigest() in str(
                fetch_minilm.FILES["model.safetensors"]
            )
