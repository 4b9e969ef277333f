"""What an operator starts, stops, watches and reads: the service, signals, systemd, health and metrics."""
