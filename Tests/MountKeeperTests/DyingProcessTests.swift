import Testing

@testable import MountKeeper

@Suite struct DyingProcessTests {
    @Test(arguments: [
        ("12 (penstock) Z 1 12 12 0", true), ("12 (penstock) S 1 12 12 0", false), ("12 (a) Z (b) R 1 2", false),
        ("12 (a) R (b) Z 1 2", true), ("", false), ("12 (penstock)", false), (")", false),
    ])
    func theStateStandsBehindTheName(line: String, isDying: Bool) {
        #expect(DyingProcess.isDying(Array(line.utf8)) == isDying)
    }
}
