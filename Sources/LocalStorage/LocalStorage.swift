// LocalStorage: an ObjectStore on a directory.
