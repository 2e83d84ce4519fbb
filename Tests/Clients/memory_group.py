"""A memory control group for one test: cgroup v2 where the machine has its memory controller there, else v1."""

import contextlib
import os
import pathlib

ROOT = pathlib.Path("/sys/fs/cgroup")


class MemoryGroup:
    """Processes that together may use `limit` bytes, page cache included, and no swap."""

    def __init__(self, limit: int):
        assert os.geteuid() == 0, "control groups are made by root"
        controllers = ROOT / "cgroup.controllers"
        self.is_second = controllers.exists() and "memory" in controllers.read_text().split()
        name = f"penstock-test-{os.getpid()}"
        if self.is_second:
            # Where the tests' own group has no controllers to hand on, the root has.
            (ROOT / "cgroup.subtree_control").write_text("+memory")
            self.path = ROOT / name
        else:
            assert (ROOT / "memory").is_dir(), "this machine has no memory controller, neither of cgroup v2 nor of v1"
            self.path = ROOT / "memory" / name
        self.path.mkdir()
        (self.path / ("memory.max" if self.is_second else "memory.limit_in_bytes")).write_text(str(limit))
        swap = self.path / ("memory.swap.max" if self.is_second else "memory.memsw.limit_in_bytes")
        if swap.exists():
            swap.write_text("0" if self.is_second else str(limit))

    def enter(self) -> None:
        """Moves the calling process in; for a child between fork and exec."""
        (self.path / "cgroup.procs").write_text(str(os.getpid()))

    def counters(self) -> dict[str, int]:
        """The kernel's own counts: `oom_kill`, and how often the limit was met."""
        if self.is_second:
            lines = (self.path / "memory.events").read_text().splitlines()
            return {name: int(value) for name, value in (line.split() for line in lines)}
        lines = (self.path / "memory.oom_control").read_text().splitlines()
        counts = {name: int(value) for name, value in (line.split() for line in lines)}
        counts["failcnt"] = int((self.path / "memory.failcnt").read_text())
        counts["peak"] = int((self.path / "memory.max_usage_in_bytes").read_text())
        return counts


@contextlib.contextmanager
def memory_group(limit: int):
    """A group that is gone afterwards; whoever was in it must have ended."""
    group = MemoryGroup(limit)
    try:
        yield group
    finally:
        group.path.rmdir()
