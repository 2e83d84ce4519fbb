// MountService: composition, signals, start and stop order of a mount.
