"""What a back end calls: requests to a ``ws_uri``.

Nothing here knows frames or callbacks.
"""
