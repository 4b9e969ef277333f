"""The API's side: POST, PUT and DELETE on ``API_URI``, and the record of which DELETEs are still pending.

Nothing here knows frames or pushes.
"""
