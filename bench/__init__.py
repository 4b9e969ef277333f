"""
Benchmarks: ``python -m bench`` measures what one core of a gateway does, side by side with its peers.

The system under test has a core of its own, the API (``sink/``) and the load generator (``generator/``) one each. A run
in which one of these two was the limit is void. Everything stays on loopback.
"""
