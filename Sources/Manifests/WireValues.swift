import Checksums
import LinuxPlatform
import ObjectStorage

/// Reads the values that records keep as text, with errors that name the record and the place.
struct WireReader {
    let subject: String

    func path(_ text: String, _ place: String) throws(ManifestError) -> SafePath {
        do { return try SafePath(text) } catch { throw ManifestError(.invalid, subject, "\(place): \(error.message)") }
    }

    func sha256(_ text: String, _ place: String) throws(ManifestError) -> SHA256Digest {
        try canonical(SHA256Digest(hex: text), text, place, "a SHA-256 in lower case hexadecimal")
    }

    func sha1(_ text: String, _ place: String) throws(ManifestError) -> SHA1Digest {
        try canonical(SHA1Digest(hex: text), text, place, "a SHA-1 in lower case hexadecimal")
    }

    func crc32c(_ text: String, _ place: String) throws(ManifestError) -> CRC32C {
        try canonical(UInt32(text, radix: 16).map { CRC32C($0) }, text, place, "a CRC32C in 8 hexadecimal digits")
    }

    /// Generations are text in JSON: they pass 2^53, and a JSON number may be read as a double.
    func generation(_ text: String, _ place: String) throws(ManifestError) -> Generation {
        let generation = try canonical(Int64(text).map { Generation($0) }, text, place, "a generation")
        try ManifestRules.checkGeneration(generation, subject, place)
        return generation
    }

    func time(_ text: String, _ place: String) throws(ManifestError) -> UnixTime {
        try canonical(UnixTime(rfc3339: text), text, place, "a time in UTC with milliseconds")
    }

    func operation(_ text: String, _ place: String) throws(ManifestError) -> OperationID {
        try canonical(OperationID(text), text, place, "an operation's id")
    }

    func transfer(_ text: String, _ place: String) throws(ManifestError) -> TransferID {
        try canonical(TransferID(text), text, place, "a transfer's id")
    }

    /// There is one spelling of each value: the one that writing it gives.
    private func canonical<Value: CustomStringConvertible>(
        _ value: Value?,
        _ text: String,
        _ place: String,
        _ kind: String
    ) throws(ManifestError) -> Value {
        guard let value, value.description.utf8.elementsEqual(text.utf8) else {
            throw ManifestError(.invalid, subject, "\(place): \(quoted(text)) is not \(kind)")
        }
        return value
    }

    /// Reads each element, with its index in the errors.
    func list<Wire, Value>(
        _ wires: [Wire],
        _ place: String,
        _ read: (Wire, String) throws(ManifestError) -> Value
    ) throws(ManifestError) -> [Value] {
        var values: [Value] = []
        values.reserveCapacity(wires.count)
        for (index, wire) in wires.enumerated() { values.append(try read(wire, "\(place)[\(index)]")) }
        return values
    }
}
