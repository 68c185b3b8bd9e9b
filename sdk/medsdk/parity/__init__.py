"""Proof that a network on this machine is still the same network."""
