import Checksums
import LinuxPlatform
import ObjectStorage

/// What a mount that is written to wants done. Each is answered by one call of `WriteBackEngine`; those marked so are not.
enum WriteBackAction: Sendable {
    /// An action of the file's `UploadLedger`; answered there, by `upload`.
    case upload(NameNode, UploadAction)
    /// An action of the file's `FilePublication`; answered there, by `publication`. A write waits until all records so far are
    /// on stable storage.
    case publication(NameNode, WriteIntent, PublicationAction)
    /// Read the whole content and say its checksum: `measured`.
    case measure(NameNode, content: Int, size: Int)
    /// Read the staging file back and say what does not match its checksums: `checked`.
    case check(NameNode)
    /// An earlier process began this: find out what became of it, without changing anything: `recognised`.
    case recognise(NameNode, WriteIntent, ObjectIdentity?)
    /// Move or copy the object, until that is settled: `recognised`. All records so far are made safe before.
    case move(NameNode, WriteIntent, ObjectIdentity?)
    /// Delete the object, until that is settled: `deleted`. All records so far are given to the disk before.
    case delete(ByteName, Generation)
    /// Make the metadata of this generation say what the attributes are: `patched`. All records so far are made safe before.
    case patch(NameNode, ByteName, Generation)
    /// Say which of the parts are not in the bucket any more: `verified`.
    case verify(NameNode, [Int: StoredPart])
    /// Call `elapsed` when the time is over.
    case wait(WriteBackTimer, Duration)
    /// Remove the staging file once all records so far are safe. Not answered.
    case remove(staging: Int)
}

/// What a mount waits for.
enum WriteBackTimer: Hashable, Sendable {
    /// The grace of what was unlinked.
    case tombstone(ByteName, Generation)
    /// The time in which an empty file may still get bytes, or go.
    case emptyFile(NameNode, content: Int)
    /// The time in which changes of a file's attributes become one.
    case patch(NameNode)
    /// The pause before something that failed is tried again.
    case retry(NameNode)
    /// One tick of `SmallFileGathering`.
    case quiet
}

/// What became of an intent, as far as it could be found out.
enum IntentOutcome: Sendable {
    case done(ObjectAttributes)
    /// It is as if it had never been begun.
    case notDone
    case conflict(found: ObjectAttributes?)
    case sourceGone
    /// The folder has its name; what stands below it.
    case renamedFolder([ObjectAttributes])
}

/// How a mount that is written to behaves.
package struct WriteBackOptions: Sendable {
    /// Most bytes of one request; a multiple of 256 KiB. A file of no more is put in one request.
    package var chunk = 8 << 20
    /// Bytes that may be sent and not acknowledged, of all files; at least a chunk.
    package var window = 96 << 20
    /// Upload sessions that may be under way, of all files.
    package var sessions = 12
    /// Bytes of the local disk that written files may take.
    package var stagingLimit = 64 << 30
    /// Bytes of the disk that staging leaves to the journal.
    package var journalReserve = 64 << 20
    /// How long a writer waits for room before it is told ENOSPC.
    package var roomDeadline = Duration.seconds(30)
    /// How long an unlinked object stays in the bucket.
    package var unlinkGrace = Duration.seconds(10)
    /// How long a file may be empty before it is put into the bucket.
    package var emptyGrace = Duration.seconds(5)
    /// How long no small file may be closed before those that were go into the bucket; zero for no wait. See `SmallFileGathering`.
    package var quiet = Duration.milliseconds(100)
    /// How long changes of attributes are collected: an object takes about one change a second.
    package var patchGrace = Duration.seconds(1)
    /// How long what a listing said is believed.
    package var listingLife = Duration.seconds(60)
    /// The first pause after a failure, which doubles, and the longest.
    package var firstPause = Duration.milliseconds(250)
    package var longestPause = Duration.seconds(60)
    /// fsync and close complete when the content is published, not when it is on stable storage.
    package var isPublishedAtSync = false
    package var isPublishedAtClose = false
    /// How long such a call waits before it fails with ETIMEDOUT; nil for as long as it takes.
    package var publishDeadline: Duration? = .seconds(600)
    /// Other machines write below the prefix, too: nothing is known of a directory because it was made here, and one of which
    /// something stands in the bucket is not renamed (`EXDEV`).
    package var isShared = false
    /// The bucket may have folders that can be renamed whole: it is asked before the first one is.
    package var renamesFolders = true
    /// Names that writers rename when they are done: not published before.
    package var holdsBack: @Sendable (String) -> Bool = { _ in false }
    /// `takeSettledDirectories` and `lostNames` are asked; else nothing is kept for them.
    package var tellsOfDirectories = true
    /// Extended attributes that each node shows and nobody can change: whose mount it is.
    package var shown: [ByteName: [UInt8]] = [:]
    /// Where parts begin and end.
    package var layout = PartLayout.standard
    /// What pieces of a session but the last are multiples of; for tests.
    package var granularity = UploadLedger.granularity

    package init() {}

    /// The pause after so many failures in a row.
    func pause(_ attempt: Int) -> Duration { min(longestPause, firstPause * (1 << min(16, max(0, attempt - 1)))) }
}
