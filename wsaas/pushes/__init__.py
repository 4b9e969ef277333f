"""What a back end calls: requests to a ``ws_uri``, and by name.

Nothing here knows frames or callbacks.

``paths``: what a request is about. ``resource``: requests to one connection. ``named``: requests by name. ``publish``:
one message to many. ``members``: counts, listings, closing. ``batch``: the lines of a batch. ``batches``: carries them
out. ``pace``: long work in parts. ``answering``: what all resources have in common. ``tokens``: who may what.
"""
