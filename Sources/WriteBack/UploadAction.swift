package import ObjectStorage

/// What an upload wants done. Each but `note` and `discard` is answered by exactly one call of `UploadLedger`'s method of that name.
package enum UploadAction: Sendable {
    /// Read the part from the staging file and say its checksum: `measured`.
    case measure(PartVersion)
    /// Open a session, create-only, with the part's size and checksum, under the name: `opened`.
    case open(PartVersion, component: String)
    /// Commit the record to the journal at `node`: `recorded`.
    case record(PartVersion, UploadRecord)
    /// Send the bytes of this range of the file from `offset` of the session on: `sent`.
    case send(PartVersion, UploadSession, range: Range<Int>, at: Int, isLast: Bool)
    /// Ask the session how far it is: `asked`.
    case ask(PartVersion, UploadSession)
    /// Look whether the component is there: `found`.
    case find(PartVersion, ObjectName)
    /// Call `retry` after a pause that grows with the number of attempts without progress.
    case pause(PartVersion, attempt: Int)
    /// Put the record into the journal, at any level, soon: it saves the next process a question. Nobody waits for it.
    case note(UploadRecord)
    /// Cancel the session, delete the object. Nobody waits for it, and whatever becomes of it is harmless.
    case discard(UploadSession?, ComposeSource?)
}

extension UploadLedger.Part {
    /// Something is in the bucket for it, or about to be, and it is not whole.
    var isUnderWay: Bool {
        switch state {
        case .measuring, .waiting, .stored: false
        case .opening, .recording, .ready, .sending, .asking, .finding: !isPaused
        }
    }
}

extension UploadAction {
    /// The number of the part that it is about.
    var part: Int? {
        switch self {
        case .measure(let version), .open(let version, _), .record(let version, _), .send(let version, _, _, _, _),
            .ask(let version, _), .find(let version, _), .pause(let version, _):
            version.part
        case .note(let record): record.version.part
        case .discard: nil
        }
    }
}
