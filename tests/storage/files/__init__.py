"""Tests of evcharge/storage/files/."""
