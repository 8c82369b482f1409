"""Training: fit, one step, settings, the state of a run, history, exact evaluation, checkpoints, several processes."""
