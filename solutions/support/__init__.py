"""What every step uses: settings, the app factory, safe routes, forms, passwords, threads.

Nothing in here knows a step; the steps know this.
"""
