import Checkpoints
import Checksums
import LinuxPlatform
import Manifests
import ObjectStorage
import Testing

// Every order of the requests of several ranks, by enumeration: the machine is the one that runs in production, the bucket is a
// value. With lost replies, ranks that die at any point and run again, and an old checkpoint under the same name.

/// What the requests of a commit see and change.
private struct ToyBucket: Hashable {
    var files: [SafePath: Generation] = [:]
    var record: StandingRecord?
    var shares: [Int: CheckpointShare] = [:]
    var shareGenerations: [Int: Generation] = [:]
    var hasRemoval = false
    /// Each object counts its own writes, so that orders that come to the same are the same.
    var writes: [String: Int64] = [:]

    mutating func generation(_ object: String) -> Generation {
        writes[object, default: 10] += 1
        return Generation(writes[object] ?? 0)
    }

    var candidate: CommitCandidate {
        CommitCandidate(
            files: files.sorted { $0.key < $1.key }.map {
                CheckpointRecord.File(path: $0.key, size: 1, crc32c: .empty, generation: $0.value)
            }
        )
    }

    /// One request, all or nothing; `cleanUp` is none and is done by the actor.
    mutating func answer(_ step: CommitStep) -> CommitReply {
        switch step {
        case .readRemoval: return .removal(isStanding: hasRemoval)
        case .readRecord: return .record(record)
        case .look: return .candidate(candidate)
        case .listShares: return .shares(ranks: shares.keys.sorted())
        case .readShare(_, let rank): return .share(shares[rank], shareGenerations[rank] ?? Generation(0))
        case .writeShare(let share, let precondition):
            guard holds(precondition, shareGenerations[share.rank]) else { return .refused }
            shares[share.rank] = share
            shareGenerations[share.rank] = generation("share \(share.rank)")
            return .written(shareGenerations[share.rank] ?? Generation(0))
        case .writeRecord(let new, let precondition):
            guard holds(precondition, record?.generation) else { return .refused }
            let generation = generation("record")
            record = StandingRecord(record: new, generation: generation)
            return .written(generation)
        case .deleteRecord(let generation):
            if record?.generation == generation { record = nil }
            return .done
        case .cleanUp: return .done
        }
    }

    private func holds(_ precondition: WritePrecondition, _ current: Generation?) -> Bool {
        switch precondition {
        case .any: true
        case .absent: current == nil
        case .generation(let wanted): current == wanted
        }
    }
}

private struct Actor: Hashable {
    enum Stage: Hashable {
        case uploading
        case committing
        /// Removing shares, one request each.
        case cleaning([Int])
        case dead
        case over
    }

    let rank: Int
    var stage: Stage
    var machine: CommitProtocol
    var uploaded: Generation?
}

private struct World: Hashable {
    var bucket = ToyBucket()
    var actors: [Actor] = []
    /// Lost replies and deaths that may still happen.
    var faults: Int
}

@Suite struct CommitInterleavingTests {
    private static let name = "step-7"

    private static func request(_ rank: Int, of ranks: Int, run: Int, namesFiles: Bool) throws -> CommitRequest {
        CommitRequest(
            name: try CheckpointName(name),
            operation: try #require(OperationID("rank-\(rank)-\(run)")),
            created: UnixTime(seconds: 1),
            shared: CommitRequest.Shared(
                save: try #require(SaveID("new")),
                rank: rank,
                ranks: ranks,
                files: namesFiles ? Glob("rank-\(rank)") : nil
            )
        )
    }

    private static func path(_ rank: Int) throws -> SafePath { try SafePath("\(name)/rank-\(rank)") }

    /// Everything that may happen next.
    private func successors(_ world: World, _ namesFiles: Bool) throws -> [World] {
        var next: [World] = []
        for index in world.actors.indices {
            let actor = world.actors[index]
            var after = world
            switch actor.stage {
            case .over: continue
            case .dead:
                // Started again: the commit only, its files are uploaded.
                let ranks = world.actors.count
                let request = try Self.request(actor.rank, of: ranks, run: 2, namesFiles: namesFiles)
                after.actors[index].machine = CommitProtocol(request)
                after.actors[index].stage = .committing
                next.append(after)
                continue
            case .uploading:
                let generation = after.bucket.generation("file \(actor.rank)")
                after.bucket.files[try Self.path(actor.rank)] = generation
                after.actors[index].uploaded = generation
                after.actors[index].stage = .committing
                next.append(after)
            case .cleaning(let left):
                after.bucket.shares[left[0]] = nil
                after.bucket.shareGenerations[left[0]] = nil
                after.actors[index].stage = .cleaning(Array(left.dropFirst()))
                next.append(settled(after, index))
            case .committing:
                guard let step = actor.machine.next else { continue }
                next += performed(world, index, step)
            }
            if world.faults > 0, actor.uploaded != nil {
                for var killed in [world] + next.suffix(1) where killed.actors[index].stage != .over {
                    killed.actors[index].stage = .dead
                    killed.faults = world.faults - 1
                    next.append(killed)
                }
            }
        }
        return next
    }

    private func performed(_ world: World, _ index: Int, _ step: CommitStep) -> [World] {
        var after = world
        if case .cleanUp = step {
            after.actors[index].stage = .cleaning(world.bucket.shares.keys.sorted())
            return [settled(after, index)]
        }
        let reply = after.bucket.answer(step)
        after.actors[index].machine.received(reply)
        var outcomes = [settled(after, index)]
        if world.faults > 0, case .written = reply {
            var lost = world
            _ = lost.bucket.answer(step)
            lost.actors[index].machine.received(.unknown("lost"))
            lost.faults -= 1
            outcomes.insert(settled(lost, index), at: 0)
        }
        return outcomes
    }

    private func settled(_ world: World, _ index: Int) -> World {
        var world = world
        if case .cleaning(let left) = world.actors[index].stage, left.isEmpty {
            world.actors[index].machine.received(.done)
        }
        if world.actors[index].machine.next == nil { world.actors[index].stage = .over }
        return world
    }

    private func check(_ world: World, old: StandingRecord?) {
        guard let standing = world.bucket.record else {
            #expect(old == nil)
            return
        }
        if standing == old { return }
        #expect(standing.record.save?.value == "new" && standing.record.ranks == world.actors.count)
        #expect(standing.record.files.count == world.actors.count)
        // Each rank's own upload, and all of them stand: never a mix with the old checkpoint, never before the last is done.
        for (actor, file) in zip(world.actors, standing.record.files) {
            #expect(actor.uploaded == file.generation && world.bucket.files[file.path] == file.generation)
        }
    }

    @Test(
        arguments: [
            (2, 2, true, true), (2, 1, false, true), (2, 1, true, false), (3, 0, true, true),
        ] as [(Int, Int, Bool, Bool)]
    )
    func inEveryOrderOfRequestsTheRecordIsOfAllRanks(
        ranks: Int,
        faults: Int,
        namesFiles: Bool,
        replacesOld: Bool
    ) throws {
        var start = World(faults: faults)
        if replacesOld {
            for rank in 0..<ranks { start.bucket.files[try Self.path(rank)] = Generation(Int64(rank + 1)) }
            let record = try CheckpointRecord(
                name: CheckpointName(Self.name),
                created: UnixTime(seconds: 0),
                operation: try #require(OperationID("old")),
                files: start.bucket.candidate.files
            )
            start.bucket.record = StandingRecord(record: record, generation: Generation(9))
        }
        for rank in 0..<ranks {
            let machine = CommitProtocol(try Self.request(rank, of: ranks, run: 1, namesFiles: namesFiles))
            start.actors.append(Actor(rank: rank, stage: .uploading, machine: machine))
        }
        var seen: Set<World> = [start]
        var waiting = [start]
        var ends = 0
        while let world = waiting.popLast() {
            check(world, old: start.bucket.record)
            let next = try successors(world, namesFiles)
            if next.isEmpty {
                ends += 1
                #expect(world.bucket.record?.record.save?.value == "new", "\(world.actors.map(\.machine.outcome))")
                for actor in world.actors {
                    if case .failed(let error) = actor.machine.outcome { Issue.record("\(error)") }
                }
            }
            for successor in next where seen.insert(successor).inserted { waiting.append(successor) }
        }
        #expect(ends > 0 && seen.count > 100)
    }
}
