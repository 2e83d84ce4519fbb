import TestSupport
import Testing

@testable import FUSEMount

struct MountTableTests {
    private let text = """
        22 1 253:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
        35 22 0:31 / /run/user rw,nosuid - tmpfs tmpfs rw,size=1k
        36 22 0:52 / /mnt/with\\040space\\134 ro,nosuid shared:3 master:7 - fuse.penstock penstock ro,user_id=0
        37 22 0:53 / /mnt/with\\040space\\134 ro - ext4 /dev/other rw
        """

    @Test func linesAreRead() {
        let table = MountTable(parsing: text)
        #expect(table.entries.map(\.type) == ["ext4", "tmpfs", "fuse.penstock", "ext4"])
        #expect(table.entries[2].mountPoint == "/mnt/with space\\")
        #expect(table.entries[2].device == "0:52")
        #expect(table.entries[2].source == "penstock")
    }

    @Test func theLastMountAtAPlaceIsOnTop() {
        let table = MountTable(parsing: text)
        #expect(table.top(at: "/mnt/with space\\")?.source == "/dev/other")
        #expect(table.top(at: "/mnt") == nil)
    }

    @Test func aPathIsShownByTheLongestMountAboveIt() {
        let table = MountTable(
            parsing: text
                + "\n38 36 0:52 /onnx/a /srv/bound ro - fuse.penstock penstock ro\n39 22 0:1 / /srv ro - tmpfs t ro"
        )
        #expect(table.mount(of: "/mnt/with space\\/a/b")?.source == "/dev/other")
        #expect(table.mount(of: "/mnt/with spaces")?.mountPoint == "/")
        #expect(table.mount(of: "/run/user")?.type == "tmpfs")
        #expect(table.mount(of: "/run/username")?.mountPoint == "/")
        #expect(table.mount(of: "/srv/bound/model")?.root == "/onnx/a")
        #expect(table.mount(of: "/")?.mountPoint == "/")
        #expect(MountTable(parsing: "").mount(of: "/x") == nil)
    }

    @Test(arguments: 0..<200 as Range<UInt64>)
    func damagedLinesAreLeftOut(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var bytes = Array(text.utf8)
        for _ in 0..<Int.random(in: 1...20, using: &random) {
            let index = Int.random(in: 0..<bytes.count, using: &random)
            if Bool.random(using: &random) {
                bytes.remove(at: index)
            } else {
                bytes[index] = UInt8.random(in: 0...255, using: &random)
            }
        }
        let table = MountTable(parsing: String(decoding: bytes, as: UTF8.self))
        #expect(table.entries.count <= text.utf8.count)
    }

    @Test func ourOwnTableIsReadable() throws {
        #expect(try MountTable.current().top(at: "/") != nil || !MountTable.current().entries.isEmpty)
    }
}
