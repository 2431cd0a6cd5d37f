"""What trains one network: one folder or file an engine."""
