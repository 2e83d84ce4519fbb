// BlockCache: blocks in memory, verified by granule.
