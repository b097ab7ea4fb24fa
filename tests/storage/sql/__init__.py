"""Tests of evcharge/storage/sql/."""
