import Glibc
import LinuxPlatform
import TestSupport
import Testing

@testable import BlockCache

struct BackingFileTests {
    private final class OneFile: BackingSource {
        let file: BackingFile
        init(_ file: BackingFile) { self.file = file }
        func backing() -> BackingFile? { file }
    }

    @Test func aContentWithoutADiskHasNone() {
        #expect(CachedContent.silent(size: 10).backing() == nil)
    }

    @Test func aContentShowsTheFileThatItsDiskHas() throws {
        let memory = try MemoryFile(name: "backing", size: 10)
        let file = BackingFile(FileDescriptor(owning: dup(memory.descriptor.rawValue)), size: 10)
        let source = SilentSource(size: 10)
        let content = CachedContent(source: source, checks: .whole(nil), backing: OneFile(file))
        let shown = try #require(content.backing())
        #expect(shown === file)
        var status = stat()
        #expect(fstat(shown.descriptor, &status) == 0 && Int(status.st_size) == shown.size)
    }
}
