// Publication: stage, intent, publish, record, clean up; recovery, leases, garbage collection.
