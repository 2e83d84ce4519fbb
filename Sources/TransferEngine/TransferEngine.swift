// TransferEngine: range plans, ordered reassembly, adaptive concurrency, memory governor, retry scheduling.
