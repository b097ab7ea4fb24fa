"""Tests of evcharge/process/."""
