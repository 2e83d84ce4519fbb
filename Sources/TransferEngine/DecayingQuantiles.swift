// Quantiles of a stream of positive numbers whose distribution drifts.
//
// A histogram over powers of two, each cut into eight: a quantile is right to about 9 %, whatever the distribution, in a
// fixed 2 KiB. After every `memory` samples all weights are halved, so that what was seen long ago counts less and less.

/// What most of the latest values were below. No clock, no locks.
package struct DecayingQuantiles: Sendable {
    private static let stepsPerOctave = 8
    private static let octaves = 32

    private let smallest: Double
    private let memory: Double
    private var weights = [Double](repeating: 0, count: octaves * stepsPerOctave)
    private var total = 0.0
    private var sinceHalving = 0.0
    /// Values added so far, however long ago.
    package private(set) var count = 0

    /// - Parameters:
    ///   - smallest: values below it count as it; those above 2^32 of it as that.
    ///   - memory: after so many values those before them count half.
    package init(smallest: Double, memory: Int = 256) {
        precondition(smallest > 0 && memory > 0)
        self.smallest = smallest
        self.memory = Double(memory)
    }

    /// Adds a value; what is no number is left out.
    package mutating func add(_ value: Double) {
        guard value.isFinite else { return }
        weights[Self.step(value / smallest)] += 1
        total += 1
        count += 1
        sinceHalving += 1
        guard sinceHalving >= memory else { return }
        sinceHalving = 0
        total /= 2
        for index in weights.indices { weights[index] /= 2 }
    }

    /// The value that the share `rank` (0 to 1) of the values does not exceed, rounded up by at most 9 %; nil without any.
    package func quantile(_ rank: Double) -> Double? {
        guard count > 0 else { return nil }
        let wanted = min(max(rank, 0), 1) * total
        var sum = 0.0
        var last = 0
        for (index, weight) in weights.enumerated() where weight > 0 {
            sum += weight
            last = index
            if sum >= wanted { break }
        }
        return smallest * Self.upperBound(of: last)
    }

    private static func step(_ ratio: Double) -> Int {
        guard ratio > 1 else { return 0 }
        let octave = min(ratio.exponent, octaves - 1 as Double.Exponent)
        // The significand is in [1, 2): equal steps of it, finer than equal ratios at the upper end.
        let inside =
            octave < ratio.exponent ? stepsPerOctave - 1 : Int((ratio.significand - 1) * Double(stepsPerOctave))
        return min(Int(octave) * stepsPerOctave + inside, octaves * stepsPerOctave - 1)
    }

    private static func upperBound(of step: Int) -> Double {
        let octave = Double(sign: .plus, exponent: step / stepsPerOctave, significand: 1)
        return octave * (1 + Double(step % stepsPerOctave + 1) / Double(stepsPerOctave))
    }
}
