"""Tests of evcharge/handlers/."""
