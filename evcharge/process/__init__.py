"""The running server: what it is put together of, its options, its time, its log."""
