import HTTPEngine

/// `application/x-www-form-urlencoded`, with every byte escaped that is not unreserved.
enum FormEncoding {
    static func encode(_ fields: [(name: String, value: String)]) -> [UInt8] {
        Array(
            fields.map { "\(PercentEncoding.segment($0.name))=\(PercentEncoding.segment($0.value))" }
                .joined(separator: "&").utf8
        )
    }
}
