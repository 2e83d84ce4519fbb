// Filesystem: inode table, directories, attributes, handles, the read path. Names neither FUSE nor a store.
