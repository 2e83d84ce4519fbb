package import Checksums

/// The CRC32Cs of runs of a file's bytes, as the application wrote them: the proof of what is read back later.
///
/// Runs are sorted and disjoint. Those that touch are joined within a part, so a part that was written once, in any
/// order, has one run in the end. Bytes without a run are not wrong, only unproven.
package struct ChecksumRuns: Hashable, Sendable {
    package struct Run: Hashable, Sendable {
        package var range: Range<Int>
        package var crc32c: CRC32C
    }

    /// Runs that a file may have; a file that is written in smaller pieces than these allow is proven in part.
    package static let limit = 16_384

    package private(set) var runs: [Run] = []
    package let layout: PartLayout

    package init(layout: PartLayout) { self.layout = layout }

    private func index(endingAfter offset: Int) -> Int {
        var (low, high) = (0, runs.count)
        while low < high {
            let middle = (low + high) / 2
            if runs[middle].range.upperBound <= offset { low = middle + 1 } else { high = middle }
        }
        return low
    }

    /// Forgets every run that has a byte of the range: a CRC cannot be taken apart.
    package mutating func remove(_ range: Range<Int>) {
        if range.isEmpty { return }
        let first = index(endingAfter: range.lowerBound)
        var last = first
        while last < runs.count, runs[last].range.lowerBound < range.upperBound { last += 1 }
        runs.removeSubrange(first..<last)
    }

    /// Whether a run has a byte of the range.
    package func hasRun(in range: Range<Int>) -> Bool {
        let index = index(endingAfter: range.lowerBound)
        return index < runs.count && runs[index].range.lowerBound < range.upperBound
    }

    /// Takes note of bytes that were just written.
    ///
    /// - Parameter pieces: one checksum for each part that the bytes lie in, in order, as `pieces(of:at:layout:)` makes them.
    package mutating func insert(_ pieces: [Run]) {
        for piece in pieces where !piece.range.isEmpty {
            remove(piece.range)
            var index = index(endingAfter: piece.range.lowerBound)
            var run = piece
            if index > 0, canJoin(runs[index - 1].range, run.range) {
                index -= 1
                run = Self.joined(runs.remove(at: index), run)
            }
            if index < runs.count, canJoin(run.range, runs[index].range) {
                run = Self.joined(run, runs.remove(at: index))
            }
            if runs.count < Self.limit { runs.insert(run, at: index) }
        }
    }

    private func canJoin(_ left: Range<Int>, _ right: Range<Int>) -> Bool {
        left.upperBound == right.lowerBound && layout.part(at: left.lowerBound) == layout.part(at: right.lowerBound)
    }

    private static func joined(_ left: Run, _ right: Run) -> Run {
        Run(
            range: left.range.lowerBound..<right.range.upperBound,
            crc32c: left.crc32c.combine(with: right.crc32c, count: right.range.count)
        )
    }

    /// Of exactly these bytes; nil when they are not proven as a row of whole runs and holes.
    ///
    /// - Parameter holes: bytes that are zeros, though nobody wrote them.
    package func checksum(of range: Range<Int>, holes: [Range<Int>] = []) -> CRC32C? {
        var crc32c = CRC32C.empty
        var position = range.lowerBound
        var hole = holes.startIndex
        var index = index(endingAfter: position)
        while position < range.upperBound {
            while hole < holes.count, holes[hole].upperBound <= position { hole += 1 }
            if hole < holes.count, holes[hole].contains(position) {
                let end = min(holes[hole].upperBound, range.upperBound)
                crc32c = crc32c.combine(with: .zeros(end - position), count: end - position)
                position = end
            } else if index < runs.count, runs[index].range.lowerBound == position,
                runs[index].range.upperBound <= range.upperBound
            {
                crc32c = crc32c.combine(with: runs[index].crc32c, count: runs[index].range.count)
                position = runs[index].range.upperBound
                index += 1
            } else {
                return nil
            }
        }
        return crc32c
    }

    /// The checksums of bytes that go to `offset`, one for each part that they lie in.
    package static func pieces(of bytes: UnsafeRawBufferPointer, at offset: Int, layout: PartLayout) -> [Run] {
        let whole = offset..<(offset + bytes.count)
        return layout.parts(of: whole).map { part in
            let range = layout.range(of: part).clamped(to: whole)
            let piece = bytes[(range.lowerBound - offset)..<(range.upperBound - offset)]
            return Run(range: range, crc32c: .of(UnsafeRawBufferPointer(rebasing: piece)))
        }
    }
}

extension CRC32C {
    /// Of so many zeros, without looking at any.
    package static func zeros(_ count: Int) -> CRC32C {
        var (result, length) = (CRC32C.empty, 0)
        var (power, powerLength) = (CRC32C.of([0]), 1)
        var rest = count
        while rest > 0 {
            if rest & 1 == 1 {
                result = result.combine(with: power, count: powerLength)
                length += powerLength
            }
            rest >>= 1
            if rest > 0 {
                power = power.combine(with: power, count: powerLength)
                powerLength *= 2
            }
        }
        return result
    }
}
