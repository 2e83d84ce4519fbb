/// Several calls of the JSON API in one `multipart/mixed` body. Source: "Sending batch requests".
struct BatchCall: Sendable {
    let api: StorageAPI
    /// The most calls of a batch.
    private static let callLimit = 100

    func respond(to request: inout EmulatorRequest) -> EmulatorResponse {
        do throws(APIError) {
            guard let boundary = request.headers["Content-Type"].flatMap(boundary(of:)) else {
                throw .invalid("Malformed batch: no boundary.")
            }
            let body = try api.bodyBytes(&request, limit: StorageAPI.jsonLimit)
            let parts = split(body, boundary)
            guard (1...Self.callLimit).contains(parts.count) else {
                throw .invalid("A batch must have from 1 to \(Self.callLimit) calls.")
            }
            var reply: [UInt8] = []
            for part in parts { reply += Array("--batch_emulator\r\n".utf8) + answer(part, origin: request) }
            reply += "--batch_emulator--\r\n".utf8
            return EmulatorResponse(
                .ok,
                headers: ["Content-Type": "multipart/mixed; boundary=batch_emulator"],
                body: .bytes(reply)
            )
        } catch {
            return error.jsonResponse
        }
    }

    private func split(_ body: [UInt8], _ boundary: String) -> [ArraySlice<UInt8>] {
        let delimiter = Array("--\(boundary)".utf8)
        var parts: [ArraySlice<UInt8>] = []
        var partStart: Int?
        var lineStart = 0
        while lineStart < body.count {
            let lineEnd = body[lineStart...].firstIndex(of: 0x0A).map { $0 + 1 } ?? body.count
            if body[lineStart..<lineEnd].starts(with: delimiter) {
                if let partStart { parts.append(body[partStart..<lineStart]) }
                partStart = lineEnd
            }
            lineStart = lineEnd
        }
        return parts
    }

    private func answer(_ part: ArraySlice<UInt8>, origin: EmulatorRequest) -> [UInt8] {
        let (fields, content) = separated(part)
        let identifier = headerValue(fields, "content-id").map { id in
            id.hasPrefix("<") ? "<response-\(id.dropFirst())" : "response-\(id)"
        }
        var (head, body) = separated(content)
        while body.last == 0x0A || body.last == 0x0D { body = body.dropLast() }
        var response = EmulatorResponse(.badRequest)
        if var parsed = parsedRequest(head, body, origin) {
            response = api.respond(to: &parsed) ?? APIError.noRoute.jsonResponse
        }
        var text = "Content-Type: application/http\r\n"
        if let identifier { text += "Content-ID: \(identifier)\r\n" }
        text += "\r\n"
        var reply = Array(text.utf8) + responseHead(response, closes: false)
        // Media is not allowed in a batch: there is nothing but bytes here.
        if case .bytes(let bytes) = response.body, !response.status.forbidsBody { reply += bytes }
        return reply + Array("\r\n".utf8)
    }

    private func parsedRequest(
        _ head: ArraySlice<UInt8>,
        _ body: ArraySlice<UInt8>,
        _ outer: EmulatorRequest
    ) -> EmulatorRequest? {
        // Clients leave the version out of the request line of an inner call.
        var bytes = Array(head)
        let lineEnd = bytes.firstIndex(where: { $0 == 0x0A || $0 == 0x0D }) ?? bytes.count
        if bytes[..<lineEnd].split(separator: 0x20).count == 2 {
            bytes.insert(contentsOf: " HTTP/1.1".utf8, at: lineEnd)
        }
        guard let parsed = try? RequestHead(parsing: bytes[...]) else { return nil }
        var headers = parsed.headers
        headers["Host"] = outer.headers["Host"]
        var request = EmulatorRequest(
            method: parsed.method,
            target: parsed.target,
            headers: headers,
            body: RequestBody(bytes: Array(body))
        )
        request.externalOrigin = outer.externalOrigin
        return request
    }

    /// What stands before and after the first empty line.
    private func separated(_ bytes: ArraySlice<UInt8>) -> (ArraySlice<UInt8>, ArraySlice<UInt8>) {
        var lineStart = bytes.startIndex
        while let newline = bytes[lineStart...].firstIndex(of: 0x0A) {
            if bytes[lineStart..<newline].allSatisfy({ $0 == 0x0D }) {
                return (bytes[..<lineStart], bytes[(newline + 1)...])
            }
            lineStart = newline + 1
        }
        return (bytes, [])
    }

    private func headerValue(_ fields: ArraySlice<UInt8>, _ name: String) -> String? {
        for line in fields.split(separator: 0x0A) {
            guard let colon = line.firstIndex(of: UInt8(ascii: ":")) else { continue }
            if isSame(String(decoding: line[..<colon], as: UTF8.self), name) {
                return trimmed(String(decoding: line[(colon + 1)...].filter { $0 != 0x0D }, as: UTF8.self))
            }
        }
        return nil
    }
}
