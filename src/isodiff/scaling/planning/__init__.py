"""From laws to a decision: sizes, hardware, next runs."""
