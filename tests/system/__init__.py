"""Processes, browsers, other people's programs, and the repository's own files."""
