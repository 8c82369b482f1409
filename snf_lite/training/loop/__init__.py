"""What the training loop uses: objective, optimizers and schedulers, callbacks, progress, warnings."""
