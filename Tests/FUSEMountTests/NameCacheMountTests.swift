import LinuxPlatform
import TestSupport
import Testing

@testable import FUSEMount

/// What the real kernel keeps of names and directories.
@Suite(.serialized) struct NameCacheMountTests {
    private func mounted(_ objects: [String: [UInt8]]) throws -> MountedRig {
        try MountedRig(objects, usesPassthrough: false) { _, _ in nil }
    }

    /// Listings of the rig are believed for ten minutes.
    @Test func aReplacedFileIsFoundAgainBeforeItsListingIsOver() async throws {
        let rig = try mounted(["d/f": [1, 2, 3], "d/g": [4]])
        let look = "print(sorted((n, os.stat(root + '/d/' + n).st_size) for n in os.listdir(root + '/d')))"
        #expect(try await rig.python(look) == "[('f', 3), ('g', 1)]")
        try rig.bucket.plant("d/f", [7, 8])
        try rig.bucket.plant("d/new", [])
        #expect(try await rig.python(look) == "[('f', 3), ('g', 1)]", "it is believed")
        let said = try await rig.python(
            """
            import errno, time
            try:
                print(open(root + "/d/f", "rb").read())
            except OSError as error:
                print(errno.errorcode[error.errno])
            # The kernel is told by a thread of its own.
            end = time.monotonic() + 60
            while os.stat(root + "/d/f").st_size != 2 and time.monotonic() < end: time.sleep(0.01)
            print(open(root + "/d/f", "rb").read(), sorted(os.listdir(root + "/d")))
            """
        )
        #expect(said == "ESTALE\nb'\\x07\\x08' ['f', 'g', 'new']")
    }

    @Test func aLinkOfAWritableMountIsALinkHere() async throws {
        let rig = try mounted(["step-3/f": [1, 2, 3]])
        try rig.bucket.plant("last", [], metadata: ["penstock-link": "step-3"])
        let said = try await rig.python(
            """
            import os, stat
            found = {entry.name: entry.is_symlink() for entry in os.scandir(root)}
            status = os.lstat(root + "/last")
            print(found, os.readlink(root + "/last"), stat.S_ISLNK(status.st_mode), status.st_size)
            print(open(root + "/last/f", "rb").read())
            """
        )
        #expect(said == "{'last': True, 'step-3': False} step-3 True 6\nb'\\x01\\x02\\x03'")
    }

    /// coreutils' ls asks for the ACL of every file unless it hears that there are none here.
    @Test func thereAreNoACLsAndOtherAttributesAreAbsent() async throws {
        let rig = try mounted(["f": [1]])
        let said = try await rig.python(
            """
            import errno
            for name in ["system.posix_acl_access", "security.selinux", "user.none"]:
                try: os.getxattr(root + "/f", name)
                except OSError as error: print(errno.errorcode[error.errno])
            """
        )
        #expect(said == "ENOTSUP\nENOTSUP\nENODATA")
    }

    @Test func aLargeDirectoryIsWholeTheFirstAndTheSecondTime() async throws {
        var objects: [String: [UInt8]] = [:]
        for number in 0..<3000 { objects["d/a-name-that-is-not-so-short-\(number)"] = [] }
        let rig = try mounted(objects)
        let said = try await rig.python(
            """
            for _ in range(3):
                names = [entry.name for entry in os.scandir(root + "/d") if entry.is_file()]
                print(len(names), len(set(names)))
            """
        )
        #expect(said == "3000 3000\n3000 3000\n3000 3000")
    }

    @Test func aWalkSeesEveryFileOfEveryDirectory() async throws {
        var objects: [String: [UInt8]] = [:]
        for number in 0..<400 { objects["a\(number % 7)/b\(number % 20)/f\(number)"] = [] }
        let rig = try mounted(objects)
        let said = try await rig.python("print(sum(len(files) for _, _, files in os.walk(root)))")
        #expect(said == "400")
    }
}
