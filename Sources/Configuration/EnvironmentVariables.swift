/// Variables that begin like ours.
enum EnvironmentVariables {
    /// Ours that are no settings.
    private static let others = ["PENSTOCK_CONFIG"]

    /// A line for each variable that looks like a setting and is none.
    ///
    /// No error: where a Kubernetes Service is called `penstock`, every pod gets variables of this prefix from the
    /// kubelet (`PENSTOCK_SERVICE_HOST`, `PENSTOCK_PORT`, `PENSTOCK_PORT_80_TCP_ADDR`, …). Those are passed over in
    /// silence. Source: Kubernetes, "Service: discovering services: environment variables".
    static func strangers(in environment: [String: String], registry: SettingRegistry) -> [String] {
        let known = registry.settings.flatMap(\.environment) + others
        return environment.keys.sorted().compactMap { name in
            guard name.hasPrefix("PENSTOCK_"), !known.contains(name), !isServiceLink(name) else { return nil }
            let hint = Spelling.nearest(to: name, among: known).map { "; did you mean \($0)?" } ?? ""
            return "the variable \(quoted(name)) is no setting\(hint)"
        }
    }

    static func isServiceLink(_ name: String) -> Bool {
        name.utf8.starts(with: "PENSTOCK_SERVICE_".utf8) || name.contains("_PORT_") || name.hasSuffix("_PORT")
            || name.hasSuffix("_SERVICE_HOST")
    }
}
