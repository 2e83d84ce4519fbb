import Emulators
import Foundation
import Testing

extension ConveyanceProof {
    /// Names that trip URLs, globs, shells, XML and file systems: they arrive, are proven, and are read through a mount.
    @Suite struct OddNameTests {
        private static let files = ModelFiles(
            seed: 9,
            [
                "a b.json": 10, "100%.json": 11, "%2e%2e%2fx": 12, "hash#1.txt": 13, "q?x=1&y=2": 14, "a+b": 15,
                #"back\slash"#: 16, "trailing.": 17, "-dash": 18, "~tilde": 19, "[x]*{y}": 20, "semi;colon:at@": 21,
                "quo'te\"": 22, "caf\u{E9}/nfc.bin": 70_000, "cafe\u{301}/nfd.bin": 70_001, "模型/权重.bin": 140_000,
                "\u{1F600}.safetensors": (11 << 20) + 5, "A": 23, "a": 24, String(repeating: "n", count: 255): 25,
                ".gitattributes": 26, "...": 27, "deep/er/and/deep/er": 28, "empty": 0, "a=b,c": 29, " leading": 30,
            ]
        )
        private let servers: EmulatedServers

        init() throws {
            servers = try EmulatedServers()
            try Self.files.write(to: servers.directory(of: "acme/names"))
            servers.hub.warm()
        }

        @Test func allOfThemArriveAndAreRead() async throws {
            let ended = try await servers.run(ConveyanceProof.arguments("acme/names", "names"))
            #expect(ended.status == 0, "\(ended)")
            try await Self.files.expectConveyed(to: servers.bucket, "names")
            let verified = try await servers.run(ConveyanceProof.verify("names"))
            #expect(verified.status == 0 && verified.output.contains("\"unlisted\":0"), "\(verified)")
            let again = try await servers.run(ConveyanceProof.arguments("acme/names", "names"))
            #expect(again.outcome == "unchanged", "\(again)")
            let mount = try await MountedPrefix(servers, "names")
            let read = try mount.contents()
            #expect(Set(read.keys.map { Array($0.utf8) }) == Set(Self.files.contents.keys.map { Array($0.utf8) }))
            for (path, content) in Self.files.contents { #expect(read[path] == content, "\(path)") }
            try await mount.unmount()
        }
    }
}
