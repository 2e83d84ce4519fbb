import LinuxPlatform
import Testing

@testable import Configuration

@Suite struct MemoryDefaultTests {
    /// The files of a machine with 8 GiB, and what limits the process in them.
    struct Machine: CustomTestStringConvertible, Sendable {
        let testDescription: String
        let files: [String: String]
        let expected: String
        let source: String

        init(_ what: String, _ files: [String: String], is expected: String, from source: String) {
            testDescription = what
            self.files = files.merging(["/proc/meminfo": "MemTotal:  8388608 kB\n"]) { own, _ in own }
            self.expected = expected
            self.source = source
        }
    }

    private static let version2 = [
        "/proc/self/mountinfo": "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
        "/proc/self/cgroup": "0::/pod/container\n",
    ]
    private static let version1 = [
        "/proc/self/mountinfo": "31 23 0:27 /docker/a /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n",
        "/proc/self/cgroup": "4:memory:/docker/a\n",
    ]

    static let machines = [
        Machine(
            "version 2",
            version2.merging(["/sys/fs/cgroup/pod/container/memory.max": "1073741824\n"]) { $1 },
            is: "208M",
            from: "default for 1G (/sys/fs/cgroup/pod/container/memory.max)"
        ),
        Machine(
            "version 1",
            version1.merging(["/sys/fs/cgroup/memory/memory.limit_in_bytes": "2147483648\n"]) { $1 },
            is: "464M",
            from: "default for 2G (/sys/fs/cgroup/memory/memory.limit_in_bytes)"
        ),
        Machine(
            "max in the group, a limit above it",
            version2.merging([
                "/sys/fs/cgroup/pod/container/memory.max": "max\n", "/sys/fs/cgroup/pod/memory.max": "268435456\n",
            ]) { $1 },
            is: "64M",
            from: "default for 256M (/sys/fs/cgroup/pod/memory.max)"
        ),
        Machine(
            "max everywhere",
            version2.merging(["/sys/fs/cgroup/pod/container/memory.max": "max\n"]) { $1 },
            is: "512M",
            from: "default for 8G (/proc/meminfo)"
        ),
        Machine(
            "version 1 without a limit",
            version1.merging(["/sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"]) { $1 },
            is: "512M",
            from: "default for 8G (/proc/meminfo)"
        ),
        Machine("no control groups", [:], is: "512M", from: "default for 8G (/proc/meminfo)"),
        Machine(
            "a small machine",
            ["/proc/meminfo": "MemTotal:  524288 kB\n"],
            is: "80M",
            from: "default for 512M (/proc/meminfo)"
        ),
    ]

    @Test(arguments: machines)
    func theControlGroupDecides(machine: Machine) throws {
        let found = try #require(MemoryDefault.setting(MemoryLimit.read { machine.files[$0] }))
        #expect(found == MachineDefault(name: "memory", value: machine.expected, source: machine.source))
        let settings = try ResolvedSettings(PenstockSettings.registry, machine: [found])
        #expect(settings[PenstockSettings.memory].description == machine.expected)
        #expect(settings.explained().contains("\(machine.expected)"))
        #expect(settings.explained().contains(machine.source))
    }

    @Test func nobodyKnowsAnything() throws {
        #expect(MemoryDefault.setting(MemoryLimit.read { _ in nil }) == nil)
        let settings = try ResolvedSettings(PenstockSettings.registry)
        #expect(settings[PenstockSettings.memory].description == "512M")
    }

    @Test func halfOfTheLimitIsNeverPassed() {
        for mebibytes in stride(from: 128, through: 1 << 16, by: 7) {
            let limit = mebibytes << 20
            let bytes = MemoryDefault.bytes(limit: limit)
            #expect(bytes + MemoryDefault.overhead <= limit / 2, "\(mebibytes) MiB")
            #expect(bytes >= MemoryDefault.least && bytes <= 512 << 20 && bytes % (1 << 20) == 0)
        }
        #expect(MemoryDefault.bytes(limit: 1) == MemoryDefault.least)
        #expect(MemoryDefault.bytes(limit: .max) == 512 << 20)
    }

    @Test func whatSomebodySaysWins() throws {
        let machine = MachineDefault(name: "memory", value: "64M", source: "the machine")
        let said = try ResolvedSettings(
            PenstockSettings.registry,
            environment: ["PENSTOCK_MEMORY": "2G"],
            machine: [machine]
        )
        #expect(said[PenstockSettings.memory].description == "2G")
        #expect(said.origin(of: "memory") == .environment("PENSTOCK_MEMORY"))
        let flag = try ResolvedSettings(PenstockSettings.registry, flags: ["memory": .one("1G")], machine: [machine])
        #expect(flag[PenstockSettings.memory].description == "1G")
        let nobody = try ResolvedSettings(PenstockSettings.registry, machine: [machine])
        #expect(nobody.origin(of: "memory") == .machine("the machine"))
    }
}
