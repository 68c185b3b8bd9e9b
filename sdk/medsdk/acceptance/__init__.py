"""Acceptance at a site: values of a phantom that are stored once and held against later ones."""
