"""One test module for each module of the gateway, in memory: ``trial tests.unit``, in seconds."""
