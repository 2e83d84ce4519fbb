package import LinuxPlatform
package import Manifests
package import ObjectStorage

// Committing, as a machine without I/O: it says which request is next and is told what came of it. So the model check runs
// this code, and not a copy of it, through every order of the requests of several ranks.
//
//   one rank:    removal? ─▶ record ─▶ look ─▶ write record ─▶ removal? ─▶ clean up
//   many ranks:  look ─▶ write share ─▶ list shares ─┬─▶ (all there) shares… ─▶ as above
//                                                    └─▶ (some missing) record ─▶ wait for them, or it is committed already
//
// 1. A rank writes its share after its uploads, and lists the shares after that. So the last one to write sees them all.
// 2. The record that is replaced is read before the files are looked at, and named in the precondition. So of two who commit
//    only one succeeds, and the other finds the first one's record: the save tells whose it is.
// 3. Whoever removes a checkpoint says so first, and looks for a new record before it deletes files. A commit looks for that
//    before and after it writes the record: one of the two sees the other.

/// What a commit is to be.
package struct CommitRequest: Hashable, Sendable {
    /// Several ranks that commit together.
    package struct Shared: Hashable, Sendable {
        package var save: SaveID
        package var rank: Int
        package var ranks: Int
        /// Which of the checkpoint's files this rank wrote; nil when it does not say.
        package var files: Glob?

        package init(save: SaveID, rank: Int, ranks: Int, files: Glob? = nil) {
            self.save = save
            self.rank = rank
            self.ranks = ranks
            self.files = files
        }
    }

    package var name: CheckpointName
    package var operation: OperationID
    package var created: UnixTime
    /// Nil: what the writer left.
    package var step: Int?
    /// Beside, and before, what the writer left.
    package var metrics: [String: Double]
    package var shared: Shared?

    package init(
        name: CheckpointName,
        operation: OperationID,
        created: UnixTime,
        step: Int? = nil,
        metrics: [String: Double] = [:],
        shared: Shared? = nil
    ) {
        self.name = name
        self.operation = operation
        self.created = created
        self.step = step
        self.metrics = metrics
        self.shared = shared
    }
}

/// The files of a checkpoint as they stand, and what they say.
package struct CommitCandidate: Hashable, Sendable {
    package var files: [CheckpointRecord.File]
    package var evidence: Evidence

    package init(files: [CheckpointRecord.File], evidence: Evidence = Evidence()) {
        self.files = files
        self.evidence = evidence
    }
}

/// What a commit wants next: one request to the store each, but for `look` and `cleanUp`.
package enum CommitStep: Hashable, Sendable {
    case readRemoval
    case readRecord
    /// Lists the files; then reads, of exactly the listed generations, the few that say what belongs together.
    case look
    case writeShare(CheckpointShare, WritePrecondition)
    case listShares(SaveID)
    case readShare(SaveID, rank: Int)
    case writeRecord(CheckpointRecord, WritePrecondition)
    case deleteRecord(Generation)
    /// Removes the shares of the save, and kept copies of what the record replaced.
    case cleanUp(StandingRecord)
}

/// What came of a step.
package enum CommitReply: Sendable {
    case removal(isStanding: Bool)
    case record(StandingRecord?)
    /// A record stands there that cannot be read.
    case unreadable(Generation)
    case candidate(CommitCandidate)
    case written(Generation)
    /// The precondition did not hold.
    case refused
    /// Nobody knows whether it was written.
    case unknown(String)
    case shares(ranks: [Int])
    case share(CheckpointShare?, Generation)
    case done
}

/// How a commit ended.
package enum CommitOutcome: Hashable, Sendable {
    /// The record stands; `isNew`: this call changed it.
    case committed(StandingRecord, isNew: Bool)
    /// This rank's share stands, and these ranks' do not yet.
    case waiting(ranks: [Int])
    case failed(CheckpointError)
}

/// One rank's commit, or that of a checkpoint as a whole.
package struct CommitProtocol: Hashable, Sendable {
    private enum Phase: Hashable {
        case beginning
        case sharing(mine: CheckpointShare)
        case readingOwnShare(mine: CheckpointShare, isAfterDoubt: Bool)
        case listing
        case askingWhetherCommitted(missing: [Int])
        case readingShares([CheckpointShare])
        case readingRemoval([CheckpointShare])
        case readingRecord([CheckpointShare])
        case looking([CheckpointShare], WritePrecondition, StandingRecord?)
        case recording(CheckpointRecord, WritePrecondition)
        case settling(CheckpointRecord, doubt: String?)
        case readingRemovalAgain(StandingRecord)
        case withdrawing
        case cleaning(StandingRecord, isNew: Bool)
    }

    private let request: CommitRequest
    private var phase: Phase
    /// This rank's share, once it is known.
    private var mine: CheckpointShare?
    /// The next step; nil when it is over.
    package private(set) var next: CommitStep?
    /// Nil until it is over.
    package private(set) var outcome: CommitOutcome?

    package init(_ request: CommitRequest) {
        self.request = request
        if request.shared != nil {
            phase = .beginning
            next = .look
        } else {
            phase = .readingRemoval([])
            next = .readRemoval
        }
    }

    /// Takes what came of `next`.
    package mutating func received(_ reply: CommitReply) {
        switch (phase, reply) {
        case (.beginning, .candidate(let candidate)): share(candidate)
        case (.sharing(let mine), .written): list(mine)
        case (.sharing(let mine), .refused): readOwn(mine, isAfterDoubt: false)
        case (.sharing(let mine), .unknown): readOwn(mine, isAfterDoubt: true)
        case (.readingOwnShare(let mine, let isAfterDoubt), .share(let found, let generation)):
            settle(mine, found, generation, isAfterDoubt)
        case (.listing, .shares(let ranks)): count(ranks)
        case (.askingWhetherCommitted(let missing), .record(let standing)): answer(standing, missing)
        case (.askingWhetherCommitted(let missing), .unreadable): end(.waiting(ranks: missing))
        case (.readingShares(let shares), .share(let found, _)): collect(shares, found)
        case (.readingRemoval(let shares), .removal(let isStanding)):
            if isStanding { return fail(.conflict, beingRemoved) }
            go(.readingRecord(shares), .readRecord)
        case (.readingRecord(let shares), .record(let standing)): look(shares, standing)
        case (.readingRecord(let shares), .unreadable(let generation)):
            go(.looking(shares, .generation(generation), nil), .look)
        case (.looking(let shares, let precondition, let standing), .candidate(let candidate)):
            record(candidate, shares, precondition, standing)
        case (.recording(let record, _), .written(let generation)):
            let standing = StandingRecord(record: record, generation: generation)
            go(.readingRemovalAgain(standing), .readRemoval)
        case (.recording(let record, _), .refused): go(.settling(record, doubt: nil), .readRecord)
        case (.recording(let record, _), .unknown(let doubt)): go(.settling(record, doubt: doubt), .readRecord)
        case (.settling(let record, let doubt), .record(let standing)): settle(record, standing, doubt)
        case (.settling(_, let doubt), .unreadable): fail(doubt == nil ? .conflict : .retryable, doubt ?? overtaken)
        case (.readingRemovalAgain(let standing), .removal(let isStanding)):
            if isStanding { return go(.withdrawing, .deleteRecord(standing.generation)) }
            go(.cleaning(standing, isNew: true), .cleanUp(standing))
        case (.withdrawing, _): fail(.conflict, beingRemoved)
        case (.cleaning(let standing, let isNew), _): end(.committed(standing, isNew: isNew))
        default: fail(.internal, "a commit of \(request.name) got an answer that it did not ask for")
        }
    }

    private mutating func go(_ phase: Phase, _ step: CommitStep) {
        self.phase = phase
        next = step
    }

    private mutating func end(_ outcome: CommitOutcome) {
        next = nil
        self.outcome = outcome
    }

    private mutating func fail(_ code: CheckpointError.Code, _ message: String) {
        end(.failed(CheckpointError(code, message)))
    }

    private var beingRemoved: String {
        "\(request.name) is being removed: let penstock checkpoint prune finish, then save it anew"
    }

    private var usedTwice: String {
        "this save of \(request.name) was recorded already, with other files: give each save, and each restart of the job, "
            + "a --save of its own"
    }

    private var overtaken: String {
        "the record of \(request.name) was replaced by somebody else meanwhile; nothing of theirs was touched: "
            + "look with penstock checkpoint list, and run the same command again if it is still wanted"
    }
}

// MARK: - Shares

extension CommitProtocol {
    private mutating func share(_ candidate: CommitCandidate) {
        guard let shared = request.shared else { return }
        var own: [CheckpointRecord.File] = []
        if let glob = shared.files {
            let objects = CheckpointObjects(request.name)
            own = candidate.files.filter { glob.matches(objects.relative($0.path)) }
            if own.isEmpty {
                return fail(.incomplete, "no file of \(request.name) matches '\(glob.pattern)': it is not uploaded yet")
            }
        }
        do throws(ManifestError) {
            let mine = try CheckpointShare(
                name: request.name,
                save: shared.save,
                rank: shared.rank,
                ranks: shared.ranks,
                operation: request.operation,
                files: own
            )
            self.mine = mine
            go(.sharing(mine: mine), .writeShare(mine, .absent))
        } catch {
            fail(.usage, error.description)
        }
    }

    private mutating func readOwn(_ mine: CheckpointShare, isAfterDoubt: Bool) {
        go(.readingOwnShare(mine: mine, isAfterDoubt: isAfterDoubt), .readShare(mine.save, rank: mine.rank))
    }

    /// A share of this rank stands there already, or the reply to its writing was lost.
    private mutating func settle(
        _ mine: CheckpointShare,
        _ found: CheckpointShare?,
        _ generation: Generation,
        _ isAfterDoubt: Bool
    ) {
        guard let found else {
            // Removed by whoever committed meanwhile, or never written, or unreadable: the listing tells.
            if isAfterDoubt || generation == Generation(0) { return list(mine) }
            return go(.sharing(mine: mine), .writeShare(mine, .generation(generation)))
        }
        if found.operation == mine.operation || found.files == mine.files && found.ranks == mine.ranks {
            return list(mine)
        }
        go(.sharing(mine: mine), .writeShare(mine, .generation(generation)))
    }

    private mutating func list(_ mine: CheckpointShare) { go(.listing, .listShares(mine.save)) }

    private mutating func count(_ ranks: [Int]) {
        guard let shared = request.shared else { return }
        let missing = Set(0..<shared.ranks).subtracting(ranks).sorted()
        if missing.isEmpty { return go(.readingShares([]), .readShare(shared.save, rank: 0)) }
        go(.askingWhetherCommitted(missing: missing), .readRecord)
    }

    /// Some shares are missing: not written yet, or removed by whoever has committed.
    private mutating func answer(_ standing: StandingRecord?, _ missing: [Int]) {
        guard let standing, standing.record.save == request.shared?.save else {
            return end(.waiting(ranks: missing))
        }
        let recorded = Dictionary(standing.record.files.map { ($0.path, $0.generation) }) { first, _ in first }
        if mine?.files.allSatisfy({ recorded[$0.path] == $0.generation }) == false { return fail(.conflict, usedTwice) }
        go(.cleaning(standing, isNew: false), .cleanUp(standing))
    }

    private mutating func collect(_ shares: [CheckpointShare], _ found: CheckpointShare?) {
        guard let shared = request.shared else { return }
        guard let found else {
            // Gone since it was listed: somebody has committed, and cleans up.
            return go(.askingWhetherCommitted(missing: [shares.count]), .readRecord)
        }
        guard found.ranks == shared.ranks else {
            let message =
                "rank \(found.rank) of save \(shared.save) expects \(found.ranks) ranks, this one \(shared.ranks)"
            return fail(.usage, message + ": all must expect the same number")
        }
        let all = shares + [found]
        if all.count < shared.ranks {
            go(.readingShares(all), .readShare(shared.save, rank: all.count))
        } else {
            go(.readingRemoval(all), .readRemoval)
        }
    }
}

// MARK: - The record

extension CommitProtocol {
    private mutating func look(_ shares: [CheckpointShare], _ standing: StandingRecord?) {
        let precondition = standing.map { WritePrecondition.generation($0.generation) } ?? .absent
        go(.looking(shares, precondition, standing), .look)
    }

    private mutating func record(
        _ candidate: CommitCandidate,
        _ shares: [CheckpointShare],
        _ precondition: WritePrecondition,
        _ standing: StandingRecord?
    ) {
        if !candidate.evidence.complaints.isEmpty {
            let reasons = candidate.evidence.complaints.joined(separator: "; ")
            return fail(.incomplete, "\(request.name) is not complete: \(reasons)")
        }
        do throws(CheckpointError) {
            let record = try makeRecord(candidate, shares)
            if let standing, standing.record.isSame(as: record) {
                return go(.cleaning(standing, isNew: false), .cleanUp(standing))
            }
            if request.shared != nil, let standing, standing.record.save == request.shared?.save {
                return fail(.conflict, usedTwice)
            }
            go(.recording(record, precondition), .writeRecord(record, precondition))
        } catch {
            end(.failed(error))
        }
    }

    private func makeRecord(
        _ candidate: CommitCandidate,
        _ shares: [CheckpointShare]
    ) throws(CheckpointError) -> CheckpointRecord {
        var owners: [SafePath: Int] = [:]
        let standing = Dictionary(candidate.files.map { ($0.path, $0) }, uniquingKeysWith: { first, _ in first })
        for share in shares {
            for file in share.files {
                guard let found = standing[file.path], found.generation == file.generation else {
                    throw CheckpointError(
                        .conflict,
                        "'\(file.path)' is not what rank \(share.rank) uploaded and committed its share of: it was replaced "
                            + "or removed since"
                    )
                }
                if let other = owners[file.path], other != share.rank {
                    throw CheckpointError(
                        .conflict,
                        "ranks \(other) and \(share.rank) both say that they wrote '\(file.path)'"
                    )
                }
                owners[file.path] = share.rank
            }
        }
        do throws(ManifestError) {
            return try CheckpointRecord(
                name: request.name,
                created: request.created,
                operation: request.operation,
                step: request.step ?? candidate.evidence.step,
                metrics: candidate.evidence.metrics.merging(request.metrics) { _, given in given },
                writer: candidate.evidence.writer,
                ranks: request.shared?.ranks ?? 1,
                save: request.shared?.save,
                files: candidate.files.map { file in
                    CheckpointRecord.File(
                        path: file.path,
                        size: file.size,
                        crc32c: file.crc32c,
                        generation: file.generation,
                        rank: owners[file.path]
                    )
                }
            )
        } catch {
            throw CheckpointError(error, of: request.name.description)
        }
    }

    /// The record that stands is this commit's own, another rank's of the same save, or somebody else's.
    private mutating func settle(_ record: CheckpointRecord, _ standing: StandingRecord?, _ doubt: String?) {
        if let standing, standing.record.operation == record.operation {
            return go(.readingRemovalAgain(standing), .readRemoval)
        }
        if let standing, let save = record.save, standing.record.save == save, standing.record.files == record.files {
            return go(.cleaning(standing, isNew: false), .cleanUp(standing))
        }
        if let doubt {
            return fail(.retryable, "writing the record of \(request.name): \(doubt); run the same command again")
        }
        fail(.conflict, overtaken)
    }
}
