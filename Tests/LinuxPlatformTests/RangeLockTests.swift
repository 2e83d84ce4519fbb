import Glibc
import LinuxPlatform
import TestSupport
import Testing

struct RangeLockTests {
    private let directory: TemporaryDirectory
    private let path: String

    init() throws {
        directory = try TemporaryDirectory()
        path = directory.appending("file")
    }

    private func open() throws(Errno) -> FileDescriptor { try FileDescriptor(path: path, flags: O_RDWR | O_CREAT) }

    @Test func twoOpeningsExcludeEachOtherWhereTheyMeet() throws {
        let first = try open()
        let second = try open()
        #expect(try first.tryLock(3..<5, isExclusive: true))
        #expect(try !second.tryLock(4..<6, isExclusive: true))
        #expect(try second.tryLock(5..<6, isExclusive: true))
        first.unlock(4..<5)
        #expect(try second.tryLock(4..<5, isExclusive: true))
        #expect(try !second.tryLock(3..<4, isExclusive: false))
    }

    @Test func sharedLocksExcludeTheExclusiveOneOnly() throws {
        let first = try open()
        let second = try open()
        let third = try open()
        #expect(try first.tryLock(isExclusive: false))
        #expect(try second.tryLock(isExclusive: false))
        #expect(try !third.tryLock(isExclusive: true))
    }

    @Test func aLockGoesWithItsOpening() throws {
        let second = try open()
        do {
            let first = try open()
            #expect(try first.tryLock(0..<1, isExclusive: true))
            #expect(try !second.tryLock(0..<1, isExclusive: true))
        }
        #expect(try second.tryLock(0..<1, isExclusive: true))
    }

    @Test func aFilesystemTellsItsRoom() throws {
        let file = try open()
        let space = try file.space()
        #expect(space.total > 0 && space.available >= 0 && space.available <= space.total)
    }

    @Test func aHoleTakesNoRoom() throws {
        let file = try open()
        try file.truncate(to: 10 << 20)
        let status = try file.status()
        #expect(status.size == 10 << 20 && status.allocated < 1 << 20)
    }
}
