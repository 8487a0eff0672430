"""A leaderboard for scored submissions: what ran, what each pair scored, who ranks where.

- `models`: the tables and their constraints; `migrations`: how a database comes to have them;
- `store`: runs and scores into a database and out of it; `records` and `history`: what goes in and comes out;
- `entering`: evaluation sets and runs into a database; `scoring`: scores; `rows`: finding and making rows; `texts`:
  strangers' text; `merging`: two leaderboards become one;
- `checksums`: of what is stored; `pairs` and `facts`: reading runs and scores and holding them against these;
  `repairing`: dropping what was changed by others;
- `checks`: how many second scores of parts are due, and what came of them; `keptchecks`: these in a database;
- `database`: URLs, connections, and what can be wrong with them; `postgresql`: the same for PostgreSQL; `opening`:
  whether it is a leaderboard, and bringing it up to date;
- `reading`: runs for the ranking; `sums`: their scores as columns, and summed up; `stems`: the scores of stems;
  `costs`: what each piece of music cost a system; `whole`: runs with all their pairs as columns, for data frames;
- `estimates`: means and differences with their intervals; `ties`: which ranked runs cannot be told apart; `ranking`:
  pure functions from scores to ranked boards; `comparing` and `contrasts`: runs against each other;
- `causality`: the part of a run's record that says what was found out of its causality; `classes`: that in words;
- `labels`: how runs are called and told apart; `columns`: what is said of a run; `formats`: boards as CSV, JSON,
  Markdown and LaTeX; `tables`: boards on a terminal, and pictures; `contrast_formats`: comparisons in all these forms;
- `errors`: the one exception that users cause.

Nothing here knows what made the scores. This module imports nothing, so that it costs nothing.
"""
