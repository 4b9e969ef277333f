"""HTTP/1.1 in both directions: heads, bodies and answers, and the connections that carry them.

Nothing here knows what a request or an answer means.
"""
