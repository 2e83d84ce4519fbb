import LinuxPlatform
import TestSupport
import Testing

struct MemoryLimitTests {
    static let meminfo = "MemTotal:       16384 kB\nMemFree: 1 kB\n"
    static let version2Mount = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"

    private func limit(_ files: [String: String]) -> MemoryLimit? { MemoryLimit.read { files[$0] } }

    @Test("version 2: the tightest of the group and those above it")
    func ancestors() {
        let found = limit([
            "/proc/self/mountinfo": Self.version2Mount,
            "/proc/self/cgroup": "0::/pods/one/container\n",
            "/sys/fs/cgroup/pods/one/container/memory.max": "max\n",
            "/sys/fs/cgroup/pods/one/memory.max": "1048576\n",
            "/sys/fs/cgroup/pods/memory.max": "2097152\n",
            "/proc/meminfo": Self.meminfo,
        ])
        #expect(found?.bytes == 1_048_576)
        #expect(found?.source == "/sys/fs/cgroup/pods/one/memory.max")
    }

    @Test("version 2 in a namespace: the mount point itself")
    func namespace() {
        let found = limit([
            "/proc/self/mountinfo": Self.version2Mount, "/proc/self/cgroup": "0::/\n",
            "/sys/fs/cgroup/memory.max": "4096\n",
        ])
        #expect(found?.bytes == 4096)
    }

    @Test("version 1, mounted from inside of a container")
    func version1() {
        let mounts = """
            31 23 0:27 /docker/abc /sys/fs/cgroup/memory ro,nosuid - cgroup cgroup rw,memory
            32 23 0:28 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct
            """
        let found = limit([
            "/proc/self/mountinfo": mounts,
            "/proc/self/cgroup": "5:cpu,cpuacct:/docker/abc\n4:memory:/docker/abc/inner\n1:name=systemd:/x\n",
            "/sys/fs/cgroup/memory/memory.limit_in_bytes": "8192\n",
            "/sys/fs/cgroup/memory/inner/memory.limit_in_bytes": "9223372036854771712\n",
            "/proc/meminfo": Self.meminfo,
        ])
        #expect(found?.bytes == 8192)
    }

    @Test("no limit, or one above the machine's memory, is the machine's memory")
    func machine() {
        let unlimited = [
            "/proc/self/mountinfo": Self.version2Mount, "/proc/self/cgroup": "0::/a\n", "/proc/meminfo": Self.meminfo,
        ]
        #expect(limit(unlimited)?.bytes == 16_777_216)
        var large = unlimited
        large["/sys/fs/cgroup/a/memory.max"] = "99999999999"
        #expect(limit(large)?.source == "/proc/meminfo")
        #expect(limit([:]) == nil)
    }

    @Test("a group outside of what the mount shows counts at the mount point", arguments: ["/../other", "/else/where"])
    func outside(path: String) {
        let mount = "30 23 0:26 /pods /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
        let found = limit([
            "/proc/self/mountinfo": mount, "/proc/self/cgroup": "0::\(path)\n", "/sys/fs/cgroup/memory.max": "4096",
        ])
        #expect(found?.bytes == 4096)
    }

    @Test("nothing random in the files traps", arguments: 0..<4 as Range<UInt64>)
    func random(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let pieces = [
            "0::", "/", "cgroup2", " - ", "1 2 3 4 5 6", "memory", ":", "max", "\n", "-1", "9999999999999999999",
            "MemTotal:", "kB", " ",
        ]
        for _ in 0..<300 {
            _ = MemoryLimit.read { _ in
                (0..<Int.random(in: 0...30, using: &random)).compactMap { _ in pieces.randomElement(using: &random) }
                    .joined()
            }
        }
    }

    @Test("this machine has a limit")
    func current() throws {
        let limit = try #require(MemoryLimit.current())
        #expect(limit.bytes > 1 << 20)
    }
}
