"""Tests of evcharge/utils/."""
