// TestSupport: manual clock, seeded random, failing and slow stores, temporary directories.
