"""What a process needs of its machine: clocks, threads, logs, whole files; its start and end."""
