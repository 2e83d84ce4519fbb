import ArgumentParser
import FUSEMount

struct UnmountCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "unmount",
        abstract: "Unmount what 'penstock mount' mounted; also what its process left when it died."
    )

    @Argument(help: "Where it is mounted.")
    var mountPoint: String

    @Flag(help: "Also when it is in use: it leaves the tree at once, and ends with its last user.")
    var detach = false

    func run() async throws {
        try await reporting { () async throws(CommandFailure) in
            do throws(MountError) {
                try MountPoint(mountPoint).unmount(isDetached: detach)
            } catch {
                throw CommandFailure(error)
            }
        }
    }
}
