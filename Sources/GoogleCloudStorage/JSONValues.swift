import FoundationEssentials

/// Reads and writes the documents of the JSON API.
enum JSONValues {
    static func decode<Document: Decodable>(_ type: Document.Type, from bytes: [UInt8]) -> Document? {
        try? JSONDecoder().decode(type, from: Data(bytes))
    }

    static func encode(_ document: some Encodable) -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        // Only non-finite numbers make the encoder throw, and these documents hold strings and integers.
        guard let data = try? encoder.encode(document) else {
            preconditionFailure("a document of strings and integers")
        }
        return Array(data)
    }
}

/// A 64-bit number: a string in Google's JSON, a number in some emulators'.
struct Integer64: Decodable, Sendable {
    let value: Int64

    init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        if let number = try? container.decode(Int64.self) {
            value = number
            return
        }
        guard let number = Int64(try container.decode(String.self)) else {
            throw DecodingError.dataCorruptedError(in: container, debugDescription: "not an integer")
        }
        value = number
    }
}
