"""The official `hf` command against the emulated Hub, on a real model: who trusts the emulator may trust it."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

import emulated_hub
import fetch_minilm
from fetch_minilm import COMMIT, FILES, REPOSITORY, hub_hash

HF = str(pathlib.Path(sys.executable).with_name("hf"))
TOKEN = "hf_testtokentesttokentesttoken"


@pytest.fixture(scope="module")
def minilm_root():
    return fetch_minilm.hub_root()


@pytest.fixture(scope="module")
def hub(minilm_root, tmp_path_factory):
    with emulated_hub.serving(minilm_root, tmp_path_factory.mktemp("emulator")) as hub:
        yield hub


@pytest.fixture(autouse=True)
def as_delivered(hub):
    """Each test finds the Hub as it was started."""
    yield
    hub.post("reset")
    hub.post("hub/options", {"pageSize": 1000, "knownTokens": [], "rateLimits": {"api": None, "resolvers": None}})
    everybody = {"gated": None, "private": False, "disabled": False, "readers": [], "formerNames": []}
    hub.post("hub/repository", {"id": REPOSITORY, **everybody})


def run_hf(hub, home, *arguments, token=None, **variables):
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
    environment |= {
        "HF_ENDPOINT": hub.endpoint,
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_UPDATE_CHECK": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "NO_PROXY": "127.0.0.1,localhost",
    }
    if token:
        environment["HF_TOKEN"] = token
    return subprocess.run(
        [HF, *arguments], env=environment | variables, capture_output=True, text=True, timeout=300, check=False
    )


def downloaded(result):
    assert result.returncode == 0, result.stderr
    return pathlib.Path(json.loads(result.stdout)["path"])


def hashes_below(directory):
    return {path: hub_hash((directory / path).read_bytes(), expected) for path, (_, expected) in FILES.items()}


GENUINE = {path: expected for path, (_, expected) in FILES.items()}


def test_downloads_the_genuine_files_and_verifies_them(hub, tmp_path):
    snapshot = downloaded(run_hf(hub, tmp_path, "download", REPOSITORY, "--json"))
    assert snapshot.name == COMMIT
    assert hashes_below(snapshot) == GENUINE
    verified = run_hf(hub, tmp_path, "cache", "verify", REPOSITORY, "--fail-on-missing-files", "--fail-on-extra-files")
    assert verified.returncode == 0, verified.stdout + verified.stderr


def test_verify_notices_a_flipped_bit(hub, tmp_path):
    snapshot = downloaded(run_hf(hub, tmp_path, "download", REPOSITORY, "config.json", "vocab.txt", "--json"))
    vocabulary = (snapshot / "vocab.txt").resolve()
    content = bytearray(vocabulary.read_bytes())
    content[1000] ^= 1
    vocabulary.write_bytes(content)
    verified = run_hf(hub, tmp_path, "cache", "verify", REPOSITORY)
    assert verified.returncode == 1
    assert "vocab.txt" in verified.stdout + verified.stderr


def test_downloads_by_many_pages_and_globs(hub, tmp_path):
    hub.post("hub/options", {"pageSize": 3})
    snapshot = downloaded(
        run_hf(hub, tmp_path, "download", REPOSITORY, "--include", "*.json", "--exclude", "token*", "--json")
    )
    found = {str(path.relative_to(snapshot)) for path in snapshot.rglob("*") if path.is_file()}
    assert found == {path for path in FILES if path.endswith(".json") and not path.startswith("token")}


def test_downloads_into_a_directory(hub, tmp_path):
    target = tmp_path / "local"
    result = run_hf(hub, tmp_path / "home", "download", REPOSITORY, "--local-dir", str(target), "--revision", COMMIT)
    assert result.returncode == 0, result.stderr
    assert hashes_below(target) == GENUINE
    verified = run_hf(hub, tmp_path / "home", "cache", "verify", REPOSITORY, "--local-dir", str(target))
    assert verified.returncode == 0, verified.stdout + verified.stderr


def test_follows_a_rename(hub, tmp_path):
    hub.post("hub/repository", {"id": REPOSITORY, "formerNames": ["old/minilm"]})
    snapshot = downloaded(run_hf(hub, tmp_path, "download", "old/minilm", "config.json", "modules.json", "--json"))
    assert (snapshot / "config.json").stat().st_size == FILES["config.json"][0]


def test_a_gate_opens_to_those_who_were_granted(hub, tmp_path):
    hub.post("hub/repository", {"id": REPOSITORY, "gated": "manual", "readers": [TOKEN]})
    refused = run_hf(hub, tmp_path / "a", "download", REPOSITORY)
    assert refused.returncode == 1 and "requires approval" in refused.stderr
    granted = run_hf(hub, tmp_path / "b", "download", REPOSITORY, "--json", token=TOKEN)
    assert hashes_below(downloaded(granted)) == GENUINE


def test_a_private_repository_is_not_found_without_a_token(hub, tmp_path):
    hub.post("hub/repository", {"id": REPOSITORY, "private": True})
    refused = run_hf(hub, tmp_path / "a", "download", REPOSITORY, "config.json")
    assert refused.returncode == 1 and "not found" in refused.stderr
    assert run_hf(hub, tmp_path / "b", "download", REPOSITORY, "config.json", token=TOKEN).returncode == 0


def test_missing_things_are_told_apart(hub, tmp_path):
    for arguments, words in [
        (["acme/none", "config.json"], "Model 'acme/none' not found"),
        ([REPOSITORY, "none.json"], "File not found in model"),
        ([REPOSITORY, "config.json", "--revision", "none"], "Revision not found in model"),
    ]:
        result = run_hf(hub, tmp_path, "download", *arguments, token=TOKEN)
        assert result.returncode == 1
        assert words in result.stderr, result.stderr


def test_a_rate_limit_is_waited_out(hub, tmp_path):
    hub.post("hub/options", {"rateLimits": {"resolvers": {"requests": 12, "windowSeconds": 1}}})
    snapshot = downloaded(run_hf(hub, tmp_path, "download", REPOSITORY, "--include", "*.json", "--json"))
    assert len([path for path in snapshot.rglob("*.json") if path.is_file()]) == 9


def test_who_am_i(hub, tmp_path):
    result = run_hf(hub, tmp_path, "auth", "whoami", token=TOKEN)
    assert result.returncode == 0 and "tester" in result.stdout
    hub.post("hub/options", {"knownTokens": ["hf_other"]})
    assert run_hf(hub, tmp_path, "auth", "whoami", token=TOKEN).returncode != 0
