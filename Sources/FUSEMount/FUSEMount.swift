// FUSEMount: the channel, libfuse callbacks, replies, unmount.
