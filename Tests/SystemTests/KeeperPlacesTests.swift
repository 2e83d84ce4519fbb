import Foundation
import Glibc
import LinuxPlatform
import TestSupport
import Testing

/// Keepers that are started in other ways than by root on a node.
@Suite(.serialized) struct KeeperPlacesTests {
    private let area: MountArea
    private let bytes: [UInt8]

    init() async throws {
        var random = SeededRandom(seed: 19)
        bytes = random.bytes((6 << 20) + 77)
        area = try MountArea()
        try await StoredSnapshot(area.objects).publish([("w", bytes)])
    }

    // MARK: Without privileges

    private static let nobody: UInt32 = 65534
    private static let asNobody = ["setpriv", "--reuid=\(nobody)", "--regid=\(nobody)", "--clear-groups"]

    /// Opens /dev/fuse to everybody, as udev does on a machine that is no container; gives back how it was.
    private func opened() throws -> (mode: mode_t, path: String) {
        var status = stat()
        let path = "/dev/fuse"
        let found = stat(path, &status)
        try #require(found == 0)
        try #require(chmod(path, 0o666) == 0)
        return (status.st_mode & 0o7777, path)
    }

    /// What a user without privileges may read and run, and a place to mount at.
    private func preparedForNobody() throws -> String {
        let program = area.root + "/penstock"
        try FileManager.default.copyItem(atPath: try ReleasePrograms.path("penstock"), toPath: program)
        try Data(bytes).write(to: URL(filePath: area.root + "/expected"))
        #expect(try Command.run("chmod", ["-R", "a+rX", area.root]).status == 0)
        // A directory of objects is for those who may write it.
        let owners = ["-R", "\(Self.nobody):\(Self.nobody)", area.mountPoint, area.objects]
        #expect(try Command.run("chown", owners).status == 0)
        return program
    }

    /// Reads all of the file past the kernel's cache, again and again, until a file appears; prints how often.
    private func startReader() throws -> (process: Process, output: Pipe) {
        let script = """
            n=0
            while [ ! -e "$1/stop" ]; do
                dd if="$1/mnt/w" bs=256k iflag=direct status=none | cmp - "$1/expected" || exit 1
                n=$((n + 1)); echo $n
            done
            """
        let process = Process()
        process.executableURL = URL(filePath: "/usr/bin/env")
        process.arguments = Self.asNobody + ["sh", "-c", script, "sh", area.root]
        let output = Pipe()
        process.standardOutput = output
        try process.run()
        return (process, output)
    }

    @Test func mountedByTheSetUIDHelperReadersOutliveWhoServesThem() async throws {
        defer { area.remove() }
        let device = try opened()
        defer { chmod(device.path, device.mode) }
        let program = try preparedForNobody()
        let mount = try ServedMount(area.source, at: area.mountPoint, program: program, through: Self.asNobody)
        #expect(try mounter() == Self.nobody)
        let processes = KeptProcesses(keeper: mount.process.processIdentifier)
        let reader = try startReader()
        var seen: Set<Int32> = []
        for _ in 0..<5 {
            // It has read something through this one.
            let worker = try #require(try await processes.next(after: seen), "\(mount.log)")
            #expect(try reader.output.fileHandleForReading.read(upToCount: 2)?.isEmpty == false)
            kill(worker, SIGKILL)
            seen.insert(worker)
        }
        #expect(try reader.output.fileHandleForReading.read(upToCount: 2)?.isEmpty == false)
        try Data().write(to: URL(filePath: area.root + "/stop"))
        _ = try reader.output.fileHandleForReading.readToEnd()
        reader.process.waitUntilExit()
        #expect(reader.process.terminationStatus == 0)
        #expect(mount.end() == 0, "\(mount.log)")
        #expect(!mount.isMounted)
    }

    @Test func aDeadMountOfTheSetUIDHelperIsTakenAway() async throws {
        defer { area.remove() }
        let device = try opened()
        defer { chmod(device.path, device.mode) }
        let program = try preparedForNobody()
        let first = try ServedMount(area.source, at: area.mountPoint, program: program, through: Self.asNobody)
        first.end(SIGKILL)
        #expect(first.isMounted)
        let second = try ServedMount(area.source, at: area.mountPoint, program: program, through: Self.asNobody)
        #expect(second.log.contains("took away the mount"))
        let read = try Command.run("env", Self.asNobody + ["cmp", area.mountPoint + "/w", area.root + "/expected"])
        #expect(read.status == 0, "\(read.errors)")
        #expect(second.end() == 0)
        #expect(!second.isMounted)
    }

    /// The user that the kernel mounted it for.
    private func mounter() throws -> UInt32? {
        let table = try String(contentsOfFile: "/proc/self/mountinfo", encoding: .utf8)
        let line = table.split(separator: "\n").first { $0.contains(" \(area.mountPoint) ") } ?? ""
        return line.split { $0 == "," || $0 == " " }.first { $0.hasPrefix("user_id=") }
            .flatMap { UInt32($0.dropFirst(8)) }
    }

    // MARK: As the first process

    @Test func asTheFirstProcessOfAContainerItReapsOrphansAndHearsSignals() async throws {
        defer { area.remove() }
        let mount = try ServedMount(
            area.source,
            at: area.mountPoint,
            through: ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
        )
        let keeper = try #require(KeptProcesses(keeper: mount.process.processIdentifier).worker)
        // Who has started it hears no signals.
        defer { kill(keeper, SIGKILL) }
        let processes = KeptProcesses(keeper: keeper)
        let worker = try #require(processes.worker)
        let file = try OpenedFile("/proc/\(keeper)/root\(area.mountPoint)/w")
        #expect(isSame(try file.read(at: 0, bytes.count), bytes[...]))

        // Somebody's child is left over.
        let left = try ServingProcess.start(
            .init(
                program: "/usr/bin/nsenter",
                arguments: ["nsenter", "--target", "\(keeper)", "--pid", "sh", "-c", "sleep 10000 &"],
                environment: ["PATH=/usr/bin:/bin"]
            )
        )
        var status: Int32 = 0
        let ended = waitpid(left, &status, 0)
        #expect(ended == left)
        #expect(status == 0)
        let isAdopted = try await eventually(within: .seconds(60)) { processes.children.count == 2 }
        #expect(isAdopted)
        let orphan = try #require(processes.children.first { $0 != worker })
        kill(orphan, SIGKILL)
        #expect(try await eventually(within: .seconds(60)) { processes.children == [worker] })

        // Its own child is another matter.
        kill(worker, SIGKILL)
        posix_fadvise(file.descriptor, 0, 0, POSIX_FADV_DONTNEED)
        #expect(isSame(try file.read(at: 0, bytes.count), bytes[...]))
        #expect(try await processes.next(after: [worker]) != nil)
        kill(keeper, SIGTERM)
        mount.process.waitUntilExit()
        #expect(mount.process.terminationStatus == 0, "\(mount.log)")
        #expect(mount.log.contains("detached while files were open"), "the test has one open")
    }
}
