import TestSupport

extension SeededRandom {
    /// From 0 up to `bound`, which must be positive.
    mutating func below(_ bound: Int) -> Int { Int(next() % UInt64(bound)) }
}
