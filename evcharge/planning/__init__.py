"""Which station to send a car to; pure."""
