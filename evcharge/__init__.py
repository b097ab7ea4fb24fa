"""A charging-network server for electric vehicles: the driver's journey over JSON lines."""

__version__ = "0.1.0.dev0"
