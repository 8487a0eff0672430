"""The leaderboard as a static site: pages, charts, sound."""
