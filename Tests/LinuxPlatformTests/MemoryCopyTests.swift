import LinuxPlatform
import Testing

/// Every length around the lines of the copy, at every way the two may lie: exactly those bytes arrive, no others change.
@Test func copiesExactlyTheBytes() {
    let source = (0..<600).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ 7) }
    for count in [0, 1, 15, 16, 63, 64, 65, 127, 128, 129, 500] {
        for (from, to) in [(0, 0), (1, 0), (0, 1), (16, 0), (0, 16), (13, 50)] {
            var target = [UInt8](repeating: 0xEE, count: 600)
            var expected = target
            expected.replaceSubrange(to..<(to + count), with: source[from..<(from + count)])
            source.withUnsafeBytes { source in
                target.withUnsafeMutableBytes { target in
                    UnsafeMutableRawBufferPointer(rebasing: target[to...])
                        .copyDisjoint(from: UnsafeRawBufferPointer(rebasing: source[from..<(from + count)]))
                }
            }
            #expect(target == expected, "\(count) bytes from \(from) to \(to)")
        }
    }
}
