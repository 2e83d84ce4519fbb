import ObjectStorage
import TestSupport
import Testing

@testable import ModelFormats

/// Builds files in the formats, as small as they can be.
enum Sample {
    static func number<Value: FixedWidthInteger>(_ value: Value) -> [UInt8] {
        withUnsafeBytes(of: value.littleEndian, Array.init)
    }

    /// A zip of stored members, with ZIP64 records at its end, as torch.save makes them.
    static func archive(members: [Int], hasLongRecords: Bool = true) -> (bytes: [UInt8], starts: [Int], directory: Int)
    {
        var bytes: [UInt8] = []
        var starts: [Int] = []
        for (index, size) in members.enumerated() {
            starts.append(bytes.count)
            bytes += number(UInt32(0x0403_4b50)) + [UInt8](repeating: 0, count: 26) + Array("data/\(index)".utf8)
            bytes += [UInt8](repeating: UInt8(index % 251), count: size)
        }
        let directory = bytes.count
        for (index, size) in members.enumerated() {
            let name = Array("data/\(index)".utf8)
            bytes += number(UInt32(0x0201_4b50)) + [UInt8](repeating: 0, count: 16)
            let isLong = index % 2 == 1
            bytes += number(isLong ? UInt32.max : UInt32(size)) + number(UInt32(size))
            bytes += number(UInt16(name.count)) + number(UInt16(isLong ? 24 : 0)) + [UInt8](repeating: 0, count: 10)
            bytes += number(isLong ? UInt32.max : UInt32(starts[index])) + name
            if isLong {
                bytes += number(UInt16(7)) + number(UInt16(0)) + number(UInt16(1)) + number(UInt16(16))
                bytes += number(UInt64(size)) + number(UInt64(starts[index]))
            }
        }
        let count = bytes.count - directory
        if hasLongRecords {
            let place = bytes.count
            bytes += number(UInt32(0x0606_4b50)) + [UInt8](repeating: 0, count: 36)
            bytes += number(UInt64(count)) + number(UInt64(directory))
            bytes += number(UInt32(0x0706_4b50)) + number(UInt32(0)) + number(UInt64(place)) + number(UInt32(1))
        }
        bytes += number(UInt32(0x0605_4b50)) + [UInt8](repeating: 0, count: 8)
        bytes += number(hasLongRecords ? UInt32.max : UInt32(count))
        bytes += number(hasLongRecords ? UInt32.max : UInt32(directory)) + number(UInt16(0))
        return (bytes, starts, directory)
    }

    static func text(_ value: String) -> [UInt8] { number(UInt64(value.utf8.count)) + Array(value.utf8) }

    /// A GGUF of version 3 with tensors at these offsets, and words in its metadata.
    static func gguf(offsets: [Int], words: Int = 3, data: Int, alignment: UInt32 = 64) -> (
        bytes: [UInt8], dataStart: Int
    ) {
        var bytes = Array("GGUF".utf8) + number(UInt32(3)) + number(UInt64(offsets.count)) + number(UInt64(4))
        bytes += text("general.architecture") + number(UInt32(8)) + text("llama")
        bytes += text("general.alignment") + number(UInt32(4)) + number(alignment)
        bytes += text("tokens") + number(UInt32(9)) + number(UInt32(8)) + number(UInt64(words))
        for word in 0..<words { bytes += text("word \(word)") }
        bytes += text("scores") + number(UInt32(9)) + number(UInt32(6)) + number(UInt64(words))
        bytes += [UInt8](repeating: 0, count: words * 4)
        for (index, offset) in offsets.enumerated() {
            bytes += text("blk.\(index)") + number(UInt32(2)) + number(UInt64(4)) + number(UInt64(4))
            bytes += number(UInt32(0)) + number(UInt64(offset))
        }
        let dataStart = (bytes.count + Int(alignment) - 1) / Int(alignment) * Int(alignment)
        bytes += [UInt8](repeating: 0, count: dataStart - bytes.count + data)
        return (bytes, dataStart)
    }
}

struct ArchiveTests {
    @Test(arguments: [true, false])
    func theDirectoryTellsWhereMembersBegin(hasLongRecords: Bool) throws {
        let (bytes, starts, directory) = Sample.archive(members: [10, 5000, 7], hasLongRecords: hasLongRecords)
        let plan = try #require(
            Reading.plan(.torchArchive, size: bytes.count) { Array(bytes[$0.offset..<$0.end]) }
        )
        #expect(plan.pieceEnds == Array(starts.dropFirst()) + [directory, bytes.count])
        #expect(plan.pinned.first?.offset == 0 && plan.pinned.last?.end == bytes.count)
    }

    @Test func aLongDirectoryIsReadInAStepOfItsOwn() throws {
        let (bytes, starts, directory) = Sample.archive(members: [Int](repeating: 3, count: 3000))
        var reading = HeaderReading(.torchArchive, size: bytes.count)
        var reads: [ByteRange] = []
        while case .read(let range) = reading.step {
            reads.append(range)
            reading.feed(Array(bytes[range.offset..<range.end]))
        }
        guard case .done(let plan?) = reading.step else { return #expect(Bool(false), "no plan") }
        #expect(reads.count == 2 && reads[0].end == bytes.count && reads[1].offset == directory)
        #expect(plan.pieceEnds.count == starts.count + 1)
        #expect(plan.pinned.last?.offset == directory)
    }

    @Test func ggufTellsWhereTensorsBegin() throws {
        let (bytes, start) = Sample.gguf(offsets: [0, 128, 64], data: 500)
        let plan = try #require(Reading.plan(.gguf, size: bytes.count) { Array(bytes[$0.offset..<$0.end]) })
        #expect(plan.pinned == [ByteRange(offset: 0, count: start)])
        #expect(plan.pieceEnds == [start, start + 64, start + 128, bytes.count])
    }

    @Test func longMetadataIsReadInGrowingSteps() throws {
        let (bytes, start) = Sample.gguf(offsets: [0], words: 40_000, data: 100)
        #expect(start > 600_000)
        var reading = HeaderReading(.gguf, size: bytes.count)
        var reads = 0
        while case .read(let range) = reading.step {
            reads += 1
            reading.feed(Array(bytes[range.offset..<range.end]))
        }
        #expect(reads <= 6)
        guard case .done(let plan) = reading.step else { return }
        #expect(plan?.pieceEnds == [start, bytes.count])
    }

    /// Whatever stands in a file: no trap, and never more than the limit is asked for.
    @Test(arguments: 0..<40 as Range<UInt64>)
    func damagedFilesHaveAPlanInsideOfThemOrNone(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let json = "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},\"__metadata__\":{\"x\":\"y\"}}"
        let safetensors = Sample.number(UInt64(json.utf8.count)) + Array(json.utf8) + [UInt8](repeating: 1, count: 8)
        let samples: [(ModelFormat, [UInt8])] = [
            (.safetensors, safetensors), (.torchArchive, Sample.archive(members: [5, 100, 1, 9]).bytes),
            (.gguf, Sample.gguf(offsets: [0, 64], data: 200).bytes),
        ]
        for (format, sample) in samples {
            for _ in 0..<200 {
                var bytes = sample
                for _ in 0..<Int.random(in: 1...6, using: &random) {
                    let place = Int.random(in: 0..<bytes.count, using: &random)
                    bytes[place] = Bool.random(using: &random) ? 0xFF : UInt8.random(in: 0...255, using: &random)
                }
                if Bool.random(using: &random) {
                    bytes.removeLast(Int.random(in: 0..<bytes.count, using: &random))
                }
                if bytes.isEmpty { continue }
                _ = Reading.plan(format, size: bytes.count) { Array(bytes[$0.offset..<$0.end]) }
            }
        }
    }

    @Test(arguments: 0..<40 as Range<UInt64>)
    func nonsenseHasNoPlanOrOneInsideOfTheFile(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        for format in ModelFormat.allCases {
            let size = Int.random(in: 1...1 << 20, using: &random)
            _ = Reading.plan(format, size: size) { random.bytes($0.count) }
        }
    }
}
