"""Claims of `claims.py` by what they are about, where there are many."""
