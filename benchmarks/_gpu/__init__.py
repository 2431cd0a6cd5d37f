"""Parts of gpu.py: what is measured on a card, the files of what was found, the table of figures, and the page."""
