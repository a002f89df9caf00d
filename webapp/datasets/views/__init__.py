"""Pages of datasets: the list, one dataset's tabs, and what changes them."""
