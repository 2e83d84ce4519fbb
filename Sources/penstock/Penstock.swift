import ArgumentParser
import Configuration
import Glibc

@main
enum Main {
    /// As ArgumentParser's own, but for the exit code of a usage error: Jobs go by our table, where it is 2.
    static func main() async {
        do throws(ConfigurationError) {
            for warning in try Settings.check() { standardError("penstock: \(warning)\n") }
        } catch {
            for problem in error.problems { standardError("penstock: \(problem)\n") }
            endProcess(ExitStatus.usage.rawValue)
        }
        do {
            var command = try Penstock.parseAsRoot()
            if let mount = command as? MountCommand, try mount.runOnFirstThread() {
                endProcess(ExitStatus.ok.rawValue)
            }
            if var asynchronous = command as? any AsyncParsableCommand {
                try await asynchronous.run()
            } else {
                try command.run()
            }
        } catch {
            let code = Penstock.exitCode(for: error)
            let message = Penstock.fullMessage(for: error)
            if !message.isEmpty { code.isSuccess ? standardOutput(message + "\n") : standardError(message + "\n") }
            endProcess(code == .validationFailure ? ExitStatus.usage.rawValue : code.rawValue)
        }
        endProcess(ExitStatus.ok.rawValue)
    }
}

struct Penstock: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "penstock",
        abstract: "Model weights between the Hugging Face Hub, Cloud Storage and the machines that use them.",
        discussion: """
            penstock snapshot meta-llama/Llama-2-7b-hf gs://ai-models/llama2-7b    Hub to bucket, every byte proven
            penstock verify gs://ai-models/llama2-7b                               prove it again, from the bucket
            penstock mount gs://ai-models/llama2-7b /models/llama2-7b              read it as files
            penstock prefetch /models/llama2-7b --wait                             all of it local, and proven
            penstock checkpoint latest gs://ai-ckpt/run-17                         where training goes on from

            Destinations are gs://bucket/prefix or file:///directory. Credentials are found as the official clients
            find them: GOOGLE_APPLICATION_CREDENTIALS, gcloud's default, the metadata server; HF_TOKEN or the token that
            hf auth login stored. STORAGE_EMULATOR_HOST, HF_ENDPOINT, HF_HUB_OFFLINE, https_proxy and no_proxy mean what
            they mean there.

            Exit codes: 0 done, 1 internal error, 2 usage, 3 wrong bytes, 4 not found or gated, 5 credentials,
            6 failed for now (try again), 7 partly done (the same command continues), 130 interrupted.
            """,
        version: Version.text,
        subcommands: [
            SnapshotCommand.self, VerifyCommand.self, MountCommand.self, PrefetchCommand.self, StatusCommand.self,
            ProbeCommand.self, FlushCommand.self, UnmountCommand.self, ListCommand.self, UsageCommand.self,
            CollectCommand.self,
            CheckpointCommand.self, ConfigCommand.self,
        ]
    )
}

enum Version {
    static let text = "0.1.0"
}
