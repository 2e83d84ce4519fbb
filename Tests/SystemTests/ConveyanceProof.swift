import Foundation
import TestSupport
import Testing

/// What `penstock snapshot` promises, shown on the real program against emulated servers.
///
/// Serialized: each test has both cores to itself, so that leases are not lost to a machine that is merely busy.
@Suite(.serialized) enum ConveyanceProof {
    /// Seconds that a dead run's lease holds off the next one.
    static let leaseSeconds = 2

    /// The arguments of a conveyance with little memory, so that large files become many parts.
    static func arguments(
        _ repository: String,
        _ prefix: String,
        _ more: [String] = [],
        parts: PartsWay = .components
    ) -> [String] {
        [
            "snapshot", repository, "gs://\(EmulatedServers.bucket)/\(prefix)", "--memory", "\(parts.memory)",
            "--json", "--lease-seconds", "\(leaseSeconds)",
        ] + more
    }

    static func verify(_ prefix: String, _ more: [String] = []) -> [String] {
        ["verify", "gs://\(EmulatedServers.bucket)/\(prefix)", "--json"] + more
    }
}

/// The way of the parts of large files. The emulated bucket keeps what is deleted, so parts are no objects, unless they
/// must be so small that a multipart upload does not take them.
enum PartsWay: String, CaseIterable, CustomTestStringConvertible {
    case components
    case multipart

    var testDescription: String { rawValue }

    /// For buffers, in bytes: what a kill may waste.
    var memory: Int { self == .components ? 16 << 20 : 64 << 20 }
}

/// What makes a run of these tests another one, and how long it may take.
enum TestRun {
    /// `make soak`: the counts in full.
    static let isSoak = ProcessInfo.processInfo.environment["PENSTOCK_SOAK"] == "1"

    /// From `PENSTOCK_SEED`; printed, so that a failure can be repeated. A soak takes a new one each time.
    static let seed: UInt64 = {
        let chosen = ProcessInfo.processInfo.environment["PENSTOCK_SEED"].flatMap { UInt64($0) }
        let seed = chosen ?? (isSoak ? UInt64.random(in: 1...0xFFFF_FFFF) : 2_025)
        print("PENSTOCK_SEED=\(seed)")
        return seed
    }()

    /// Random numbers of this run for one purpose.
    static func random(_ purpose: UInt64) -> SeededRandom { SeededRandom(seed: seed &* 1_000_003 &+ purpose) }
}

extension EndedProgram {
    /// How it came to its result: `conveyed`, `adopted`, `unchanged`; nil when it has none.
    var outcome: String? {
        struct Event: Decodable {
            var event: String
            var outcome: String?
        }
        let events = output.split(separator: "\n").compactMap {
            try? JSONDecoder().decode(Event.self, from: Data($0.utf8))
        }
        return events.last { $0.event == "result" }?.outcome
    }
}
