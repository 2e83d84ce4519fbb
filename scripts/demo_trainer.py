"""A small training run in PyTorch that saves checkpoints as most do: used by demo_training.py.

usage: demo_trainer.py DIRECTORY STEPS EVERY [CHECKPOINT]

Goes on from CHECKPOINT, a directory, or begins. Each checkpoint is a directory that gets its name by a rename when its file is
synced. Prints "saved NAME" after each one, and waits for a line on standard input before it trains on; at the end "weights HASH".
"""

import hashlib
import os
import pathlib
import sys

import torch


def batch(step: int):
    """The same data for the same step, whichever process trains."""
    generator = torch.Generator().manual_seed(1000 + step)
    inputs = torch.randn(64, 128, generator=generator)
    return inputs, inputs[:, :16].sum(dim=1, keepdim=True) + torch.randn(64, 1, generator=generator) * 0.1


def save(run: pathlib.Path, step: int, name: str, model, optimizer) -> None:
    temporary = run / f"tmp-checkpoint-{step}"
    temporary.mkdir(exist_ok=True)
    with open(temporary / "state.pt", "wb") as file:
        torch.save({"step": step, "model": model.state_dict(), "optimizer": optimizer.state_dict()}, file)
        file.flush()
        os.fsync(file.fileno())
    os.rename(temporary, run / name)
    descriptor = os.open(run, os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(descriptor)
    os.close(descriptor)


def main() -> None:
    run, steps, every = pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(1)
    torch.manual_seed(7)
    model = torch.nn.Sequential(torch.nn.Linear(128, 512), torch.nn.ReLU(), torch.nn.Linear(512, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    first = 0
    if len(sys.argv) > 4:
        state = torch.load(pathlib.Path(sys.argv[4]) / "state.pt", map_location="cpu")
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["step"]
    print(f"begin {first}", flush=True)
    for step in range(first + 1, steps + 1):
        inputs, targets = batch(step)
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(model(inputs), targets).backward()
        optimizer.step()
        if step % every == 0:
            name = f"step-{step:05}"
            # Saved by an earlier life of this run, and not committed then.
            if not (run / name).exists():
                save(run, step, name, model, optimizer)
            print(f"saved {name}", flush=True)
            sys.stdin.readline()
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode() + tensor.numpy().tobytes())
    print(f"weights {digest.hexdigest()}", flush=True)


if __name__ == "__main__":
    main()
