"""What `attack.py` is made of: cases by kind, the process that each one gets, and what came of it."""
