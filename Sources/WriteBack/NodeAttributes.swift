import LinuxPlatform

/// What a mount keeps of a file, directory or link besides its name and its bytes.
struct NodeAttributes: Hashable, Sendable {
    /// Bytes of a link's target, and of one extended attribute's name or value.
    static let textLimit = 4096
    /// Extended attributes of one node.
    static let extendedLimit = 64

    /// Permission bits.
    var mode: UInt16
    var user: UInt32
    var group: UInt32
    /// Nil: as `modified`.
    var accessed: UnixTime?
    var modified: UnixTime
    var changed: UnixTime
    /// The target, of a symbolic link.
    var link: String?
    /// Extended attributes, in order of their names.
    var extended: [Extended] = []

    /// An extended attribute.
    struct Extended: Hashable, Sendable {
        var name: ByteName
        var value: [UInt8]
    }

    init(mode: UInt16, user: UInt32, group: UInt32, time: UnixTime, link: String? = nil) {
        self.mode = mode
        self.user = user
        self.group = group
        modified = time
        changed = time
        self.link = link
    }

    /// What is made in a directory with the set-group-ID bit has its group, and a directory the bit, too.
    ///
    /// Source: open(2), mkdir(2).
    mutating func inherit(from parent: NodeAttributes?, isDirectory: Bool) {
        guard let parent, parent.mode & 0o2000 != 0 else { return }
        group = parent.group
        if isDirectory { mode |= 0o2000 }
    }

    func encode(_ fields: inout FieldWriter) {
        fields.number(mode)
        fields.number(user)
        fields.number(group)
        fields.flag(accessed != nil)
        fields.number((accessed ?? modified).nanoseconds)
        fields.number(modified.nanoseconds)
        fields.number(changed.nanoseconds)
        fields.flag(link != nil)
        fields.text(link ?? "")
        Self.encode(extended, &fields)
    }

    static func encode(_ extended: [Extended], _ fields: inout FieldWriter) {
        fields.number(UInt16(extended.count))
        for attribute in extended {
            fields.text(attribute.name.value)
            fields.blob(attribute.value)
        }
    }

    init(_ fields: inout FieldReader) throws(FieldError) {
        mode = try fields.number()
        user = try fields.number()
        group = try fields.number()
        let isRead = try fields.flag()
        let read = UnixTime(nanoseconds: try fields.number())
        accessed = isRead ? read : nil
        modified = UnixTime(nanoseconds: try fields.number())
        changed = UnixTime(nanoseconds: try fields.number())
        let isLink = try fields.flag()
        let target = try fields.text(limit: Self.textLimit)
        link = isLink ? target : nil
        extended = try Self.extended(&fields)
    }

    static func extended(_ fields: inout FieldReader) throws(FieldError) -> [Extended] {
        let count = Int(try fields.number(UInt16.self))
        guard count <= extendedLimit else { throw .outOfBounds }
        var found: [Extended] = []
        for _ in 0..<count {
            let name = ByteName(try fields.text(limit: textLimit))
            found.append(Extended(name: name, value: Array(try fields.blob(limit: textLimit * 16))))
        }
        return found
    }
}
