"""Beyond the paper: tracked inverses, unbiased convolutions and free-form layers."""
