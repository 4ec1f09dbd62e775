"""Grad-CAM and cross attention of a network in PyTorch, for `calanddet.runtime.explanation`."""
