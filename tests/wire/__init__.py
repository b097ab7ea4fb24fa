"""Tests of evcharge/wire/."""
