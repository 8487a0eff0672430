"""Systems run in processes of their own: a stranger's code never shares memory with scores."""
