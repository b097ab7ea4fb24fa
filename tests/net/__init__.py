"""Tests of evcharge/net/."""
