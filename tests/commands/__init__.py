"""Tests of evcharge/commands/."""
