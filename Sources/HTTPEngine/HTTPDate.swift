package import LinuxPlatform

/// The dates of HTTP headers.
package enum HTTPDate {
    private static let months = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ]

    /// Reads an IMF-fixdate, for example `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110, section 5.6.7).
    package static func parse(_ text: String) -> UnixTime? {
        guard text.utf8.count <= 64 else { return nil }
        let words = text.split(separator: " ")
        guard words.count == 6, words[0].hasSuffix(","), words[5] == "GMT", let day = Int(words[1]),
            let month = months.firstIndex(of: String(words[2])), let year = Int(words[3]),
            (1970...2261).contains(year), (1...31).contains(day)
        else { return nil }
        let clock = words[4].split(separator: ":").compactMap { Int($0) }
        guard clock.count == 3, (0..<24).contains(clock[0]), (0..<60).contains(clock[1]), (0...60).contains(clock[2])
        else { return nil }
        let days = CivilDate(year: year, month: month + 1, day: day).daysSinceEpoch
        return UnixTime(seconds: Int64(days * 86_400 + clock[0] * 3600 + clock[1] * 60 + clock[2]))
    }
}

extension HTTPHeaders {
    /// When the reply was made, by the server's clock: `Date`.
    package var date: UnixTime? { self["date"].flatMap(HTTPDate.parse) }

    /// How long `Retry-After` asks to wait, at most a day: seconds, or until a date (RFC 9110, section 10.2.3).
    ///
    /// A date counts from the reply's own: nobody's clock is compared with another's.
    package var retryAfter: Duration? {
        let longest: Duration = .seconds(86_400)
        guard let text = self["retry-after"], text.utf8.count <= 64 else { return nil }
        if let seconds = Int64(text) { return seconds >= 0 ? min(.seconds(seconds), longest) : nil }
        guard let until = HTTPDate.parse(text), let date else { return nil }
        return min(max(.zero, date.duration(to: until)), longest)
    }
}
