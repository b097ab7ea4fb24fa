"""Bytes <-> requests and replies, for every transport; pure."""
