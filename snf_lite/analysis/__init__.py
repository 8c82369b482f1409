"""What a trained flow does: its learned inverses, samples, Jacobians, outliers, pixels, and figures of them."""
