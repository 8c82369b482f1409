"""Latents of a flow: base densities, samples, and the flow as a distribution of torch.distributions."""
