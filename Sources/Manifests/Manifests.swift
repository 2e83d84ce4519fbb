// Manifests: manifest, CRC table, lease, intent: types, codecs, limits.
