import CLinux

/// Random numbers of the kernel, fit for names nobody can guess (getrandom(2)).
package enum RandomBytes {
    /// `count` random bytes.
    package static func make(_ count: Int) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        var done = 0
        while done < count {
            let rest = count - done
            let result = bytes.withUnsafeMutableBytes { buffer in
                clinux_random(buffer.baseAddress.map { $0 + done }, rest)
            }
            // With these arguments the call fails only when a signal comes first.
            if result > 0 { done += result }
        }
        return bytes
    }

    /// 64 random bits.
    package static func number() -> UInt64 { make(8).reduce(0) { $0 << 8 | UInt64($1) } }
}
