import Configuration
import Testing

private enum Mode: String, CaseIterable {
    case fast
    case careful
}

private let size = Setting("size", .size(1024...(1 << 30)), default: ByteSize(bytes: 4096), help: "A size.")
private let mode = Setting("read.mode", .choice, default: Mode.fast, help: "A mode.")
private let names = Setting("names", .list, default: [], help: "Names.")
private let token = Setting("token", .text, default: nil, others: ["HUB_TOKEN"], isSecret: true, help: "A secret.")
private let colour = Setting("colour", .boolean, default: true, help: "Colours.")

private let registry = SettingRegistry(
    [AnySetting(size), AnySetting(mode), AnySetting(names), AnySetting(token), AnySetting(colour)],
    profiles: [SettingProfile("large", ["size": .one("1M"), "read.mode": .one("careful")])]
)

private func resolve(
    flags: [String: SettingText] = [:],
    environment: [String: String] = [:],
    file: String? = nil,
    profile: String? = nil
) throws(ConfigurationError) -> ResolvedSettings {
    try ResolvedSettings(
        registry,
        flags: flags,
        environment: environment,
        file: file.map { ("c.yaml", Array($0.utf8)) },
        profile: profile
    )
}

@Suite struct ResolutionTests {
    @Test func whatNobodySetsIsTheDefault() throws {
        let settings = try resolve()
        #expect(settings[size] == ByteSize(bytes: 4096))
        #expect(settings[token] == nil)
        #expect(settings.origin(of: "size") == .default)
    }

    @Test func flagsWinOverVariablesOverTheFileOverTheProfile() throws {
        let flags: [String: SettingText] = ["size": .one("5K")]
        let environment = ["PENSTOCK_SIZE": "4K"]
        let file = "# a file\nsize: 3K\n"
        let all = try resolve(flags: flags, environment: environment, file: file, profile: "large")
        #expect(all[size] == ByteSize("5K"))
        #expect(all.origin(of: "size") == .flag("size"))
        let withoutFlag = try resolve(environment: environment, file: file, profile: "large")
        #expect(withoutFlag[size] == ByteSize("4K"))
        #expect(withoutFlag.origin(of: "size") == .environment("PENSTOCK_SIZE"))
        let withFile = try resolve(file: file, profile: "large")
        #expect(withFile[size] == ByteSize("3K"))
        #expect(withFile.origin(of: "size") == .file("c.yaml", line: 2))
        let withProfile = try resolve(profile: "large")
        #expect(withProfile[size] == ByteSize("1M"))
        #expect(withProfile.origin(of: "size") == .profile("large"))
    }

    @Test func groupsInTheFileAreNamesWithADot() throws {
        let settings = try resolve(file: "read:\n  mode: careful\n")
        #expect(settings[mode] == .careful)
        #expect(settings.origin(of: "read.mode") == .file("c.yaml", line: 2))
    }

    @Test func listsComeFromEverySource() throws {
        #expect(try resolve(flags: ["names": .list(["a", "b"])])[names] == ["a", "b"])
        #expect(try resolve(environment: ["PENSTOCK_NAMES": "a,b"])[names] == ["a", "b"])
        #expect(try resolve(file: "names: [a, b]")[names] == ["a", "b"])
    }

    @Test(arguments: ["1", "on", "YES", "True"]) func readsTrueAsTheHubsClientsDo(text: String) throws {
        #expect(try resolve(environment: ["PENSTOCK_COLOUR": text])[colour])
    }

    @Test func anEmptyVariableIsNotSet() throws {
        #expect(try resolve(environment: ["PENSTOCK_TOKEN": "", "HUB_TOKEN": "x"])[token] == "x")
    }

    @Test func ourOwnVariableWinsOverOthers() throws {
        #expect(try resolve(environment: ["PENSTOCK_TOKEN": "ours", "HUB_TOKEN": "theirs"])[token] == "ours")
    }

    @Test(arguments: [
        ("sise: 3K\n", "c.yaml:1: unknown setting 'sise'; did you mean 'size'?"),
        ("a: 1\nsize: lots\n", "c.yaml:2: size 'lots' is not a size, such as 64M or 1.5GiB"),
        ("size: 1\n", "c.yaml:1: size '1' is out of bounds: 1K to 1G"),
        ("size: [1K]\n", "c.yaml:1: size is a list, and one value is wanted"),
        ("size:\n", "c.yaml:1: 'size' has no value; leave the line out for the default"),
        ("read: {mode: carefull}\n", "did you mean 'careful'?"),
        ("names: [[a]]\n", "c.yaml:1: 'names' holds something that is not text"),
        ("- size\n", "c.yaml:1: is not a mapping of settings"),
        ("completely-else: 3\n", "c.yaml:1: unknown setting 'completely-else'"),
    ])
    func everyFaultSaysWhereAndWhat(file: String, complaint: String) {
        let error = #expect(throws: ConfigurationError.self) { try resolve(file: file) }
        #expect(error?.problems.contains { $0.hasSuffix(complaint) } == true)
    }

    @Test func allFaultsAreToldAtOnce() {
        let error = #expect(throws: ConfigurationError.self) {
            try resolve(
                flags: ["size": .one("x")],
                environment: ["PENSTOCK_COLOUR": "maybe"],
                file: "nmaes: a\n",
                profile: "lrage"
            )
        }
        #expect(error?.problems.count == 4)
    }

    @Test func aSecretIsShownNowhere() throws {
        let settings = try resolve(environment: ["HUB_TOKEN": "hf_topsecret"])
        #expect(settings[token] == "hf_topsecret")
        #expect(!settings.explained().contains("topsecret"))
        #expect(settings.explained().contains("(secret)"))
        let error = #expect(throws: ConfigurationError.self) {
            try resolve(environment: ["HUB_TOKEN": "hf_topsecret\n"])
        }
        #expect(error?.description.contains("topsecret") == false)
    }

    @Test func explainsEverySettingAndWhereItComesFrom() throws {
        let settings = try resolve(flags: ["size": .one("2048")], file: "read: {mode: careful}")
        #expect(
            settings.explained() == """
                SETTING    VALUE    FROM
                size       2K       --size
                read.mode  careful  c.yaml:1
                names      -        default
                token      -        default
                colour     true     default

                """
        )
    }

    @Test func variablesThatLookLikeOursAreWarnedOf() throws {
        let settings = try resolve(environment: ["PENSTOCK_SIZ": "3K", "PATH": "/bin"])
        #expect(settings.warnings == ["the variable 'PENSTOCK_SIZ' is no setting; did you mean PENSTOCK_SIZE?"])
    }

    /// A Service called `penstock` must not break every pod of its namespace.
    @Test func whatKubernetesSetsForAServiceOfOurNameIsPassedOver() throws {
        let environment = [
            "PENSTOCK_SERVICE_HOST": "10.0.0.1", "PENSTOCK_SERVICE_PORT": "80", "PENSTOCK_PORT": "tcp://10.0.0.1:80",
            "PENSTOCK_PORT_80_TCP": "tcp://10.0.0.1:80", "PENSTOCK_PORT_80_TCP_PROTO": "tcp",
            "PENSTOCK_SERVICE_PORT_HTTP": "80", "PENSTOCK_EMULATOR_SERVICE_HOST": "10.0.0.2",
        ]
        #expect(try resolve(environment: environment).warnings == [])
        #expect(PenstockSettings.registry.settings.flatMap(\.environment).allSatisfy { environment[$0] == nil })
    }
}
