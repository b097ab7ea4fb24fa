"""The storage in a data directory: files that people can read."""
