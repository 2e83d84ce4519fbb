import FoundationEssentials

/// Reads and writes the small JSON documents of token servers and credential files.
enum JSONText {
    /// Nil when the bytes are not such a document.
    static func decode<Document: Decodable>(_ type: Document.Type, from bytes: [UInt8]) -> Document? {
        try? snakeCaseDecoder().decode(type, from: Data(bytes))
    }

    /// `expires_in` fills `expiresIn`.
    private static func snakeCaseDecoder() -> JSONDecoder {
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        return decoder
    }

    /// A document with keys in a fixed order.
    static func encode(_ document: some Encodable) -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        // Only non-finite numbers make the encoder throw, and these documents hold strings and integers.
        guard let data = try? encoder.encode(document) else {
            preconditionFailure("a document of strings and integers")
        }
        return Array(data)
    }

    /// The text at `field` of an object, whatever else the object holds.
    static func text(at field: String, in bytes: [UInt8]) -> String? {
        struct Key: CodingKey {
            let stringValue: String
            var intValue: Int? { nil }
            init(stringValue: String) { self.stringValue = stringValue }
            init?(intValue: Int) { nil }
        }
        struct Document: Decodable {
            var texts: [String: String] = [:]
            init(from decoder: any Decoder) throws {
                let container = try decoder.container(keyedBy: Key.self)
                for key in container.allKeys {
                    if let text = try? container.decode(String.self, forKey: key) { texts[key.stringValue] = text }
                }
            }
        }
        return (try? JSONDecoder().decode(Document.self, from: Data(bytes)))?.texts[field]
    }
}

/// A 64-bit number: a string in Google's JSON, a number in what some servers and emulators send.
package struct LenientInteger: Decodable, Sendable {
    package let value: Int64

    package init(from decoder: any Decoder) throws {
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
