import CYAML

/// Builds the tree from libyaml's events, within bounds.
struct YAMLReader: ~Copyable {
    static let maximumBytes = 1 << 20
    static let maximumDepth = 16
    static let maximumNodes = 10_000

    private let parser: YAMLParser
    private let file: String
    private var nodes = 0

    init(_ bytes: [UInt8], file: String) throws(ConfigurationError) {
        if bytes.count > Self.maximumBytes {
            throw ConfigurationError("\(file): has \(bytes.count) bytes; at most \(Self.maximumBytes) are read")
        }
        self.file = file
        parser = YAMLParser(bytes)
    }

    mutating func document() throws(ConfigurationError) -> YAMLNode? {
        guard case .streamStart = try next().kind else { throw failure(1, "is not a YAML stream") }
        let first = try next()
        guard case .documentStart = first.kind else { return nil }
        let root = try node(try next(), depth: 1)
        guard case .documentEnd = try next().kind else { throw failure(root.line, "the document does not end") }
        let rest = try next()
        guard case .streamEnd = rest.kind else { throw failure(rest.line, "has more than one document") }
        if case .scalar(nil) = root.content { return nil }
        return root
    }

    private mutating func node(_ event: YAMLEvent, depth: Int) throws(ConfigurationError) -> YAMLNode {
        nodes += 1
        if nodes > Self.maximumNodes { throw failure(event.line, "has more than \(Self.maximumNodes) values") }
        if depth > Self.maximumDepth { throw failure(event.line, "is nested more than \(Self.maximumDepth) deep") }
        switch event.kind {
        case .scalar(let text, let isPlain):
            let isNull = isPlain && ["", "~", "null", "Null", "NULL"].contains(text)
            return YAMLNode(line: event.line, content: .scalar(isNull ? nil : text))
        case .sequenceStart:
            return YAMLNode(line: event.line, content: .sequence(try elements(depth)))
        case .mappingStart:
            return YAMLNode(line: event.line, content: .mapping(try entries(depth)))
        case .forbidden(let what):
            throw failure(event.line, "\(what) are not allowed")
        default:
            throw failure(event.line, "a value is missing")
        }
    }

    private mutating func elements(_ depth: Int) throws(ConfigurationError) -> [YAMLNode] {
        var elements: [YAMLNode] = []
        while true {
            let event = try next()
            if case .sequenceEnd = event.kind { return elements }
            elements.append(try node(event, depth: depth + 1))
        }
    }

    private mutating func entries(_ depth: Int) throws(ConfigurationError) -> [YAMLNode.Entry] {
        var entries: [YAMLNode.Entry] = []
        var lines: [[UInt8]: Int] = [:]
        while true {
            let event = try next()
            if case .mappingEnd = event.kind { return entries }
            guard case .scalar(let key, _) = event.kind else {
                if case .forbidden(let what) = event.kind { throw failure(event.line, "\(what) are not allowed") }
                throw failure(event.line, "a key is not text")
            }
            if key == "<<" { throw failure(event.line, "merge keys are not allowed") }
            if let earlier = lines.updateValue(event.line, forKey: Array(key.utf8)) {
                throw failure(event.line, "\(quoted(key)) stands already in line \(earlier)")
            }
            let value = try node(try next(), depth: depth + 1)
            entries.append(YAMLNode.Entry(key: key, line: event.line, value: value))
        }
    }

    private func next() throws(ConfigurationError) -> YAMLEvent {
        do { return try parser.next() } catch { throw failure(error.line, error.problem) }
    }

    private func failure(_ line: Int, _ message: String) -> ConfigurationError {
        ConfigurationError("\(file):\(line): \(message)")
    }
}

/// What the parser came across.
struct YAMLEvent {
    enum Kind {
        case streamStart
        case streamEnd
        case documentStart
        case documentEnd
        case scalar(String, isPlain: Bool)
        case sequenceStart
        case sequenceEnd
        case mappingStart
        case mappingEnd
        /// Something that is YAML, and not allowed here.
        case forbidden(String)
    }

    let kind: Kind
    /// From 1.
    let line: Int
}

struct YAMLSyntaxError: Error {
    let line: Int
    let problem: String
}

/// libyaml's event parser over bytes in memory; owns both.
private final class YAMLParser {
    private let parser: UnsafeMutablePointer<yaml_parser_t>
    private let input: UnsafeMutableBufferPointer<UInt8>

    init(_ bytes: [UInt8]) {
        parser = .allocate(capacity: 1)
        input = .allocate(capacity: max(1, bytes.count))
        _ = input.update(fromContentsOf: bytes)
        guard yaml_parser_initialize(parser) == 1 else { fatalError("out of memory") }
        yaml_parser_set_input_string(parser, input.baseAddress, bytes.count)
        yaml_parser_set_encoding(parser, YAML_UTF8_ENCODING)
    }

    deinit {
        yaml_parser_delete(parser)
        parser.deallocate()
        input.deallocate()
    }

    func next() throws(YAMLSyntaxError) -> YAMLEvent {
        var event = yaml_event_t()
        guard yaml_parser_parse(parser, &event) == 1 else {
            let problem = parser.pointee.problem.map { String(cString: $0) } ?? "is not YAML"
            // The reader's errors have no mark but an offset; the parser's mark is then where it stood.
            throw YAMLSyntaxError(line: parser.pointee.problem_mark.line + 1, problem: problem)
        }
        defer { yaml_event_delete(&event) }
        return YAMLEvent(kind: Self.kind(of: event), line: event.start_mark.line + 1)
    }

    private static func kind(of event: yaml_event_t) -> YAMLEvent.Kind {
        switch event.type {
        case YAML_STREAM_START_EVENT: return .streamStart
        case YAML_STREAM_END_EVENT: return .streamEnd
        case YAML_DOCUMENT_START_EVENT: return .documentStart
        case YAML_DOCUMENT_END_EVENT: return .documentEnd
        case YAML_SEQUENCE_END_EVENT: return .sequenceEnd
        case YAML_MAPPING_END_EVENT: return .mappingEnd
        case YAML_ALIAS_EVENT: return .forbidden("aliases")
        case YAML_SCALAR_EVENT:
            let scalar = event.data.scalar
            if let complaint = complaint(anchor: scalar.anchor, tag: scalar.tag) { return complaint }
            let text = UnsafeBufferPointer(start: scalar.value, count: scalar.length)
            return .scalar(String(decoding: text, as: UTF8.self), isPlain: scalar.style == YAML_PLAIN_SCALAR_STYLE)
        case YAML_SEQUENCE_START_EVENT:
            let start = event.data.sequence_start
            return complaint(anchor: start.anchor, tag: start.tag) ?? .sequenceStart
        case YAML_MAPPING_START_EVENT:
            let start = event.data.mapping_start
            return complaint(anchor: start.anchor, tag: start.tag) ?? .mappingStart
        default: return .forbidden("such things")
        }
    }

    private static func complaint(
        anchor: UnsafeMutablePointer<UInt8>?,
        tag: UnsafeMutablePointer<UInt8>?
    ) -> YAMLEvent.Kind? {
        if anchor != nil { return .forbidden("anchors") }
        return tag == nil ? nil : .forbidden("tags")
    }
}
