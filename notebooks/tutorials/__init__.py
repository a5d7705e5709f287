"""FastAPI's own tutorial, and four others that are well known, rebuilt in our own words.

documented  what FastAPI's documentation arrives at: the key is printed, the hash stops the others
address     the password travels in the address, and no route asks for the token
dismissed   who is disabled or deleted stays in
refreshed   a token for refreshing opens everything, for a week
forever     tokens have no end

All but the first are breakable on purpose. They are here to be attacked by `attacks.py`, on this
machine only. Never copy them.
"""
