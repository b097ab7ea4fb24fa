"""What the network is made of, and the physics of charging: values and pure functions."""
