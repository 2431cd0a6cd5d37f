"""Parts of studies.py: a claim beside what a run says of it, curve beside curve, and the findings of the exam."""
