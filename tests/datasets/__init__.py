"""Tests of evcharge/datasets/."""
