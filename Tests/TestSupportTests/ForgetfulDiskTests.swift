import LinuxPlatform
import TestSupport
import Testing

@Suite struct ForgetfulDiskTests {
    /// Writes a file, and synchronizes what is asked for.
    private func write(
        _ bytes: [UInt8],
        to name: String,
        on disk: ForgetfulDisk,
        isSynchronized: Bool
    ) throws(Errno) -> any WritableFile {
        let file = try disk.directory.create(name)
        try file.write(bytes, at: 0)
        if isSynchronized {
            try file.synchronizeData()
            try disk.directory.synchronize()
        }
        return file
    }

    private func contents(_ name: String, of disk: ForgetfulDisk) throws(Errno) -> [UInt8] {
        let file = try disk.directory.open(name)
        return try file.bytes(0..<(try file.size()))
    }

    @Test func whatWasSynchronizedStaysAndTheRestMayGo() throws {
        let disk = ForgetfulDisk()
        let file = try write([1, 2, 3], to: "a", on: disk, isSynchronized: true)
        try file.write([9], at: 0)
        #expect(try contents("a", of: disk) == [9, 2, 3])
        #expect(try contents("a", of: disk.crashed(.nothing)) == [1, 2, 3])
        #expect(try contents("a", of: disk.crashed(.everything)) == [9, 2, 3])
        #expect(try contents("a", of: disk.restarted()) == [9, 2, 3])
    }

    @Test func aNameNeedsItsDirectoryAndAFileItsOwnSynchronization() throws {
        let disk = ForgetfulDisk()
        let file = try write([1], to: "a", on: disk, isSynchronized: false)
        try file.synchronizeData()
        #expect(try disk.crashed(.nothing).directory.names() == [])
        try disk.directory.synchronize()
        #expect(try contents("a", of: disk.crashed(.nothing)) == [1])
        try file.write([2], at: 1)
        try disk.directory.synchronize()
        #expect(try contents("a", of: disk.crashed(.nothing)) == [1])
    }

    @Test func aRenameIsThereOrNotButNeverHalf() throws {
        let disk = ForgetfulDisk()
        _ = try write([1], to: "old", on: disk, isSynchronized: true)
        _ = try write([2], to: "new", on: disk, isSynchronized: true)
        try disk.directory.rename("new", to: "old")
        var seen: Set<[UInt8]> = []
        for seed in UInt64(0)..<20 {
            let crashed = disk.crashed(.anySubset(seed: seed))
            let content = try contents("old", of: crashed)
            #expect(try crashed.directory.names() == (content == [2] ? ["old"] : ["new", "old"]))
            seen.insert(content)
        }
        #expect(seen == [[1], [2]])
    }

    @Test func sectorsAreKeptOneByOne() throws {
        let disk = ForgetfulDisk()
        let size = 3 * ForgetfulDisk.sector
        let file = try write([UInt8](repeating: 1, count: size), to: "a", on: disk, isSynchronized: true)
        try file.write([UInt8](repeating: 2, count: size), at: 0)
        var seen: Set<[UInt8]> = []
        for seed in UInt64(0)..<100 {
            let content = try contents("a", of: disk.crashed(.anySubset(seed: seed)))
            seen.insert(stride(from: 0, to: size, by: ForgetfulDisk.sector).map { content[$0] })
            #expect(content.count == size)
        }
        #expect(seen.count == 8)
    }

    @Test func aFailedSynchronizationIsNotMadeGoodByALaterOne() throws {
        let disk = ForgetfulDisk(faults: .init(failedSynchronization: 2))
        let file = try write([UInt8](repeating: 1, count: 9000), to: "a", on: disk, isSynchronized: true)
        let news = [UInt8](repeating: 2, count: 9000)
        try file.write(news, at: 0)
        #expect(throws: Errno.inputOutput) { try file.synchronizeData() }
        try file.synchronizeData()
        #expect(try contents("a", of: disk) == news)
        #expect(try contents("a", of: disk.crashed(.everything)) != news)
    }

    @Test func aDeadProcessChangesNothingMore() throws {
        let disk = ForgetfulDisk(faults: .init(diesAtChange: 2))
        let file = try write([1], to: "a", on: disk, isSynchronized: false)
        #expect(throws: Errno.inputOutput) { try file.write([2], at: 0) }
        #expect(throws: Errno.inputOutput) { try disk.directory.names() }
        #expect(disk.isDead && disk.changes == 2)
        #expect(try contents("a", of: disk.restarted()) == [1])
    }
}
