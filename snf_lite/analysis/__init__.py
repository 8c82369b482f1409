"""Analysis of a trained flow: learned inverses, samples, Jacobians, outlier scores, pixel likelihoods, figures."""
