"""What the pages of reference are written from: sweeps of λ, a trial of its tolerance, the words of the prose."""
