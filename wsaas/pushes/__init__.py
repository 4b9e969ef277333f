"""What a back end calls: requests to a ``ws_uri``.

Nothing here knows frames or callbacks.

``resource``: every request, and the text of every answer. ``tokens``: ``PUSH_TOKEN``.
"""
