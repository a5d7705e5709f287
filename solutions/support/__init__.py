"""What every step uses: settings, the app factory, safe routes, forms, passwords, threads.

Nothing in here knows a step, but for tokens (02) and what asks for them; the steps know this.
"""
