"""Scaling laws: one module each, with what only it needs beside it; `law.registered` finds them."""
