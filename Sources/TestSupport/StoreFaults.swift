package import ObjectStorage

/// An operation of `ObjectStore`, or a read of one of its sources.
package enum StoreOperation: String, Sendable, CaseIterable {
    case serverTime
    case layout
    case attributes
    case read
    case contents
    case list
    case put
    case beginUpload
    case continueUpload
    case uploadProgress
    case cancelUpload
    case compose
    case copy
    case move
    case delete
    case patch
    case beginMultipart
    case putPart
    case parts
    case multipartUploads
    case completeMultipart
    case abortMultipart
    case createFolder
    case deleteFolder
    case renameFolder

    /// Whether it can change what is stored.
    package var isMutation: Bool {
        switch self {
        case .serverTime, .layout, .attributes, .read, .contents, .list, .uploadProgress, .parts, .multipartUploads:
            false
        default: true
        }
    }
}

/// One operation on its way, as the fault hook sees it: twice, before and after.
package struct StoreCall: Hashable, Sendable, CustomStringConvertible {
    package enum Moment: String, Sendable {
        /// Nothing has happened yet.
        case before
        /// The store has done it, or refused it; the caller does not know yet.
        case after
    }

    package let operation: StoreOperation
    /// The object's name, or the prefix or folder.
    package let object: String
    package let moment: Moment
    /// Counts the operations of this connection, from 0; the same before and after.
    package let index: Int

    package var description: String { "\(moment) #\(index) \(operation) '\(object)'" }
}

/// What the hook does to an operation.
package enum StoreFault: Sendable {
    /// The caller gets this error. Before: nothing happens. After: it happened, and the caller is not told.
    case fail(ObjectStoreError)
    /// The operation is performed, and the caller gets `unavailable`.
    case loseReply
    /// The process dies here: this operation and every later one of the connection throw `MemoryObjectStore.killed`.
    case kill
    /// `continueUpload` only, before: the store keeps so many of the bytes that were sent, in whole 256 KiB.
    case keepOnly(Int)
}

/// Decides what happens to an operation; nil lets it pass. Called on any thread, without locks held.
package typealias StoreFaultHook = @Sendable (StoreCall) -> StoreFault?

extension StoreFault {
    /// Kills the connection at one moment of one operation: number `step / 2`, before it when `step` is even, after it
    /// when odd. Counting `step` up visits every point at which a process can die between two requests.
    package static func killing(atStep step: Int) -> StoreFaultHook {
        { call in call.index == step / 2 && (call.moment == .before) == (step % 2 == 0) ? .kill : nil }
    }
}
