"""What stages share once torch is imported: the context, the TRL bridge, resume points, metrics."""
