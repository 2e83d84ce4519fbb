/// Fault rules as JSON, as `POST /_emulator/faults` takes them. docs/EMULATOR.md shows every member.
extension FaultRule {
    /// - Throws: a sentence that says which member is wrong.
    package init(json: JSONValue) throws(InvalidRule) {
        try checkMembers(
            of: json,
            [
                "server", "method", "path", "pathRegex", "header", "nth", "times", "probability", "seed", "action",
            ]
        )
        guard let action = json["action"], action.members != nil else { throw InvalidRule("action is missing") }
        self.init(try FaultActions(json: action), method: json["method"]?.text, path: json["path"]?.text)
        server = json["server"]?.text
        if let source = json["pathRegex"]?.text {
            guard let pattern = PathPattern(source) else { throw InvalidRule("pathRegex is no regular expression") }
            self.pattern = pattern
        }
        if let header = json["header"] {
            guard let name = header["name"]?.text else { throw InvalidRule("header needs name and contains") }
            self.header = (name, header["contains"]?.text ?? "")
        }
        nth = try json.count("nth") ?? 1
        // Null means every one from the nth on.
        times = json["times"] == .null ? nil : try json.count("times") ?? 1
        if let value = json["probability"] {
            guard let share = value.double, (0...1).contains(share) else {
                throw InvalidRule("probability must be from 0 to 1")
            }
            probability = share
        }
        seed = UInt64(try json.count("seed") ?? 0)
    }

    /// Why a rule was not taken.
    package struct InvalidRule: Error, CustomStringConvertible {
        package let description: String
        init(_ description: String) { self.description = description }
    }
}

extension FaultActions {
    init(json: JSONValue) throws(FaultRule.InvalidRule) {
        try checkMembers(
            of: json,
            [
                "status", "body", "contentType", "headers", "latencyMilliseconds", "bytesPerSecond", "stallAt",
                "stallMilliseconds", "truncateAt", "reset", "flipSentByte", "loseReply", "flipReceivedByte",
                "resetAfterReceiving", "receiveBytesPerSecond", "acknowledgeAtMost", "expireSession", "emptyPage",
                "ignoreRange", "wrongBody", "contentRange", "dropHeaders", "replaceHeaders",
            ]
        )
        self.init()
        if let status = try json.count("status") {
            var answer = Answer(HTTPStatus(status), body: json["body"]?.text ?? "")
            if let type = json["contentType"]?.text { answer.contentType = type }
            for (name, value) in json["headers"]?.members ?? [:] { answer.headers[name] = value.text }
            self.answer = answer
        }
        try readWire(json)
        try readService(json)
        for name in json["dropHeaders"]?.elements ?? [] { dropHeaders.append(name.text ?? "") }
        for (name, value) in json["replaceHeaders"]?.members ?? [:] { replaceHeaders[name] = value.text }
        replaceHeaders["Content-Range"] = json["contentRange"]?.text ?? replaceHeaders["Content-Range"]
    }

    private mutating func readWire(_ json: JSONValue) throws(FaultRule.InvalidRule) {
        send.latency = .milliseconds(try json.count("latencyMilliseconds") ?? 0)
        send.bytesPerSecond = try json.count("bytesPerSecond")
        send.stallAt = try json.count("stallAt")
        send.stall = .milliseconds(try json.count("stallMilliseconds") ?? 0)
        send.truncateAt = try json.count("truncateAt")
        send.resets = json["reset"] == true
        send.flipBitAt = try json.count("flipSentByte")
        send.losesReply = json["loseReply"] == true
        receive.flipBitAt = try json.count("flipReceivedByte")
        receive.resetAt = try json.count("resetAfterReceiving")
        receive.bytesPerSecond = try json.count("receiveBytesPerSecond")
    }

    private mutating func readService(_ json: JSONValue) throws(FaultRule.InvalidRule) {
        service.acknowledgeAtMost = try json.count("acknowledgeAtMost")
        service.expiresSession = try json.count("expireSession").map { HTTPStatus($0) }
        service.emptyPage = json["emptyPage"] == true
        ignoresRange = json["ignoreRange"] == true
        if let name = json["wrongBody"]?.text {
            guard let wrong = WrongBody(rawValue: name) else {
                throw FaultRule.InvalidRule("wrongBody must be html, gzip or empty")
            }
            wrongBody = wrong
        }
    }
}

extension JSONValue {
    /// A whole number that is not negative; nil when the member is missing.
    fileprivate func count(_ name: String) throws(FaultRule.InvalidRule) -> Int? {
        guard let value = self[name] else { return nil }
        guard let number = value.int64, number >= 0 else {
            throw FaultRule.InvalidRule("\(name) must be a whole number that is not negative")
        }
        return Int(number)
    }
}

/// A misspelt member would be a fault that never happens, and a test that proves nothing.
private func checkMembers(of json: JSONValue, _ known: Set<String>) throws(FaultRule.InvalidRule) {
    guard let members = json.members else { throw FaultRule.InvalidRule("a rule must be an object") }
    for name in members.keys.sorted() where !known.contains(name) {
        throw FaultRule.InvalidRule("\(name) is not a member of a fault rule")
    }
}
