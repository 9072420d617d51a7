"""Commands about networks and endpoints. They ask the process, and touch nothing else."""
