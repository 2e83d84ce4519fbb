/// The content of a gzip file of one or more members; nil when it is malformed or longer than 1 GiB.
///
/// Written here and not taken from zlib: one small use, and the emulators then need no C library for it.
/// Sources: RFC 1951 and RFC 1952. The checksum at the end is not compared.
func gunzipped(_ bytes: [UInt8]) -> [UInt8]? {
    var output: [UInt8] = []
    var index = 0
    while index < bytes.count {
        guard let start = endOfGzipHeader(bytes, index) else { return nil }
        var inflater = Inflater(bytes: bytes, index: start, output: output)
        guard inflater.run(), inflater.index + 8 <= bytes.count else { return nil }
        output = inflater.output
        index = inflater.index + 8
    }
    return bytes.isEmpty ? nil : output
}

private func endOfGzipHeader(_ bytes: [UInt8], _ start: Int) -> Int? {
    guard start + 10 <= bytes.count, bytes[start] == 0x1F, bytes[start + 1] == 0x8B, bytes[start + 2] == 8 else {
        return nil
    }
    let flags = bytes[start + 3]
    var index = start + 10
    if flags & 4 != 0 {
        guard index + 2 <= bytes.count else { return nil }
        index += 2 + Int(bytes[index]) + Int(bytes[index + 1]) << 8
    }
    for flag in [8, 16] as [UInt8] where flags & flag != 0 {
        guard index <= bytes.count, let end = bytes[index...].firstIndex(of: 0) else { return nil }
        index = end + 1
    }
    if flags & 2 != 0 { index += 2 }
    return index <= bytes.count ? index : nil
}

/// Decodes the blocks of one deflate stream.
private struct Inflater {
    /// A canonical Huffman code: how many codes there are of each length, and the symbols in order of their codes.
    struct Code {
        var counts = [Int](repeating: 0, count: 16)
        var symbols: [Int] = []

        init(lengths: some Collection<Int>) {
            for length in lengths { counts[length] += 1 }
            counts[0] = 0
            for length in 1...15 {
                for (symbol, other) in lengths.enumerated() where other == length { symbols.append(symbol) }
            }
        }
    }

    let bytes: [UInt8]
    var index: Int
    var output: [UInt8]
    private var held: UInt32 = 0
    private var heldCount = 0

    init(bytes: [UInt8], index: Int, output: [UInt8]) {
        self.bytes = bytes
        self.index = index
        self.output = output
    }

    /// False when the stream is malformed.
    mutating func run() -> Bool {
        while true {
            guard let isLast = bits(1), let kind = bits(2) else { return false }
            let isWell: Bool
            switch kind {
            case 0: isWell = stored()
            case 1: isWell = block(Self.fixedLiterals, Self.fixedDistances)
            case 2: isWell = dynamic()
            default: return false
            }
            guard isWell, output.count <= 1 << 30 else { return false }
            if isLast == 1 { return true }
        }
    }

    private mutating func bits(_ count: Int) -> Int? {
        while heldCount < count {
            guard index < bytes.count else { return nil }
            held |= UInt32(bytes[index]) << UInt32(heldCount)
            index += 1
            heldCount += 8
        }
        defer {
            held >>= UInt32(count)
            heldCount -= count
        }
        return Int(held & (1 << UInt32(count) - 1))
    }

    private mutating func symbol(_ code: Code) -> Int? {
        var value = 0
        var first = 0
        var start = 0
        for length in 1...15 {
            guard let bit = bits(1) else { return nil }
            value |= bit
            let count = code.counts[length]
            if value - count < first { return code.symbols[start + value - first] }
            start += count
            first = (first + count) << 1
            value <<= 1
        }
        return nil
    }

    private mutating func stored() -> Bool {
        held = 0
        heldCount = 0
        guard index + 4 <= bytes.count else { return false }
        let count = Int(bytes[index]) | Int(bytes[index + 1]) << 8
        index += 4
        guard index + count <= bytes.count else { return false }
        output += bytes[index..<(index + count)]
        index += count
        return true
    }

    private mutating func dynamic() -> Bool {
        guard let literals = bits(5), let distances = bits(5), let codes = bits(4) else { return false }
        let order = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15]
        var lengths = [Int](repeating: 0, count: 19)
        for position in order.prefix(codes + 4) {
            guard let length = bits(3) else { return false }
            lengths[position] = length
        }
        let code = Code(lengths: lengths)
        var all: [Int] = []
        let total = literals + 257 + distances + 1
        while all.count < total {
            guard let symbol = symbol(code) else { return false }
            switch symbol {
            case 0..<16: all.append(symbol)
            case 16:
                guard let last = all.last, let count = bits(2) else { return false }
                all += [Int](repeating: last, count: count + 3)
            default:
                guard let count = bits(symbol == 17 ? 3 : 7) else { return false }
                all += [Int](repeating: 0, count: count + (symbol == 17 ? 3 : 11))
            }
        }
        guard all.count == total else { return false }
        return block(Code(lengths: all[..<(literals + 257)]), Code(lengths: Array(all[(literals + 257)...])))
    }

    private mutating func block(_ literals: Code, _ distances: Code) -> Bool {
        while let symbol = symbol(literals) {
            if symbol < 256 {
                output.append(UInt8(symbol))
                continue
            }
            if symbol == 256 { return true }
            guard symbol - 257 < Self.lengthBase.count, let extra = bits(Self.lengthExtra[symbol - 257]),
                let distanceSymbol = self.symbol(distances), distanceSymbol < Self.distanceBase.count,
                let more = bits(Self.distanceExtra[distanceSymbol])
            else { return false }
            let length = Self.lengthBase[symbol - 257] + extra
            let distance = Self.distanceBase[distanceSymbol] + more
            guard distance <= output.count, output.count + length <= 1 << 30 else { return false }
            for _ in 0..<length { output.append(output[output.count - distance]) }
        }
        return false
    }

    private static let fixedLiterals = Code(
        lengths: (0..<288).map { $0 < 144 ? 8 : $0 < 256 ? 9 : $0 < 280 ? 7 : 8 }
    )
    private static let fixedDistances = Code(lengths: [Int](repeating: 5, count: 30))
    private static let lengthBase = [
        3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227,
        258,
    ]
    private static let lengthExtra = [
        0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0,
    ]
    private static let distanceBase = [
        1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097,
        6145, 8193, 12289, 16385, 24577,
    ]
    private static let distanceExtra = [
        0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13,
    ]
}
