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
