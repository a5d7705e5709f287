"""The attacks of the lessons, pointed at an app of the reader's own: `pytest lessons/your_app`.

description  your_app.toml: where the login of an app is, and how its tokens are used
"""
