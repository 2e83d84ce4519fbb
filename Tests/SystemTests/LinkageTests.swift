import Foundation
import Testing

/// What the release programs carry and need: they start on a Debian without Swift, and carry no ICU.
@Suite struct LinkageTests {
    private static let maximumSize = 40 << 20

    @Test(arguments: ["penstock", "penstock-emulator"]) func strippedItIsSmall(program: String) throws {
        let stripped = FileManager.default.temporaryDirectory.appending(path: "penstock-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: stripped) }
        let path = try ReleasePrograms.path(program)
        _ = try ReleasePrograms.output(of: "strip", ["-o", stripped.path, path])
        let size = try #require(try FileManager.default.attributesOfItem(atPath: stripped.path)[.size] as? Int)
        #expect(size <= Self.maximumSize, "\(program): \(size) bytes")
    }

    @Test(arguments: ["penstock", "penstock-emulator"]) func itNeedsNoSwiftAndNoICU(program: String) throws {
        let libraries = try ReleasePrograms.output(of: "ldd", [try ReleasePrograms.path(program)])
        for name in ["libswift", "libFoundation", "libicu", "lib_Foundation", "libBlocksRuntime", "not found"] {
            #expect(!libraries.contains(name), "\(program) needs \(name): \(libraries)")
        }
        #expect(libraries.contains("libc.so"))
    }

    @Test(arguments: ["penstock", "penstock-emulator"]) func noICUIsLinkedIn(program: String) throws {
        let symbols = try ReleasePrograms.output(of: "nm", ["--defined-only", try ReleasePrograms.path(program)])
        #expect(!symbols.contains("ucol_open"))
        #expect(!symbols.contains("icudt"))
    }
}
