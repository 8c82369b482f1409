"""What chapters import beyond the library: moving figures, measured numbers, exercises, prior work."""
