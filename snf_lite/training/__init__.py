"""Training loops: fit, one step, settings, history, exact evaluation, checkpoints, several processes."""
