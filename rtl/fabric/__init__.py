"""What joins the nodes: links and their latency."""
