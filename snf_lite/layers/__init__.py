"""Other bijections: activations, preprocessing, reshaping, Glow, LU, emerging and exponential convolutions."""
