"""One module a chapter: `experiment(**parameters, device)` returns a tidy table, `grid(**chapter_parameters)` says which to run."""
