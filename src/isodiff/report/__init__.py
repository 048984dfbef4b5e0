"""The report of a study: verdict, figures, tables, one self-contained page. No torch."""
