"""A package, so that no other one called `lessons` is found in its place."""
