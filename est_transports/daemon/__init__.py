"""What a process needs that runs on and on: log lines, and a service manager to tell."""
