// Emulators: a Hub and a GCS that the official clients accept, with injectable faults.
