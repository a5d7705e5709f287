"""The finished system, one module a lesson. Copy from here; each README says which files."""
