"""The questions: found, described, asked."""
