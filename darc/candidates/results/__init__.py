"""Result files: candidates, lists, plots, and the pages that show them."""
