"""What would happen if: drivers of a scenario, at the engine that serves real ones."""
