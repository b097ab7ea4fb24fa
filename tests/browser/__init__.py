"""Tests of evcharge/web/."""
