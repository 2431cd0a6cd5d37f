"""What people look at: figures, the page, the summary on the terminal. Computes no results."""
