"""Applications: what the processes of a job run."""
