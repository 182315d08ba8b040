"""What a job depends on, what would run now and why."""
