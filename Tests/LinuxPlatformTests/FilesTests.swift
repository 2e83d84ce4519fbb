import Glibc
import LinuxPlatform
import TestSupport
import Testing

struct FilesTests {
    @Test("a durable file is replaced whole, and leaves nothing beside it")
    func durableReplace() throws {
        let directory = try TemporaryDirectory()
        let path = directory.appending("x")
        try DurableFile.replace(path, [1, 2, 3], mode: 0o600)
        let first = try FileDescriptor(path: path, flags: O_RDONLY)
        try DurableFile.replace(path, [4], mode: 0o600)
        #expect(try DurableFile.read(path, limit: 10) == [4])
        #expect(try first.size() == 3, "who has the old one open keeps it")
        #expect(try FileDescriptor(path: path, flags: O_RDONLY).status().mode == 0o600)
        let folder = try FileDescriptor(path: directory.path, flags: O_RDONLY)
        #expect(try folder.entries().map(\.name) == ["x"])
    }

    @Test("a replacement that fails changes nothing and leaves nothing")
    func failedReplace() throws {
        let directory = try TemporaryDirectory()
        let path = directory.appending("x")
        try DirectoryTree.make(path)
        #expect(throws: Errno.isDirectory) { try DurableFile.replace(path, [1]) }
        #expect(throws: Errno.noEntry) { try DurableFile.replace(directory.appending("none/x"), [1]) }
        let folder = try FileDescriptor(path: directory.path, flags: O_RDONLY)
        #expect(try folder.entries().map(\.name) == ["x"])
    }

    @Test("a file is read within its limit only", arguments: [0, 1, 4096, 5000])
    func limitedRead(size: Int) throws {
        let directory = try TemporaryDirectory()
        let path = directory.appending("x")
        try DurableFile.replace(path, [UInt8](repeating: 1, count: size))
        #expect(try DurableFile.read(path, limit: size).count == size)
        if size > 0 { #expect(throws: Errno(EFBIG)) { try DurableFile.read(path, limit: size - 1) } }
    }

    @Test("files without a size, as those of /proc, are read whole, and within the limit")
    func procFiles() throws {
        let status = String(decoding: try DurableFile.read("/proc/self/status", limit: 1 << 16), as: UTF8.self)
        #expect(status.hasPrefix("Name:"))
        #expect(throws: Errno(EFBIG)) { try DurableFile.read("/proc/self/status", limit: 10) }
    }

    @Test("a tree is made once or twice, and removed without leaving it")
    func tree() throws {
        let directory = try TemporaryDirectory()
        try DirectoryTree.make(directory.appending("a/b/c"))
        try DirectoryTree.make(directory.appending("a/b/c"))
        try DurableFile.replace(directory.appending("kept"), [1])
        #expect(symlink(directory.path, directory.appending("a/b/link")) == 0)
        try DurableFile.replace(directory.appending("a/file"), [1])
        #expect(throws: Errno.notDirectory) { try DirectoryTree.make(directory.appending("a/file/x")) }
        try DirectoryTree.remove(directory.appending("a"))
        try DirectoryTree.remove(directory.appending("a"))
        let folder = try FileDescriptor(path: directory.path, flags: O_RDONLY)
        #expect(try folder.entries().map(\.name) == ["kept"])
    }

    @Test("entries and status tell files, directories and links apart")
    func entries() throws {
        let directory = try TemporaryDirectory()
        try DurableFile.replace(directory.appending("file"), [1, 2])
        try DirectoryTree.make(directory.appending("dir"))
        #expect(symlink("file", directory.appending("link")) == 0)
        let folder = try FileDescriptor(path: directory.path, flags: O_RDONLY)
        #expect(Set(try folder.entries().map(\.name)) == ["file", "dir", "link"])
        #expect(try folder.status(of: "file").kind == .regular)
        #expect(try folder.status(of: "file").size == 2)
        #expect(try folder.status(of: "dir").kind == .directory)
        #expect(try folder.status(of: "link").kind == .symbolicLink)
        #expect(throws: Errno.noEntry) { try folder.status(of: "none") }
        let linked = Result { () throws(Errno) in _ = try folder.directory("link") }
        #expect(throws: Errno.notDirectory) { try linked.get() }
    }

    @Test("a copy in the kernel takes the range and nothing else")
    func copy() throws {
        let directory = try TemporaryDirectory()
        var random = SeededRandom(seed: 5)
        let bytes = random.bytes(100_000)
        try DurableFile.replace(directory.appending("a"), bytes)
        let source = try FileDescriptor(path: directory.appending("a"), flags: O_RDONLY)
        let target = try FileDescriptor(path: directory.appending("b"), flags: O_RDWR | O_CREAT)
        try target.write([9, 9, 9], at: 0)
        try target.copy(from: source, offset: 10, count: 90_000, to: 3)
        let copied = try DurableFile.read(directory.appending("b"), limit: 1 << 20)
        #expect(copied == [9, 9, 9] + bytes[10..<90_010])
        let late = Result { () throws(Errno) in try target.copy(from: source, offset: 99_999, count: 2, to: 0) }
        #expect(throws: Errno.inputOutput) { try late.get() }
    }

    @Test("what the kernel cannot copy goes through memory")
    func copyFromProc() throws {
        let directory = try TemporaryDirectory()
        let memory = try MemoryFile(name: "source", size: 8192)
        memory.bytes[5000] = 7
        let target = try FileDescriptor(path: directory.appending("b"), flags: O_RDWR | O_CREAT)
        try target.copy(from: memory.descriptor, count: 8192, to: 0)
        #expect(try DurableFile.read(directory.appending("b"), limit: 8192)[5000] == 7)
    }
}

struct FileLockTests {
    @Test("a lock excludes another opening of the file until it goes")
    func exclusive() throws {
        let directory = try TemporaryDirectory()
        let path = directory.appending("lock")
        let first = try FileLock(path: path, patience: .zero)
        let second = Result { () throws(Errno) in try FileLock(path: path, patience: .zero).unlock() }
        #expect(throws: Errno.timedOut) { try second.get() }
        first.unlock()
        try FileLock(path: path, patience: .zero).unlock()
    }

    @Test("shared locks go together, and keep an exclusive one out")
    func shared() throws {
        let directory = try TemporaryDirectory()
        let path = directory.appending("lock")
        let first = try FileLock(path: path, isExclusive: false, patience: .zero)
        let second = try FileLock(path: path, isExclusive: false, patience: .zero)
        let third = Result { () throws(Errno) in
            try FileLock(try FileDescriptor(path: path, flags: O_RDWR)).unlock()
        }
        #expect(throws: Errno.wouldBlock) { try third.get() }
        first.unlock()
        second.unlock()
    }

    @Test("who waits gets the lock when it is free")
    func waiting() async throws {
        let directory = try TemporaryDirectory()
        let path = directory.appending("lock")
        let lock = try FileLock(path: path, patience: .zero)
        let pool = try WorkerPool(name: "lock-test", count: 1)
        let started = Gate()
        async let waited = pool.run {
            started.open()
            return Result { () throws(Errno) in try FileLock(path: path, patience: .seconds(30)).unlock() }
        }
        try started.wait()
        lock.unlock()
        try await waited.get()
        pool.close()
    }
}
