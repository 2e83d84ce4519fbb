import Checksums
import FoundationEssentials

/// What every JSON record under `.penstock/` starts from.
protocol SealedContent: Codable {
    /// What it is, for errors.
    static var subject: String { get }
    /// The newest format this Penstock reads, and the one it writes.
    static var currentVersion: Int { get }
    /// The most bytes one may have, seal included.
    static var maximumBytes: Int { get }
    var formatVersion: Int { get }
}

/// JSON that proves itself.
///
/// The content is one JSON object in one form: sorted keys, no white space. Its last member, put behind the others, is
/// `sha256`: the SHA-256 of the object without that member. So the hash is checked on the bytes as they are, before
/// any of them is parsed, and any tool can check it: drop the last 78 bytes, add `}`, hash. Every later format keeps
/// this seal, so that a flipped bit in the version is not taken for a newer format.
enum SealedDocument {
    private static let opening = Array(#","sha256":""#.utf8)
    private static let closing = Array("\"}\n".utf8)
    private static let sealLength = opening.count + 64 + closing.count

    static func encode<Content: SealedContent>(_ content: Content) throws(ManifestError) -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        var bytes: [UInt8]
        do { bytes = Array(try encoder.encode(content)) } catch {
            throw ManifestError(.invalid, Content.subject, "cannot be written as JSON")
        }
        let digest = SHA256Digest.of(bytes)
        bytes.removeLast()
        bytes += opening + Array(digest.description.utf8) + closing
        if bytes.count > Content.maximumBytes { throw tooLarge(Content.self, bytes.count) }
        return bytes
    }

    static func decode<Content: SealedContent>(
        _ type: Content.Type,
        from bytes: [UInt8]
    ) throws(ManifestError) -> Content {
        if bytes.count > Content.maximumBytes { throw tooLarge(Content.self, bytes.count) }
        let json = try unsealed(bytes, Content.subject)
        let decoder = JSONDecoder()
        do {
            let content = try decoder.decode(Content.self, from: json)
            if content.formatVersion == Content.currentVersion { return content }
            throw unknownVersion(Content.self, content.formatVersion)
        } catch let error as ManifestError {
            throw error
        } catch {
            // A format that is not ours may well not have our members.
            if let header = try? decoder.decode(Header.self, from: json), header.formatVersion != Content.currentVersion
            {
                throw unknownVersion(Content.self, header.formatVersion)
            }
            throw ManifestError(.invalid, Content.subject, complaint(about: error))
        }
    }

    /// The content without its seal, after the seal was found to be right.
    private static func unsealed(_ bytes: [UInt8], _ subject: String) throws(ManifestError) -> Data {
        guard bytes.count > sealLength + 1, bytes.first == UInt8(ascii: "{"), bytes.suffix(3).elementsEqual(closing),
            bytes.suffix(sealLength).starts(with: opening)
        else {
            throw ManifestError(
                .damaged,
                subject,
                "does not end in its own checksum: it was cut short, edited, or is something else"
            )
        }
        let content = bytes.dropLast(sealLength) + CollectionOfOne(UInt8(ascii: "}"))
        let stated = bytes.dropLast(closing.count).suffix(64)
        guard SHA256Digest.of(Array(content)).description.utf8.elementsEqual(stated) else {
            throw ManifestError(.damaged, subject, "its content does not match its own SHA-256: it was changed")
        }
        return Data(content)
    }

    private struct Header: Decodable { let formatVersion: Int }

    private static func unknownVersion<Content: SealedContent>(_ type: Content.Type, _ version: Int) -> ManifestError {
        version > Content.currentVersion
            ? .newer(Content.subject, version: version, known: Content.currentVersion)
            : ManifestError(.invalid, Content.subject, "has the format version \(version), which never was")
    }

    private static func tooLarge<Content: SealedContent>(_ type: Content.Type, _ count: Int) -> ManifestError {
        ManifestError(.tooLarge, Content.subject, "has \(count) bytes; at most \(Content.maximumBytes) are accepted")
    }

    private static func complaint(about error: any Error) -> String {
        guard let error = error as? DecodingError else { return "is not the JSON it should be" }
        switch error {
        case .keyNotFound(let key, let context): return "\(place(context.codingPath + [key])) is missing"
        case .typeMismatch(_, let context): return "\(place(context.codingPath)) has the wrong type"
        case .valueNotFound(_, let context): return "\(place(context.codingPath)) is null"
        case .dataCorrupted(let context):
            return context.codingPath.isEmpty
                ? "is not valid JSON" : "\(place(context.codingPath)) has a value that is not allowed"
        @unknown default: return "is not the JSON it should be"
        }
    }

    private static func place(_ path: [any CodingKey]) -> String {
        let steps = path.map { key in key.intValue.map { "[\($0)]" } ?? ".\(key.stringValue)" }
        return quoted(String(steps.joined().drop { $0 == "." }))
    }
}
