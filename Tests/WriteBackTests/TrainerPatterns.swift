import Foundation
import Testing

/// One call of a writer of checkpoints, by paths below its directory; files are named by the number of their open.
enum TrainerCall {
    case makeDirectory(String)
    case open(Int, path: String, isNew: Bool, truncates: Bool)
    case declare(Int)
    case write(Int, count: Int)
    case synchronize(Int)
    case synchronizeDirectory(String)
    case close(Int)
    case rename(String, to: String)
    case unlink(String)
    case link(String, target: String)
    /// As shutil.rmtree does it.
    case removeTree(String)

    var isSynchronization: Bool { if case .synchronize = self { true } else { false } }
}

/// What a writer of checkpoints does, from its trace.
struct TrainerPattern: CustomTestStringConvertible, Sendable {
    let name: String
    /// What it does after what the trace has: rotation, a link.
    var rest: @Sendable () -> [TrainerCall] = { [] }
    /// How often in a row, the second time over what the first has left.
    var rounds = 1

    var testDescription: String { name }

    static let all: [Self] = [
        Self(name: "filelock"),
        Self(name: "safetensors", rounds: 2),
        Self(name: "safetensors-plain", rounds: 2),
        Self(name: "torch-save", rounds: 2),
        Self(name: "torch-dcp"),
        Self(name: "lightning", rest: { [.link("newest.ckpt", target: "last.ckpt")] }, rounds: 2),
        Self(name: "hf-trainer", rest: { [.removeTree("checkpoint-1")] }),
        Self(name: "orbax", rest: { [.removeTree("1")] }),
    ]

    func calls() throws -> [TrainerCall] {
        let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("../Fixtures/traces/\(name).trace")
        var parser = TraceParser()
        let lines = try String(contentsOf: file, encoding: .utf8).split(separator: "\n")
        var calls: [TrainerCall] = []
        for _ in 0..<rounds {
            for line in lines { try calls += parser.calls(line) }
            calls += rest()
        }
        return calls
    }
}

/// Reads lines of strace. What it does not know is an error: a call that is left out would not be tested.
struct TraceParser {
    struct Unknown: Error { let line: Substring }

    private enum Descriptor {
        case file(Int)
        case directory(String)
    }

    private var descriptors: [Int: Descriptor] = [:]
    private var lastOpen = 0

    /// 4 MiB become 64 bytes, so that parts of 64 bytes are to these files as parts of 4 MiB are to the real ones.
    static func scaled(_ count: Int) -> Int { count <= 256 ? count : max(8, count >> 16) }

    /// What strace shows as a path below the directory of the checkpoints; "" is that directory itself.
    private func paths(_ line: Substring) -> [String] {
        line.matches(of: /"DIR\/?([^"]*)"/).map { String($0.1) }
    }

    mutating func calls(_ line: Substring) throws -> [TrainerCall] {
        if line.hasPrefix("#") { return [] }
        guard let call = line.firstMatch(of: /^T\d+ (\w+)\((.*)\) = (\d+)/), let result = Int(call.3) else {
            throw Unknown(line: line)
        }
        let paths = paths(line)
        switch call.1 {
        case "mkdir": return paths[0].isEmpty ? [] : [.makeDirectory(paths[0])]
        case "openat": return open(line, result, paths[0])
        case "rename", "renameat": return [.rename(paths[0], to: paths[1])]
        case "unlink": return [.unlink(paths[0])]
        // They change nothing of what is tested here, or are the kernel's alone.
        case "chmod", "utimensat", "flock": return []
        case "ftruncate", "write", "writev", "sendfile", "fsync", "close":
            guard let number = Int(call.2.prefix { $0.isNumber }) else { throw Unknown(line: line) }
            return use(number, String(call.1), result)
        default: throw Unknown(line: line)
        }
    }

    private mutating func open(_ line: Substring, _ number: Int, _ path: String) -> [TrainerCall] {
        if line.contains("O_DIRECTORY") {
            descriptors[number] = .directory(path)
            return []
        }
        lastOpen += 1
        descriptors[number] = .file(lastOpen)
        return [
            .open(lastOpen, path: path, isNew: line.contains("O_EXCL"), truncates: line.contains("O_TRUNC"))
        ]
    }

    private mutating func use(_ number: Int, _ call: String, _ result: Int) -> [TrainerCall] {
        switch descriptors[number] {
        case .file(let file):
            switch call {
            case "ftruncate": return [.declare(file)]
            case "fsync": return [.synchronize(file)]
            case "close":
                descriptors[number] = nil
                return [.close(file)]
            default: return result > 0 ? [.write(file, count: Self.scaled(result))] : []
            }
        case .directory(let path):
            if call == "close" { descriptors[number] = nil }
            return call == "fsync" ? [.synchronizeDirectory(path)] : []
        // Opened for reading, which the traces leave out.
        case nil: return []
        }
    }
}
