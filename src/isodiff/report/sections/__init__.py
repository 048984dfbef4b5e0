"""The sections of a report, one a file, and what verbs print; `page.py` has their order."""
