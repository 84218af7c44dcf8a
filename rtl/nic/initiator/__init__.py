"""What processes ask for: commands are fetched, checked, cut into packets, and their responses collected."""
