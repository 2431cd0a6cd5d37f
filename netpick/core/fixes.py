"""The table of labels that are probably wrong, as a question writes it and a user's corrections come back.

A row a sample; which of the columns are read again, and as what, is said in `sessions.relabel`.
"""

from __future__ import annotations

SAMPLE, SPLIT, LABEL, SUGGESTED = "sample", "split", "label", "suggested"
COLUMNS = (SAMPLE, SPLIT, LABEL, SUGGESTED, "share", "image")
