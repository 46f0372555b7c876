"""Torch modules and tasks: the loss, the metrics, and the parameter vector that stands for a module."""
