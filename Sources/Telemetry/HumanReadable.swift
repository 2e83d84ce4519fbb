import LinuxPlatform

/// Numbers as people read them.
package enum HumanReadable {
    /// With a binary unit and three digits at most: `1.5 GiB`.
    package static func bytes(_ count: Int) -> String {
        let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"]
        var value = Double(count)
        var unit = 0
        while value >= 1024, unit < units.count - 1 {
            value /= 1024
            unit += 1
        }
        if unit == 0 { return "\(count) B" }
        return "\(decimal(value, value < 10 ? 2 : value < 100 ? 1 : 0)) \(units[unit])"
    }

    /// `1:02:03`, `2:03` or `3 s`.
    package static func duration(_ duration: Duration) -> String {
        let seconds = Int(duration.inSeconds.rounded())
        if seconds < 60 { return "\(max(0, seconds)) s" }
        let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60)
        func two(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }
        return hours > 0 ? "\(hours):\(two(minutes)):\(two(rest))" : "\(minutes):\(two(rest))"
    }

    /// With this many digits behind the point.
    package static func decimal(_ value: Double, _ digits: Int) -> String {
        var scale = 1
        for _ in 0..<digits { scale *= 10 }
        let scaled = Int((value * Double(scale)).rounded())
        if digits == 0 { return "\(scaled)" }
        let fraction = String(scaled % scale)
        return "\(scaled / scale).\(String(repeating: "0", count: digits - fraction.count))\(fraction)"
    }
}
