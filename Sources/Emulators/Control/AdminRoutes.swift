/// The routes under `/_emulator/` that every server has. docs/EMULATOR.md describes them.
extension EmulatorControl {
    /// Nil when it is none of them.
    func adminResponse(to request: EmulatorRequest) -> EmulatorResponse? {
        switch (request.method, request.target.rawPath) {
        case ("POST", "/_emulator/reset"):
            reset()
            return EmulatorResponse(204)
        case ("POST", "/_emulator/faults"): return addRules(request)
        case ("DELETE", "/_emulator/faults"):
            if let number = request.query("id").flatMap({ Int($0) }) {
                removeRule(number)
            } else {
                for (number, _) in rules { removeRule(number) }
            }
            return EmulatorResponse(204)
        case ("GET", "/_emulator/faults"):
            let matched = ruleCounts.map { number, count -> JSONValue in
                ["id": .integer(Int64(number)), "matched": .integer(Int64(count))]
            }
            return json(200, ["rules": .array(matched)])
        case ("GET", "/_emulator/log"): return logPage(request)
        case ("GET", "/_emulator/media"):
            return json(200, .object(mediaBytes.mapValues { .integer(Int64($0)) }))
        default: return nil
        }
    }

    /// One rule, or an array of them: all are added, or none.
    private func addRules(_ request: EmulatorRequest) -> EmulatorResponse {
        guard let bytes = try? request.body.readAll(limit: 1 << 20), let value = JSONValue(parsing: bytes) else {
            return refusal("the body is no JSON")
        }
        do throws(FaultRule.InvalidRule) {
            var parsed: [FaultRule] = []
            for rule in value.elements ?? [value] { parsed.append(try FaultRule(json: rule)) }
            let numbers = parsed.map { JSONValue.integer(Int64(add($0))) }
            return json(200, ["ids": .array(numbers)])
        } catch {
            return refusal(error.description)
        }
    }

    private func refusal(_ reason: String) -> EmulatorResponse {
        EmulatorResponse(400, text: "Not a fault rule: \(reason).\n")
    }

    private func logPage(_ request: EmulatorRequest) -> EmulatorResponse {
        let after = request.query("after").flatMap { Int($0) } ?? 0
        let requests = log.filter { $0.number > after }.map(\.json)
        return json(200, ["requests": .array(requests)])
    }
}

extension LoggedRequest {
    var json: JSONValue {
        [
            "number": .integer(Int64(number)), "server": .string(server), "method": .string(method),
            "target": .string(target), "headers": .object(headers.mapValues(JSONValue.string)),
            "authorization": authorization.map(JSONValue.string) ?? .null, "status": .integer(Int64(status)),
            "bytesSent": .integer(Int64(bytesSent)), "bytesReceived": .integer(Int64(bytesReceived)),
            "isWhole": .bool(isWhole),
        ]
    }
}
