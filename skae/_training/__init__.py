"""Fitting: initialisation, objectives, gradients, optimisers, the training loop."""
