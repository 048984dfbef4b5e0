"""Reports: a study as one page that needs no network; tables and texts for a terminal."""
