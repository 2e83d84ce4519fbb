// Telemetry: counters, gauges, histograms, log fields and redaction.
