package import Telemetry

/// Metrics as Prometheus reads them: the text exposition format, version 0.0.4. Names get the prefix `penstock_`.
package enum PrometheusText {
    package static let contentType = "text/plain; version=0.0.4; charset=utf-8"

    /// - Parameter samples: those of one name stand together, as `MetricRegistry.snapshot` orders them.
    package static func text(_ samples: [MetricSample]) -> String {
        var text = ""
        var last: String?
        for sample in samples {
            let name = "penstock_" + sample.description.name
            if name != last {
                text += "# HELP \(name) \(escaped(sample.description.help, quotes: false))\n"
                text += "# TYPE \(name) \(sample.description.kind.rawValue)\n"
                last = name
            }
            switch sample.value {
            case .number(let number): text += line(name, sample.description.labels, number)
            case .distribution(let histogram): text += lines(name, sample.description.labels, histogram)
            }
        }
        return text
    }

    private static func lines(_ name: String, _ labels: [String: String], _ histogram: HistogramSnapshot) -> String {
        var text = ""
        var total = 0
        for (count, bound) in zip(histogram.counts, Histogram.upperBounds) {
            total += count
            let limit = bound == .max ? "+Inf" : "\(bound)"
            text += line(name + "_bucket", labels.merging(["le": limit]) { $1 }, total)
        }
        return text + line(name + "_sum", labels, histogram.sum) + line(name + "_count", labels, total)
    }

    private static func line(_ name: String, _ labels: [String: String], _ value: Int) -> String {
        if labels.isEmpty { return "\(name) \(value)\n" }
        let pairs = labels.sorted { $0.key < $1.key }.map { "\($0.key)=\"\(escaped($0.value, quotes: true))\"" }
        return "\(name){\(pairs.joined(separator: ","))} \(value)\n"
    }

    private static func escaped(_ text: String, quotes: Bool) -> String {
        var escaped = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\\": escaped += "\\\\"
            case "\n": escaped += "\\n"
            case "\"" where quotes: escaped += "\\\""
            default: escaped.unicodeScalars.append(scalar)
            }
        }
        return escaped
    }
}
