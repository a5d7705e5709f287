"""Four logins as well-known tutorials print them, rebuilt in our own words. Breakable on purpose.

address     the password travels in the address, and no route asks for the token
dismissed   who is disabled or deleted stays in
refreshed   a token for refreshing opens everything, for a week
forever     tokens have no end

They are here to be attacked by `attacks.py`, on this machine only. Never copy them.
"""
