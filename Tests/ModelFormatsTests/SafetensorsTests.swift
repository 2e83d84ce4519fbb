import ObjectStorage
import TestSupport
import Testing

@testable import ModelFormats

struct SafetensorsTests {
    /// A file whose header is this JSON, with so many bytes behind it.
    private func head(_ json: String) -> [UInt8] {
        withUnsafeBytes(of: UInt64(json.utf8.count).littleEndian, Array.init) + Array(json.utf8)
    }

    private func planned(_ file: [UInt8], size: Int) -> ReadPlan? {
        Reading.plan(.safetensors, size: size) { Array(file[$0.offset..<min($0.end, file.count)]) + zeros($0, file) }
    }

    private func zeros(_ range: ByteRange, _ file: [UInt8]) -> [UInt8] {
        [UInt8](repeating: 0, count: max(0, range.end - max(range.offset, file.count)))
    }

    @Test func theHeaderTellsWhereTensorsEnd() throws {
        let json = """
            {"__metadata__":{"format":"pt","note":"a \\" in it {["},
             "b":{"dtype":"F16","shape":[2,2],"data_offsets":[8,16]},
             "a" : { "data_offsets" : [0, 8], "dtype":"F32","shape":[2] } }
            """
        let file = head(json)
        let plan = try #require(planned(file, size: file.count + 16))
        #expect(plan.pinned == [ByteRange(offset: 0, count: file.count)])
        #expect(plan.pieceEnds == [file.count, file.count + 8, file.count + 16])
    }

    @Test func aLongHeaderIsReadInTwoSteps() throws {
        let tensors = (0..<5000).map {
            "\"t\($0)\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[\($0),\($0 + 1)]}"
        }
        let file = head("{" + tensors.joined(separator: ",") + "}")
        var reading = HeaderReading(.safetensors, size: file.count + 5000)
        var reads = 0
        while case .read(let range) = reading.step {
            reads += 1
            reading.feed(Array(file[range.offset..<range.end]))
        }
        guard case .done(let plan) = reading.step else { return }
        #expect(reads == 2)
        #expect(plan?.pieceEnds.count == 5001)
    }

    @Test(arguments: [
        "[]", "{", "{\"a\":1}", "{\"a\":{\"data_offsets\":[1]}}", "{\"a\":{\"data_offsets\":[3,2]}}",
        "{\"a\":{\"data_offsets\":[0,1,2]}}", "{\"a\":{\"data_offsets\":[-1,2]}}", "{\"a\":{\"data_offsets\":[0,1e3]}}",
        "{\"a\":{\"data_offsets\":[0,99999999999999999999]}}", "{\"a\":{\"data_offsets\":[0,1000000]}}",
        "{\"a\":{\"x\":" + String(repeating: "[", count: 1000), "",
    ])
    func whatIsNoHeaderHasNoPlan(json: String) {
        let file = head(json)
        #expect(planned(file, size: file.count + 100) == nil)
    }

    @Test func lengthsThatCannotBeAreNoHeader() {
        for length in [UInt64.max, 1 << 63, 100_000_001, 1 << 40, 200] {
            let file = withUnsafeBytes(of: length.littleEndian, Array.init) + [UInt8](repeating: 0x7B, count: 100)
            #expect(planned(file, size: file.count) == nil)
        }
    }

    @Test func aHeaderAboveTheLimitIsNotLookedInto() {
        let file = withUnsafeBytes(of: UInt64(20 << 20).littleEndian, Array.init)
        var asked = 0
        var reading = HeaderReading(.safetensors, size: 1 << 30)
        while case .read(let range) = reading.step {
            asked += range.count
            reading.feed(file + [UInt8](repeating: 0, count: range.count - file.count))
        }
        #expect(reading.step == .done(nil))
        #expect(asked <= 64 << 10)
    }

    @Test func indexesNameTheShardsInTheOrderOfTheirNames() throws {
        let json = """
            {"metadata":{"total_size":5},"weight_map":{"x":"m-00002-of-00002.safetensors",
            "y":"m-00001-of-00002.safetensors","z":"m-00002-of-00002.safetensors"}}
            """
        let order = try ShardOrder(index: Array(json.utf8))
        #expect(order.count == 2)
        #expect(order.next(after: "m-00001-of-00002.safetensors") == "m-00002-of-00002.safetensors")
        #expect(order.next(after: "m-00002-of-00002.safetensors") == nil)
        #expect(order.next(after: "other") == nil)
    }

    @Test(arguments: [
        "{}", "{\"weight_map\":{}}", "{\"weight_map\":{\"a\":\"../b\"}}", "{\"weight_map\":{\"a\":\"\"}}",
        "{\"weight_map\":{\"a\":\"b\\u002fc\"}}", "{\"weight_map\":{\"a\":1}}", "", "null",
    ])
    func whatIsNoIndexIsRefused(json: String) {
        #expect(throws: FormatError.self) { try ShardOrder(index: Array(json.utf8)) }
    }

    @Test func namesTellTheNextShard() {
        #expect(ShardOrder.next(byName: "model-00001-of-00004.safetensors") == "model-00002-of-00004.safetensors")
        #expect(ShardOrder.next(byName: "model-00009-of-00010.safetensors") == "model-00010-of-00010.safetensors")
        #expect(ShardOrder.next(byName: "q-of-5-00001-of-00002.gguf") == "q-of-5-00002-of-00002.gguf")
        #expect(ShardOrder.next(byName: "model-00004-of-00004.safetensors") == nil)
        #expect(ShardOrder.next(byName: "model.safetensors") == nil)
        #expect(ShardOrder.next(byName: "a-of-b") == nil)
        #expect(ShardOrder.next(byName: "__0_0.distcp") == "__1_0.distcp")
        #expect(ShardOrder.next(byName: "__x_0.distcp") == nil)
        #expect(ShardOrder.next(byName: "__-1_0.distcp") == nil)
    }

    @Test func formatsAreKnownByTheirNames() {
        #expect(ModelFormat(name: "model.safetensors") == .safetensors)
        #expect(ModelFormat(name: "x.pt") == .torchArchive)
        #expect(ModelFormat(name: "pytorch_model-00001-of-00002.bin") == .torchArchive)
        #expect(ModelFormat(name: "__0_0.distcp") == .distributedCheckpoint)
        #expect(ModelFormat(name: "q4.gguf") == .gguf)
        #expect(ModelFormat(name: "weights.bin") == nil)
        #expect(ModelFormat(name: "config.json") == nil)
    }
}

/// Drives a reading to its end.
enum Reading {
    static func plan(_ format: ModelFormat, size: Int, _ bytes: (ByteRange) -> [UInt8]) -> ReadPlan? {
        var reading = HeaderReading(format, size: size)
        var asked = 0
        while case .read(let range) = reading.step {
            #expect(range.count > 0 && range.offset >= 0 && range.end <= size)
            asked += range.count
            #expect(asked <= HeaderReading.limit + (64 << 10), "asks for too much")
            reading.feed(bytes(range))
        }
        guard case .done(let plan) = reading.step, let plan else { return nil }
        #expect(plan.pieceEnds == plan.pieceEnds.sorted())
        #expect(plan.pieceEnds.isEmpty || plan.pieceEnds.last == size)
        for range in plan.pinned { #expect(range.offset >= 0 && range.end <= size) }
        return plan
    }
}
