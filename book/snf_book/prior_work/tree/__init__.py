"""The family tree of the compared flows: its members, the signs of their Jacobians, and densities as tiles."""
