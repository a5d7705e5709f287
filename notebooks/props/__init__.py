"""What the demos bring along, a module each: people, measuring, and the pictures.

There is nothing to learn in them. What the class should read stands in the notebooks.
"""
