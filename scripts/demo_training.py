"""A training run whose processes are killed again and again, and that loses nothing: `make demo-training`.

A small PyTorch training writes checkpoints through a writable mount of an emulated bucket, each committed when it stands in the
bucket. At seeded points the trainer is killed, then the process that serves the mount, then every process of the mount.
Each time training goes on from `penstock checkpoint latest`. In the end its weights must equal those of a run that nobody disturbed.

    --seed N       where the kills fall (default 7)
    --steps N      steps of training (default 120), a checkpoint every 10
"""

import argparse
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from demo import binary, say, start_emulator

ROOT = pathlib.Path(__file__).resolve().parents[1]
TRAINER = [str(ROOT / ".venv-torch" / "bin" / "python"), str(ROOT / "scripts" / "demo_trainer.py")]
RUN = "gs://ai-models/run-17"
EVERY = 10


class Mount:
    """`penstock mount --profile checkpoint`, always with the same staging directory."""

    def __init__(self, environment: dict, scratch: pathlib.Path):
        self.environment, self.scratch, self.path = environment, scratch, scratch / "ckpt"
        self.path.mkdir(exist_ok=True)
        self.start()

    def start(self) -> None:
        command = [binary("penstock"), "mount", RUN, str(self.path), "--profile", "checkpoint"]
        command += ["--staging-dir", str(self.scratch / "staging")]
        log = open(self.scratch / "mount.log", "ab")
        self.process = subprocess.Popen(command, env=self.environment, stdout=subprocess.PIPE, stderr=log)
        if not self.process.stdout.readline():
            raise SystemExit(f"demo: the mount did not come up: {(self.scratch / 'mount.log').read_text()}")

    def workers(self) -> list:
        path = f"/proc/{self.process.pid}/task/{self.process.pid}/children"
        return [int(word) for word in pathlib.Path(path).read_text().split()]

    def kill_worker(self) -> None:
        for worker in self.workers():
            os.kill(worker, signal.SIGKILL)

    def kill_everything(self) -> None:
        workers = self.workers()
        self.process.kill()
        self.process.wait()
        for worker in workers:
            while pathlib.Path(f"/proc/{worker}").exists():
                time.sleep(0.01)
        subprocess.run(["umount", "-l", str(self.path)], check=True)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        if self.process.wait(timeout=60) != 0:
            raise SystemExit(f"demo: the mount ended with {self.process.returncode}")


class Training:
    """The trainer's process, which waits after each checkpoint."""

    def __init__(self, directory: pathlib.Path, steps: int, latest: str):
        command = [*TRAINER, str(directory), str(steps), str(EVERY)] + ([latest] if latest else [])
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.first = int(self.expect("begin"))

    def expect(self, word: str) -> str:
        line = self.process.stdout.readline().split()
        if not line or line[0] != word:
            raise SystemExit(f"demo: the trainer said {line} and not {word}; status {self.process.poll()}")
        return line[1]

    def line(self) -> list:
        return self.process.stdout.readline().split()

    def go_on(self) -> None:
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def undisturbed(scratch: pathlib.Path, steps: int) -> str:
    directory = scratch / "undisturbed"
    directory.mkdir()
    training = Training(directory, steps, "")
    while True:
        line = training.line()
        if line[0] == "weights":
            return line[1]
        training.go_on()


def latest(environment: dict, mount: Mount) -> str:
    command = [binary("penstock"), "checkpoint", "latest", RUN, "--mount", str(mount.path)]
    found = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    if found.returncode not in (0, 4):
        raise SystemExit(f"demo: checkpoint latest ended with {found.returncode}")
    return found.stdout.strip()


def commit(environment: dict, mount: Mount, name: str) -> None:
    subprocess.run([binary("penstock"), "flush", str(mount.path), "--timeout", "60s"], env=environment, check=True)
    command = [binary("penstock"), "checkpoint", "commit", RUN, name]
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)


def disturbed(environment: dict, scratch: pathlib.Path, steps: int, seed: int) -> str:
    choices = random.Random(seed)
    mount, kills = Mount(environment, scratch), {"trainer": 0, "worker": 0, "everything": 0}
    plan = ["trainer", "worker", "everything", "worker", "trainer"]
    while True:
        found = latest(environment, mount)
        training = Training(mount.path, steps, found)
        print(f"   training from step {training.first}" + (f" ({found})" if found else ""), flush=True)
        rounds = choices.randint(1, 3)
        while True:
            line = training.line()
            if line and line[0] == "weights":
                print(f"   killed: {kills}", flush=True)
                mount.stop()
                return line[1]
            if not line:
                raise SystemExit(f"demo: the trainer failed with status {training.process.wait()}")
            rounds -= 1
            victim = plan[0] if plan and rounds <= 0 else None
            # Before or after the commit: what was only saved may be trained again, what was committed may not be lost.
            if victim and choices.random() < 0.5:
                break
            commit(environment, mount, line[1])
            if victim:
                break
            training.go_on()
        plan.pop(0)
        kills[victim] += 1
        print(f"   {line[1]} is saved; killing -9: {victim}", flush=True)
        if victim == "worker":
            mount.kill_worker()
            training.go_on()
            training.line()
            training.kill()
        else:
            training.kill()
        if victim == "everything":
            mount.kill_everything()
            mount.start()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--steps", type=int, default=120)
    options = parser.parse_args()
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="penstock-training-"))
    emulator, words = start_emulator(scratch, scratch / "hub")
    environment = {"PATH": os.environ["PATH"], "HOME": str(scratch), "STORAGE_EMULATOR_HOST": words["gcs"]}
    environment["PENSTOCK_RUNTIME_DIR"] = str(scratch / "runtime")
    try:
        say("a training that nobody disturbs, on a local disk")
        expected = undisturbed(scratch, options.steps)
        print(f"   weights {expected}")
        say(f"the same through a mount of a bucket, killed again and again (seed {options.seed})")
        weights = disturbed(environment, scratch, options.steps, options.seed)
        print(f"   weights {weights}")
        if weights != expected:
            raise SystemExit("demo: the weights differ")
        say("what stands in the bucket")
        sys.stdout.flush()
        subprocess.run([binary("penstock"), "checkpoint", "list", RUN], env=environment, check=True)
        subprocess.run([binary("penstock"), "checkpoint", "verify", RUN], env=environment, check=True)
        say("the weights are equal, bit by bit")
    finally:
        emulator.terminate()
        emulator.wait()
        subprocess.run(["umount", "-l", str(scratch / "ckpt")], check=False, stderr=subprocess.DEVNULL)
        shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    main()
