"""Our Hub client against olah, a mirror of the Hub that nobody here wrote.

Two of them: one serves git repositories from a directory and ignores Range; the other is a caching proxy in front of it,
with real ranges. Known limits of olah 0.5.4, which is why this is not the only server: no redirects to another host, no
signed URLs, no pages, no gates, wrong codes for missing things.
"""

import contextlib
import hashlib
import json
import os
import pathlib
import random
import socket
import subprocess
import time

import pytest

import emulated_hub

REPOSITORY_ROOT = emulated_hub.REPOSITORY_ROOT
OLAH = REPOSITORY_ROOT / ".venv-olah" / "bin" / "olah-cli"

CONFIGURATION = """
[basic]
host = "127.0.0.1"
port = {port}
repos-path = "{cache}"
mirrors-path = [{mirrors}]
hf-scheme = "http"
hf-netloc = "127.0.0.1:{upstream}"
hf-lfs-netloc = "127.0.0.1:{upstream}"

[accessibility]
offline = {offline}
"""


def olah_program():
    named = os.environ.get("PENSTOCK_OLAH")
    program = pathlib.Path(named) if named else OLAH
    if not program.exists():
        # An optional peer on a developer's machine; `make test` installs it and insists.
        assert os.environ.get("PENSTOCK_REQUIRE_PEERS") != "1", f"{program} is missing: run `make setup`"
        pytest.skip(f"olah is not installed at {program}; run `make setup`")
    return program


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def make_mirror(directory):
    """A git repository with a file in git, one in a folder, and one in LFS; returns what each must contain."""
    rng = random.Random(7)
    contents = {
        "config.json": b'{"architectures": ["Tiny"]}\n',
        "1_Pooling/config.json": b'{"dimension": 384}\n',
        "vocab.txt": rng.randbytes(200_000),
        "model.safetensors": rng.randbytes(5_000_000),
        ".gitattributes": b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n",
    }
    repository = directory / "models" / "acme" / "tiny"
    repository.mkdir(parents=True)
    for path, content in contents.items():
        target = repository / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.endswith(".safetensors"):
            oid = hashlib.sha256(content).hexdigest()
            blob = repository / ".git" / "lfs" / "objects" / oid[:2] / oid[2:4] / oid
            blob.parent.mkdir(parents=True)
            blob.write_bytes(content)
            content = f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(content)}\n".encode()
        target.write_bytes(content)

    def git(*arguments):
        # No filters and no hooks of this machine: the pointer is committed as it stands.
        safe = ["git", "-c", "user.name=t", "-c", "user.email=t@localhost", "-c", "core.hooksPath=/dev/null"]
        for name in ("clean", "smudge", "process"):
            safe += ["-c", f"filter.lfs.{name}="]
        safe += ["-c", "filter.lfs.required=false"]
        return subprocess.run([*safe, *arguments], cwd=repository, check=True, capture_output=True, text=True).stdout

    git("init", "--quiet", "--initial-branch=main")
    git("add", "--all")
    git("commit", "--quiet", "--message", "Upload")
    return contents, git("rev-parse", "HEAD").strip()


@contextlib.contextmanager
def olah(program, scratch, name, *, upstream, mirrors="", offline):
    port = free_port()
    configuration = scratch / f"{name}.toml"
    configuration.write_text(
        CONFIGURATION.format(
            port=port, cache=scratch / name, mirrors=mirrors, upstream=upstream, offline=str(offline).lower()
        )
    )
    with (scratch / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            [str(program), "-c", str(configuration)], cwd=scratch, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            wait_until_listening(process, port, scratch / f"{name}.log")
            yield port
        finally:
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def wait_until_listening(process, port, log):
    end = time.monotonic() + 90
    while True:
        assert process.poll() is None, log.read_text(errors="replace")[-2000:]
        assert time.monotonic() < end, "olah did not listen within 90 s"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
            return
        time.sleep(0.1)


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    program = olah_program()
    scratch = tmp_path_factory.mktemp("olah")
    contents, commit = make_mirror(scratch / "mirror")
    # Without this record it knows no repository by its bare name, and the proxy asks for that first.
    record = scratch / "a" / "api" / "models" / "acme" / "tiny" / "revision" / commit / "meta_head.json"
    record.parent.mkdir(parents=True)
    record.write_text(json.dumps({"sha": commit, "lastModified": "2025-03-06T13:37:44.000Z"}))
    with olah(program, scratch, "a", upstream=1, mirrors=f'"{scratch / "mirror"}"', offline=True) as first:
        with olah(program, scratch, "b", upstream=first, offline=False) as second:
            yield {"plain": first, "proxy": second, "contents": contents, "commit": commit}


@pytest.fixture(scope="module")
def storage(tmp_path_factory):
    scratch = tmp_path_factory.mktemp("emulator")
    with emulated_hub.serving(scratch / "none", scratch, "--bucket", "models") as hub:
        yield hub


def penstock(storage, port, *arguments):
    ours = ("HF_", "HUGGING", "PENSTOCK_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    environment |= {
        "HF_ENDPOINT": f"http://127.0.0.1:{port}",
        "STORAGE_EMULATOR_HOST": storage.storage,
        "NO_PROXY": "127.0.0.1,localhost",
    }
    command = [emulated_hub.binary("penstock"), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)


def model_files(storage, prefix):
    found = storage.objects("models", prefix)
    return {path: content for path, content in found.items() if not path.startswith(".penstock/")}


def test_conveys_a_snapshot_from_the_proxy(servers, storage):
    result = penstock(storage, servers["proxy"], "snapshot", "acme/tiny", "gs://models/whole")
    assert result.returncode == 0, result.stdout + result.stderr
    assert model_files(storage, "whole/") == servers["contents"]
    manifest = storage.objects("models", "whole/.penstock/manifest.json")[""]
    assert servers["commit"].encode() in manifest
    verified = penstock(storage, servers["proxy"], "verify", "gs://models/whole")
    assert verified.returncode == 0, verified.stdout + verified.stderr


def test_conveys_by_commit_and_pattern(servers, storage):
    options = ["--revision", servers["commit"], "--include", "*.json"]
    result = penstock(storage, servers["proxy"], "snapshot", "acme/tiny", "gs://models/some", *options)
    assert result.returncode == 0, result.stdout + result.stderr
    wanted = {path: content for path, content in servers["contents"].items() if path.endswith(".json")}
    assert model_files(storage, "some/") == wanted


def test_gets_right_bytes_or_none_from_a_server_that_ignores_ranges(servers, storage):
    result = penstock(storage, servers["plain"], "snapshot", "acme/tiny", "gs://models/plain")
    if result.returncode == 0:
        assert model_files(storage, "plain/") == servers["contents"]
    else:
        assert model_files(storage, "plain/") == {}
        assert "ignores Range" in result.stdout + result.stderr


def test_an_unknown_revision_is_an_error(servers, storage):
    arguments = ["snapshot", "acme/tiny", "gs://models/none", "--revision", "no-such-branch"]
    result = penstock(storage, servers["proxy"], *arguments)
    assert result.returncode == 4, result.stdout + result.stderr
    assert storage.objects("models", "none/") == {}
