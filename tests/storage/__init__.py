"""Tests of evcharge/storage/."""
