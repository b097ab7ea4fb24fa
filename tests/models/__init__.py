"""Tests of evcharge/models/."""
