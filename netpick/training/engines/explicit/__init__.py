"""Training steps without autograd: torch's kernels, called by hand."""
