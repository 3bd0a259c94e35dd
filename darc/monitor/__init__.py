"""What nodes are doing and what is wrong: collected, judged by rules, shown and told."""
