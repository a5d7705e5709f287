"""What is kept. Each module has a protocol, its version in memory, and a `get_...` for routes.

Every method is asynchronous and one step: it is done, or it has not happened. A database can take
the place of the memory without a change to any route. The versions in memory live and die with
the process, and two workers would not know each other's.
"""
