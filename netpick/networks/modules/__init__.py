"""Networks as torch modules: built, measured, read from the user's own code."""
