"""What `medsdk demo` shows on a device: a small bundle and a phantom clip, both in the wheel."""
