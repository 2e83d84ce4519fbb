import ArgumentParser
import Checksums
import Configuration
import Glibc
import MountService
import WriteBack

/// What a mount is for.
enum MountProfile: String, CaseIterable, ExpressibleByArgument {
    /// Weights are read; nothing can be written.
    case serving
    /// Written to; close(2) waits until the file is in the bucket.
    case training
    /// Written to; close(2) returns when the file is staged on this machine.
    case checkpoint

    var isWritable: Bool { self != .serving }
}

/// When a call has kept its promise.
enum Durability: String, CaseIterable, ExpressibleByArgument {
    /// On stable storage of this machine.
    case local
    /// In the bucket under the file's name.
    case published
}

enum CloseRule: String, CaseIterable, ExpressibleByArgument {
    case staged
    case published
}

/// Who else writes below the prefix.
enum Writers: String, CaseIterable, ExpressibleByArgument {
    /// Nobody: a lease keeps others out.
    case one
    /// Mounts of other machines.
    case many
}

/// How a writable mount writes.
struct WritingOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "serving: read-only. training, checkpoint: writable, through a staging directory on this machine's disk; they differ "
                + "in --close.",
            valueName: "profile"
        )
    )
    var profile = MountProfile.serving

    @Option(
        name: .customLong("staging-dir"),
        help: ArgumentHelp(
            "Where a writable mount keeps its journal and what is not in the bucket yet: a disk that outlives the container. Each "
                + "mount needs its own. Without it a directory below /var/lib/penstock/staging, named after the source.",
            valueName: "path"
        )
    )
    var givenStagingDirectory: String?

    @Option(
        help: ArgumentHelp("What staged files may take; writers wait for room, then get ENOSPC.", valueName: "size"),
        transform: Quantity.size
    )
    var stagingSize = ByteSize(bytes: 64 << 30)

    @Option(
        help: ArgumentHelp(
            "What fsync(2) waits for: local (stable storage of this machine) or published (the bucket).",
            valueName: "where"
        )
    )
    var durability = Durability.local

    @Option(
        help: ArgumentHelp(
            "What close(2) waits for: staged or published. Without it staged for checkpoint, published for training.",
            valueName: "where"
        )
    )
    var close: CloseRule?

    @Option(
        help: ArgumentHelp(
            "one: a lease in the bucket keeps other writable mounts of the prefix out, and temporary names of trainers are not "
                + "published before they are renamed. many: several machines write below the prefix, each its own files; temporary "
                + "names are published as they are, and a directory that is in the bucket cannot be renamed.",
            valueName: "who"
        )
    )
    var writers = Writers.one

    @Flag(
        inversion: .prefixedNo,
        help: ArgumentHelp(
            "Record a checkpoint, as checkpoint commit does, when its trainer is done and all of its files are in the bucket: it has "
                + "written its marker, or given the directory its last name. Not with --writers many."
        )
    )
    var recordCheckpoints = true

    @Option(
        help: ArgumentHelp(
            "Bytes sent to the bucket and not acknowledged, of all files: what a kill may send twice.",
            valueName: "size"
        ),
        transform: Quantity.size
    )
    var uploadWindow = ByteSize(bytes: 96 << 20)

    @Option(
        help: ArgumentHelp(
            "How long a mount that ends may take to put into the bucket what is staged; what is left goes on at the next start.",
            valueName: "time"
        ),
        transform: Quantity.time
    )
    var drainTimeout = TimeSpan(seconds: 20)

    func validate() throws {
        if uploadWindow.bytes < 8 << 20 { throw ValidationError("--upload-window is 8M or more") }
        if stagingSize.bytes < 64 << 20 { throw ValidationError("--staging-size is 64M or more") }
        if !profile.isWritable, givenStagingDirectory != nil || close != nil || writers == .many {
            throw ValidationError("--staging-dir, --close and --writers belong to --profile training or checkpoint")
        }
    }

    /// - Parameter listingLife: how long what a listing said is believed.
    func writing(listingLife: TimeSpan) -> WriteBackOptions {
        var options = WriteBackOptions()
        options.window = uploadWindow.bytes
        options.stagingLimit = stagingSize.bytes
        options.isPublishedAtSync = durability == .published
        options.isPublishedAtClose = (close ?? (profile == .training ? .published : .staged)) == .published
        // What others write is to be seen soon.
        options.listingLife = writers == .many ? min(listingLife.duration, .seconds(5)) : listingLife.duration
        options.isShared = writers == .many
        // Others wait for a lock until its file is gone.
        if writers == .many { options.unlinkGrace = .zero }
        if writers == .one { options.holdsBack = { TemporaryNames.isHeldBack($0) } }
        return options
    }

    /// - Parameter source: names the directory where none was given, so that the next mount of it finds what is staged.
    func stagingDirectory(of source: String) throws(CommandFailure) -> String {
        if let givenStagingDirectory { return givenStagingDirectory }
        let state = Settings.environment["XDG_STATE_HOME"].flatMap { $0.isEmpty ? nil : $0 }
        let home = Settings.environment["HOME"].map { "\($0)/.local/state" }
        guard let root = geteuid() == 0 ? "/var/lib" : state ?? home else {
            throw CommandFailure(.usage, "--staging-dir is needed where there is no HOME")
        }
        var path = root
        for name in ["penstock", "staging", String(SHA256Digest.of(Array(source.utf8)).hex.prefix(16))] {
            path += "/" + name
            if mkdir(path, 0o700) != 0, errno != EEXIST {
                throw CommandFailure(
                    .usage,
                    "cannot make \(path): \(String(cString: strerror(errno))); --staging-dir names another"
                )
            }
        }
        return path
    }
}
