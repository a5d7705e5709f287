"""The finished system, one module a step, on `stores/` (what is kept) and `support/`."""
