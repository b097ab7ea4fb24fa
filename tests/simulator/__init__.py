"""Tests of evcharge/simulator/."""
