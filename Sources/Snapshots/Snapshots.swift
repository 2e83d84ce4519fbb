// Snapshots: the conveyor: plan, dedupe, hash, publish; verify.
